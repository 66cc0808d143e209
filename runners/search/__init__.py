"""What to train next: a queue of trials, to which Optuna proposes more."""

import warnings

# Optuna brings a progress bar that nothing here shows; in a notebook it would ask for ipywidgets
warnings.filterwarnings("ignore", "IProgress not found")
