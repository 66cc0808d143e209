"""docker/ keeps its rules: no secret in a file, nothing published but on loopback, no service
without the token, no root. Needs no Docker.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
SERVICES = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
VOLUME, JOB = yaml.safe_load_all((DOCKER / "kuberay.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def pinned(package: str) -> str:
    return re.findall(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[0]


def values(node) -> list[tuple[str, str]]:
    """(key, text) of everything in a parsed file."""
    if isinstance(node, dict):
        return [(str(k), str(v)) for k, v in node.items() if not isinstance(v, dict | list)] + [
            x for v in node.values() for x in values(v)
        ]
    return [x for v in node for x in values(v)] if isinstance(node, list) else []


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.yaml")), ids=lambda p: p.name)
def test_no_secret_has_a_value(path):
    for document in yaml.safe_load_all(path.read_text()):
        for key, value in values(document):
            if re.search("password|token|secret", key, re.I):
                assert re.fullmatch(r"\$\{\w+:\?.*\.env\.example\}", value), (
                    f"{key}: {value} is to come from docker/.env, or be asked for"
                )
            assert not re.search(r"://[^/\s]*:[^/\s]*@", value), f"{key}: a password in an address"


def test_the_example_names_every_variable_that_must_be_set_and_sets_none():
    needed = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert set(re.findall(r"^(\w+)=$", (DOCKER / ".env.example").read_text(), re.M)) == needed
    assert re.findall(r"^(\w+)=.+$", (DOCKER / ".env.example").read_text(), re.M) == []


def test_a_filled_in_env_reaches_neither_git_nor_the_image():
    for name in (".gitignore", ".dockerignore"):
        assert "docker/.env" in [
            line.lstrip("/") for line in (ROOT / name).read_text().splitlines()
        ], name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_loopback_alone_and_says_how_it_is(name):
    assert all(re.match(r"127\.0\.0\.1:", port) for port in SERVICES[name].get("ports", []))
    assert {"healthcheck", "restart"} <= SERVICES[name].keys()
    assert (
        "user" not in SERVICES[name]
        and "privileged" not in SERVICES[name]
        and SERVICES[name].get("network_mode") is None
    )


def test_only_the_user_interfaces_are_published():
    published = {
        name: [p.rsplit(":", 1)[1] for p in service["ports"]]
        for name, service in SERVICES.items()
        if "ports" in service
    }
    assert published == {"mlflow": ["5000"], "head": ["8265"]}


@pytest.mark.parametrize(
    "name", [n for n, s in SERVICES.items() if "ray start" in str(s.get("command"))]
)
def test_every_ray_service_asks_for_the_token_and_shares_the_trials(name):
    service = SERVICES[name]
    assert (
        service["environment"]["RAY_AUTH_MODE"] == "token"
        and "RAY_AUTH_TOKEN" in service["environment"]
    )
    assert {"runs:/app/runs", "data:/app/data"} <= set(service["volumes"])


def test_the_head_needs_no_options():
    assert SERVICES["head"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert '"mlflow:5000,' in SERVICES["mlflow"]["command"], "else MLflow refuses its clients"
    assert {name for name, s in SERVICES.items() if s["image"] == SERVICES["head"]["image"]} == {
        "mlflow",
        "head",
        "worker",
    }


def test_the_image_ends_as_a_user_who_is_not_root_and_owns_what_volumes_cover():
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.M) == ["sweep"]
    owned = re.search(r"install -d -o sweep -g sweep (.+)", DOCKERFILE)
    covered = {
        v.split(":")[1]
        for s in SERVICES.values()
        if s["image"] != "postgres:16"
        for v in s["volumes"]
        if not v.endswith(":ro")
    }
    assert owned and {str(Path("/app") / p) for p in owned[1].split()} == covered


def test_the_image_names_no_index_and_installs_what_the_tests_ran_with():
    assert "://" not in DOCKERFILE
    for line in re.findall(r"pip install .+", DOCKERFILE):
        assert "--no-cache-dir" in line and ("-c constraints.txt" in line or "--no-deps" in line), (
            line
        )


def test_the_build_sees_every_tracked_file():
    """Else git would say in each image that the code has uncommitted changes."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and line[0] != "#"
    ]
    for path in tracked:
        out = False
        for pattern in ignored:
            if re.match(_pattern(pattern.lstrip("!")), path):
                out = pattern[0] != "!"
        assert not out, path


def _pattern(glob: str) -> str:
    """Docker's: `**/` is any folders, `*` stays within one, a folder stands for all in it."""
    return re.escape(glob).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*") + "(/|$)"


def test_a_sweep_on_kubernetes_goes_on_after_a_lost_head_and_leaves_everything_on_the_volume():
    spec = JOB["spec"]
    assert (JOB["apiVersion"], JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert spec["shutdownAfterJobFinishes"] is True and spec["backoffLimit"] > 0
    command = re.fullmatch(
        r"python -m runners\.sweep /app/(sweeps/\w+\.yaml) --address auto", spec["entrypoint"]
    )
    assert command and (ROOT / command[1]).exists()
    folder = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"][0]["workingDir"]
    for group in GROUPS:
        pod = group["template"]["spec"]
        (claim,) = [
            v["name"]
            for v in pod["volumes"]
            if v["persistentVolumeClaim"]["claimName"] == VOLUME["metadata"]["name"]
        ]
        assert {"name": claim, "mountPath": folder} in pod["containers"][0]["volumeMounts"]
    assert VOLUME["spec"]["accessModes"] == ["ReadWriteMany"]


def test_a_cluster_on_kubernetes_asks_for_a_token_runs_as_the_images_user_and_rays_version_is_the_images():
    assert CLUSTER["authOptions"] == {"mode": "token"} and CLUSTER["rayVersion"] == pinned("ray")
    user = int(re.findall(r"ARG USER_ID=(\d+)", DOCKERFILE)[0])
    for group in GROUPS:
        pod = group["template"]["spec"]
        assert (
            pod["securityContext"]["runAsNonRoot"]
            and pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == user
        )
        (container,) = pod["containers"]
        assert (
            container["image"].startswith("REPLACE/")
            and container["resources"]["limits"] == container["resources"]["requests"]
        )
