"""Keys of other tools' files, and the key that is ours: W&B, Determined, Hydra, pycls, timm, YOLO,
Keras.

A sweep file that was written for another tool is refused; these tables give the message its way
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runners.errors import suggest

# of the whole file
TOP = {
    "parameters": "factors for a grid, or search.space with search.trials",
    "hyperparameters": "base for what is fixed, factors for a grid, search.space for a search",
    "config": "base",
    "method": "factors for a grid, or search.sampler (tpe, random, grid)",
    "searcher": "search (mode, space, trials)",
    "sweeper": "search (mode, space, trials), or factors for a grid",
    "metric": "nothing: top-1 is compared; a search maximises validation top-1",
    "early_terminate": "search.mode: screen with search.stop (asha, median)",
    "scheduler": "search.mode: screen with search.stop (asha, median)",
    "num_samples": "seeds, or search.trials",
    "run_cap": "search.trials, or limits",
    "n_trials": "search.trials",
    "name": "the name of the file",
    "project": "the name of the file, which is MLflow's experiment",
    "experiment": "the name of the file, which is MLflow's experiment",
    "description": "question",
    "title": "question",
    "program": "nothing: python -m runners.sweep trains by itself",
    "entrypoint": "nothing: python -m runners.sweep trains by itself",
    "command": "nothing: python -m runners.sweep trains by itself",
    "defaults": "base",
    "hydra": "factors for a grid, or search",
    "max_restarts": "nothing: a trial that fails is tried three times",
    "environment": "nothing: the packages that are installed are used",
    "seed": "seeds",
    "random_state": "seeds",
    "repeats": "seeds",
    "arms": "variants",
    "experiments": "variants",
    "configs": "variants",
    "models": "variants",
    "grid": "factors",
    "matrix": "factors",
    "control": "baseline",
    "MODEL": "base.backbone (MODEL.TYPE, MODEL.DEPTH) and base.conv",
    "OPTIM": "base.lr (BASE_LR), base.epochs (MAX_EPOCH), base.schedule (LR_POLICY)",
    "TRAIN": "base.dataset (DATASET) and base.batch_size (BATCH_SIZE)",
    "TEST": "nothing: the test set is read once, after the last epoch",
    "OUT_DIR": "--storage",
    "NUM_GPUS": "resources.gpu, of one trial",
}
# of base and of a variant
CONFIG = {
    **dict.fromkeys(
        ("learning_rate", "base_lr", "lr0", "initial_lr", "init_lr", "max_lr", "BASE_LR"), "lr"
    ),
    **dict.fromkeys(
        ("epoch", "max_epoch", "max_epochs", "num_epochs", "n_epochs", "nb_epochs", "MAX_EPOCH"),
        "epochs",
    ),
    **dict.fromkeys(
        ("batch", "bs", "batchsize", "train_batch_size", "per_device_train_batch_size"),
        "batch_size",
    ),
    **dict.fromkeys(("wd", "decay", "l2", "l2_penalty"), "weight_decay"),
    **dict.fromkeys(("model", "arch", "architecture", "net", "network", "encoder"), "backbone"),
    **dict.fromkeys(("data", "data_set", "datasets", "dataset_name"), "dataset"),
    **dict.fromkeys(
        ("scheduler", "lr_scheduler", "lr_schedule", "lr_policy", "sched", "LR_POLICY"), "schedule"
    ),
    **dict.fromkeys(("steps", "lr_steps", "decay_epochs", "step_epochs"), "milestones"),
    **dict.fromkeys(("warmup_epochs", "warmup_steps", "warmup_ratio"), "warmup"),
    **dict.fromkeys(("smoothing", "label_smooth"), "label_smoothing"),
    **dict.fromkeys(("amp", "fp16", "bf16", "mixed_precision", "dtype"), "precision"),
    **dict.fromkeys(("val_split", "validation_split", "val_ratio", "valid_size"), "val_fraction"),
    **dict.fromkeys(("augmentation", "data_augmentation", "aug"), "augment"),
    **dict.fromkeys(("convolution", "conv_type", "layer", "op"), "conv"),
    **dict.fromkeys(("conv_options", "kwargs", "params", "args"), "options"),
    **{
        name: f"options.{name}"
        for name in ("alpha", "squeeze", "groups", "gn_groups", "gate", "order", "threshold")
    },
    "seed": "seeds, beside base",
    "num_classes": "nothing: the data set has them",
    "device": "resources",
    "gpus": "resources.gpu",
    "num_workers": "resources.cpu",
}
# of a parameter of a search's space
PARAMETER = {
    "distribution": "log: true for a log scale, else nothing",
    "scale": "log: true for a log scale, else nothing",
    "type": "log: true for a log scale, else nothing",
    "base": "log: true for a log scale",
    "min": "low",
    "max": "high",
    "minval": "low",
    "maxval": "high",
    "lower": "low",
    "upper": "high",
    "start": "low",
    "end": "high",
    "values": "choices",
    "value": "choices, of one value",
    "vals": "choices",
    "val": "choices, of one value",
    "categories": "choices",
    "options": "choices",
    "q": "step",
    "count": "step",
    "quantization": "step",
    "condition": "when",
    "parent": "when",
}
# of `search`
SEARCH = {
    "parameters": "space",
    "hyperparameters": "space",
    "method": "sampler (tpe, random, grid)",
    "algorithm": "sampler (tpe, random, grid)",
    "max_trials": "trials",
    "n_trials": "trials",
    "num_trials": "trials",
    "num_samples": "trials",
    "run_cap": "trials",
    "metric": "nothing: validation top-1 is maximised",
    "direction": "nothing: validation top-1 is maximised",
    "goal": "nothing: validation top-1 is maximised",
    "pruner": "stop (asha, median), with mode: screen",
    "early_terminate": "stop (asha, median), with mode: screen",
    "min_iter": "min_epochs",
    "grace_period": "min_epochs",
}
TABLES = {"file": TOP, "config": CONFIG, "search": SEARCH, "parameter": PARAMETER}


def unknown(keys: Sequence[str], known: Iterable[str], table: str) -> str:
    """One message for unknown keys: all of them, and the way out of each.

    Args:
        table: which of TABLES has the other tools' names of this place.
    """
    named = ", ".join(f"'{key}'" for key in keys)
    said = f"unknown key{'s' if len(keys) > 1 else ''} {named}"
    ours = {key: way for key in keys if (way := TABLES.get(table, {}).get(key))}
    known = [*known]
    if not ours:
        return said + suggest(keys[0], known)
    if len(keys) == 1 and ours[keys[0]] in known:
        return f"{said}: did you mean '{ours[keys[0]]}'?"
    ways = [
        f"for '{key}' {'there is' if w.startswith('nothing') else 'write'} {w}"
        for key, w in ours.items()
    ]
    return f"{said}; {', '.join(ways)}"


def expression(value: object) -> str:
    """The way out of a text such as "choice(1, 2)", which Hydra's files have; else empty."""
    if not isinstance(value, str):
        return ""
    match = re.fullmatch(r"\s*(choice|range|interval|uniform|log_?uniform|glob)\((.*)\)\s*", value)
    if not match:
        return ""
    if match[1] == "choice":
        return f"; write the choices as a list: [{match[2]}]"
    if match[1] in ("interval", "uniform", "range"):
        return "; write {low: ..., high: ...}, with a step where only some values are meant"
    return "; write {low: ..., high: ..., log: true}"
