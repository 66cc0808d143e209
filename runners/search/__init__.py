"""What to train next: a queue of trials, to which Optuna proposes more."""
