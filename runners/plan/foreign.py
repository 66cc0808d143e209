"""Keys of other tools' files, and the key that is ours.

W&B, Determined, Hydra, Lightning, MMEngine, pycls, timm, YOLO, Ray Tune, NNI, Keras.

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
    **dict.fromkeys(("OUT_DIR", "work_dir", "output_dir", "save_dir"), "--storage"),
    **dict.fromkeys(("data_dir", "data_root", "data_path"), "--data"),
    "resume": "nothing: the same command continues",
    "ckpt_path": "nothing: the same command continues",
    "trainer": "base (epochs, precision, compile) and resources",
    "seed_everything": "seeds",
    "optimizer": "base.optimizer (sgd, adam, adamw), base.lr, base.momentum, base.weight_decay",
    "opt": "base.optimizer (sgd, adam, adamw), base.lr, base.momentum, base.weight_decay",
    "train_cfg": "base.epochs",
    "param_scheduler": "base.schedule, base.milestones, base.warmup",
    "optim_wrapper": "base (lr, momentum, weight_decay), precision",
    "_base_": "base, and YAML's anchors (&name, <<: *name) for what files share",
    "params": "base, or search.space",
    "param_space": "factors for a grid, or search.space with search.trials",
    "searchSpace": "search.space",
    "search_space": "search.space",
    "tuner": "search.sampler (tpe, random, grid)",
    "sampler": "search.sampler (tpe, random, grid)",
    "direction": "nothing: a search maximises validation top-1",
    "maxTrialNumber": "search.trials",
    "trialCommand": "nothing: python -m runners.sweep trains by itself",
    "trialConcurrency": "resources, of one trial: as many run as fit",
    "study_name": "the name of the file",
    "metadata": "the name of the file",
    "spec": "search (mode, space, trials)",
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
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(
        ("clip_grad", "clip_norm", "max_grad_norm", "gradient_clip_val", "grad_clip_norm"),
        "grad_clip",
    ),
    **dict.fromkeys(
        ("early_stopping", "EarlyStopping", "patience", "early_stop_patience"),
        "early_stop: {patience: 5}",
    ),
    **dict.fromkeys(
        ("_target_", "class_path", "type"),
        "the name of a file: a backbone of your own stands beside the sweep file",
    ),
    "seed": "seeds, beside base",
    "num_classes": "nothing: the data set has them",
    "device": "resources.gpu",
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
    "_type": "log: true for a log scale, else nothing",
    "_value": "low and high, or choices",
    "grid_search": "choices",
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
# of `resources`
RESOURCES = {
    **dict.fromkeys(
        ("gpus", "num_gpus", "devices", "slots_per_trial", "GPU", "gpus_per_trial"), "gpu"
    ),
    **dict.fromkeys(
        ("cpus", "num_cpus", "num_workers", "workers", "threads", "CPU", "cpus_per_trial"), "cpu"
    ),
    "accelerator": "gpu: how many of one trial, or a part of one",
}
SETTINGS = (
    *("backbone", "dataset", "conv", "options", "recipe", "epochs", "batch_size", "lr", "momentum"),
    *("nesterov", "weight_decay", "schedule", "milestones", "warmup", "label_smoothing", "augment"),
    *("val_fraction", "precision", "compile", "optimizer", "grad_clip"),
)
# settings at the top of the file, by our name or by another tool's
_PLACES = {ours: f"base.{ours}" for ours in SETTINGS}
_MISPLACED = _PLACES | {
    theirs: ours if ours.startswith("resources") else f"base.{ours}"
    for theirs, ours in CONFIG.items()
    if re.fullmatch(r"[\w.]+", ours)
}
TABLES = {
    "file": _MISPLACED | TOP,
    "config": CONFIG,
    "search": SEARCH,
    "parameter": PARAMETER,
    "resources": RESOURCES,
    "seeds": {"min": "first", "max": "most", "start": "first", "step": "block", "stop": "until"},
}


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


def way_out(place: Sequence[str], value: object) -> str:
    """The way out of a value of the wrong kind that another tool's files have there; else empty.

    Args:
        place: the keys from the top of the file, or of a variant's settings.
    """
    last = place[-1]
    if isinstance(value, dict) and last in ("conv", "backbone", "dataset"):
        options = "options" if last == "conv" else f"{last}_options"
        return f"; write {last}: NAME, and what it takes as {options}: {{...}}"
    if place[0] == "variants":
        if isinstance(value, list):
            return "; write each below its name, such as R20: {conv: standard}"
        return "; a variant without settings of its own is {}" if value is None else ""
    if place[0] == "factors" and isinstance(value, dict):
        inner = next((v for v in value.values() if isinstance(v, list)), None)
        return f"; write {inner}" if inner else "; a grid has values; a range is for search.space"
    if isinstance(value, str) and "," in value and place[0] in ("factors", "seeds"):
        return f"; write [{', '.join(part.strip() for part in value.split(','))}]"
    return expression(value)


def template(value: object) -> str:
    """The way out of a text that another tool would replace; else empty."""
    if isinstance(value, str) and re.search(r"\$\{|\{\{|\?\?\?", value):
        how = "write the value, or give it by --set"
        return f"; templates such as ${{x}} and {{{{ x }}}} are not read: {how}"
    return ""


NAMES = r"(choice|grid_search|randint|range|interval|q?uniform|q?log_?uniform|glob)(?:_values)?"


def expression(value: object) -> str:
    """The way out of a text such as "choice(1, 2)", which Hydra's files have; else empty.

    A list such as [uniform, 0, 1] is one, too, and so is what YAML leaves of one inside braces,
    where a comma ends it.
    """
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = f"{value[0]}({', '.join(map(str, value[1:]))})" if value[1:] else None
    if not isinstance(value, str):
        return ""
    match = re.fullmatch(rf"\s*(?:\w+\.)*{NAMES}\((.*?)\)?\s*", value)
    if not match:
        return template(value)
    if match[1] in ("choice", "grid_search"):
        return f"; write the choices as a list: [{match[2].strip('[]')}]"
    if "log" in match[1]:
        return "; write {low: ..., high: ..., log: true}"
    return "; write {low: ..., high: ...}, with a step where only some values are meant"
