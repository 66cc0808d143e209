"""A sweep file that was written for another tool is refused by what is ours, key by key."""

import pytest
import yaml

from runners.errors import SweepError
from runners.plan import Config, foreign, load

HEAD = {
    "question": "q",
    "baseline": "R20",
    "base": {"backbone": "resnet20", "dataset": "digits"},
    "variants": {"R20": {}},
}


def refusal(tmp_path, text) -> str:
    (tmp_path / "x.yaml").write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    with pytest.raises(SweepError) as error:
        load(tmp_path / "x.yaml")
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'x.yaml'}: ") and "\n" not in said
    return said


# a whole file of another tool, and the ways that it is shown
FILES = {
    "W&B": (
        "program: train.py\nmethod: bayes\nparameters: {learning_rate: {min: 1e-5, max: 0.1}}\n"
        "early_terminate: {type: hyperband}\ncommand: ['${env}', python]\n",
        ["'method' write factors", "'parameters' write factors", "'early_terminate' write search"],
    ),
    "Hydra": (
        "defaults: [override hydra/sweeper: optuna, _self_]\nhydra: {sweeper: {n_trials: 20}}\n"
        "model: resnet18\n",
        ["'hydra' write factors for a grid, or search", "'model' write base.backbone"],
    ),
    "Lightning": (
        "seed_everything: 42\ntrainer: {max_epochs: 10}\nmodel: {class_path: my.Net}\n"
        "optimizer: {class_path: torch.optim.SGD}\nckpt_path: null\n",
        [
            "'seed_everything' write seeds",
            "'trainer' write base",
            "'optimizer' write base.optimizer",
        ],
    ),
    "MMEngine": (
        "_base_: [../a.py]\nmodel: {type: RetinaNet}\noptim_wrapper: {}\ntrain_cfg: {}\n"
        "param_scheduler: []\nwork_dir: x\n",
        ["'_base_' write base", "'train_cfg' write base.epochs", "'work_dir' write --storage"],
    ),
    "timm": (
        "amp: true\ndevice: cuda\nbatch_size: 256\ndata_dir: /imagenet\nepochs: 300\nlr: 0.5\nmodel: resnet50\n"
        "opt: sgd\nsched: cosine\nwarmup_epochs: 5\n",
        [
            "'epochs' write base.epochs",
            "'device' write resources.gpu",
            "'sched' write base.schedule",
            "'data_dir' write --data",
        ],
    ),
    "YOLO": (
        "task: detect\nmodel: yolo11n.pt\ndata: coco8.yaml\nepochs: 100\nlr0: 0.01\nbatch: 16\n",
        ["'lr0' write base.lr", "'batch' write base.batch_size", "'data' write base.dataset"],
    ),
    "pycls": (
        "MODEL: {TYPE: resnet}\nOPTIM: {BASE_LR: 0.1, STEPS: [0, 60]}\nTRAIN: {DATASET: cifar10}\n",
        ["'MODEL' write base.backbone", "'OPTIM' write base.lr", "'TRAIN' write base.dataset"],
    ),
    "Determined": (
        "entrypoint: x:T\nhyperparameters: {lr: {type: log}}\nsearcher: {name: adaptive_asha}\n",
        ["'hyperparameters' write base", "'searcher' write search"],
    ),
    "Ray Tune": (
        "param_space: {lr: {grid_search: [0.1]}}\nnum_samples: 10\nscheduler: asha\n",
        ["'param_space' write factors", "'num_samples' write seeds", "'scheduler' write search"],
    ),
    "NNI": (
        "searchSpace: {}\ntrialCommand: python x.py\nmaxTrialNumber: 20\ntuner: {name: TPE}\n",
        ["'searchSpace' write search.space", "'maxTrialNumber' write search.trials"],
    ),
    "Optuna": (
        "study_name: x\ndirection: maximize\nn_trials: 100\nsampler: TPESampler\n",
        ["'n_trials' write search.trials", "'sampler' write search.sampler"],
    ),
    "Katib": (
        "apiVersion: kubeflow.org/v1beta1\nkind: Experiment\nmetadata: {name: r}\nspec: {}\n",
        ["'spec' write search", "'metadata' write the name of the file"],
    ),
}


@pytest.mark.parametrize("tool", FILES)
def test_a_whole_file_of_another_tool_is_answered_key_by_key(tool, tmp_path):
    text, ways = FILES[tool]
    said = refusal(tmp_path, text)
    assert all(way in said for way in ways), said


# what is put into a valid file, its line's beginning, and the way out
VALUES = {
    "a resource": (
        {"resources": {"slots_per_trial": 1}},
        "resources: unknown key 'slots_per_trial': did you mean 'gpu'?",
    ),
    "an optimizer": (
        {"base": {"optimizer": {"type": "SGD"}}},
        "base.optimizer: must be 'sgd', 'adam' or 'adamw', got {'type': 'SGD'}",
    ),
    "a target": ({"base": {"_target_": "my.Net"}}, "unknown key '_target_'; for '_target_' write"),
    "a mapping for a name": (
        {"base": {"backbone": {"type": "ResNet", "depth": 20}}},
        "base.backbone: must be text, .* write backbone: NAME, .* backbone_options",
    ),
    "a mapping for a conv": (
        {"variants": {"R20": {"conv": {"name": "scconv"}}}},
        "variants.R20.conv: must be text, .* write conv: NAME, .* as options",
    ),
    "an interpolation": (
        {"base": {"backbone": "${model.name}"}},
        r"base.backbone: unknown backbone '\$\{model.name\}'; templates .* are not read",
    ),
    "a list of variants": (
        {"variants": [{"name": "R20"}]},
        "variants: must be a mapping, .* write each below its name",
    ),
    "an empty variant": ({"variants": {"R20": None}}, "variants.R20: must be .* is {}"),
    "seeds as text": ({"seeds": "0,1,2"}, r"seeds: must be .*; write \[0, 1, 2\]"),
    "a sweep of Hydra": ({"factors": {"lr": "0.1,0.2"}}, r"factors.lr: .*; write \[0.1, 0.2\]"),
    "values": ({"factors": {"lr": {"values": [0.1]}}}, r"factors.lr: must be a list.* \[0.1\]"),
    "a range in a grid": (
        {"factors": {"lr": {"min": 0.1, "max": 1}}},
        "factors.lr: must be a list, .* a range is for search.space",
    ),
}
SPACES = {
    "NNI": ({"_type": "loguniform", "_value": [0.1, 1]}, "for '_value' write low and high"),
    "Ray Tune": ({"grid_search": [0.1, 1]}, "unknown key 'grid_search': did you mean 'choices'"),
    "a call": ("tune.loguniform(1e-4, 1e-1)", "log: true"),
    "half a call": ("tune.loguniform(1e-4", "log: true"),
    "numpy": ("np.random.uniform(0.1, 1)", "write {low: ..., high: ...}"),
    "a list": (["log_uniform", 0.1, 1], "log: true"),
    "a choice": ("choice([0.1, 1])", r"write the choices as a list: \[0.1, 1\]"),
    "W&B": ({"distribution": "uniform", "min": 0, "max": 1}, "for 'min' write low"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_in_the_form_of_another_tool_is_answered(case, tmp_path):
    content, message = VALUES[case]
    merged = {k: HEAD.get(k, {}) | v if k == "base" else v for k, v in content.items()}
    said = refusal(tmp_path, HEAD | merged)
    assert "line " in said
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)


@pytest.mark.parametrize("case", SPACES)
def test_a_parameter_in_the_form_of_another_tool_is_answered(case, tmp_path):
    content, message = SPACES[case]
    search = {"mode": "tune", "trials": 2, "space": {"lr": content}}
    said = refusal(tmp_path, HEAD | {"search": search})
    assert "line " in said and ": search.space.lr: " in said
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)


@pytest.mark.parametrize(
    "text, way",
    [
        ("question: a\n---\nquestion: b\n", "one file is one question"),
        ("question: q\nbase:\n\tlr: 0.1\n", "line 3: .*indent by spaces, not by tabs"),
        ("question: q\nbase: {lr: {{ lr }} }\n", "line 2: .*templates such as"),
        ("question: q\nbase: {lr: ${LR:-0.1}}\n", "line 2: .*templates such as .* --set"),
        ("question: q\nbase: {lr: ???}\n", "line 2: .*templates such as"),
        ("- model: mnist\n", "must be a mapping with question"),
    ],
)
def test_what_is_no_yaml_of_ours_is_answered(text, way, tmp_path):
    with pytest.raises(AssertionError, match=way):
        raise AssertionError(refusal(tmp_path, text))


def test_a_file_in_another_encoding_is_answered(tmp_path):
    (tmp_path / "x.yaml").write_bytes("question: q\n".encode("utf-16"))
    with pytest.raises(SweepError, match="it is not UTF-8 text; save it as such"):
        load(tmp_path / "x.yaml")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_json_and_windows_lines_are_yaml(end, tmp_path):
    for text in (yaml.safe_dump(HEAD), yaml.safe_dump(HEAD, default_flow_style=True)):
        (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
        assert [*load(tmp_path / "x.yaml").variants] == ["R20"]


def test_every_way_out_is_a_key_of_ours():
    """A renamed key would leave messages that lead nowhere."""
    ours = {*Config.__dataclass_fields__, "recipe"}
    assert {*foreign.SETTINGS} <= ours
    assert {way for way in foreign.CONFIG.values() if way.isidentifier()} <= ours
