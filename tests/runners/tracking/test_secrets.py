"""Secrets of URIs and of the environment are in nothing that a sweep leaves or prints."""

import time
import uuid
from pathlib import Path

import pytest

from runners.errors import SweepError
from runners.store import Store
from runners.store.s3 import Address
from runners.tracking.connection import connect
from tests.runners.test_sweep import finish, start
from tests.servers import Server

# its error repeats a URI, as those of libraries do
LEAKY = """
import os
from torch import nn

class Leaky(nn.Conv2d):
    def forward(self, x):
        if self.training and x.device.type != "meta":
            raise ConnectionError("cannot reach " + os.environ["PLANTED_URI"])
        return super().forward(x)

def drop_in(conv):
    return Leaky(conv.in_channels, conv.out_channels, 1, conv.stride)
"""


@pytest.fixture
def secrets(monkeypatch):
    """Secrets by where they are planted; those of the environment are planted already."""
    planted = {
        name: f"planted{uuid.uuid4().hex[:16]}"
        for name in ("user", "password", "key", "secret", "token", "database")
    }
    monkeypatch.setenv("PLANTED_TOKEN", planted["token"])
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", planted["token"])
    monkeypatch.setenv("PLANTED_URI", f"postgresql://me:{planted['database']}@db.lab/x?a=b")
    return planted


def found_in(files, secrets) -> list[tuple[str, str]]:
    """(file, what was planted) wherever a secret stands."""
    found = []
    for path in files:
        content = path.read_bytes() if path.is_file() else b""
        found += [(str(path), what) for what, text in secrets.items() if text.encode() in content]
    return found


def test_a_sweep_leaves_no_secret_anywhere(write_sweep, tmp_path, bucket, secrets):
    path = write_sweep(
        base={"epochs": 1},
        variants={"R20": {}, "leaky": {"conv": "leaky"}},
        seeds=1,
    )
    (tmp_path / "leaky.py").write_text(LEAKY)
    began = time.time()
    server = Server(tmp_path)
    try:
        uri = server.uri.replace("://", f"://{secrets['user']}:{secrets['password']}@")
        keys = f"s3://{secrets['key']}:{secrets['secret']}@"
        storage = bucket("runs").replace("s3://", keys)
        code, out = finish(start(path, "--tracking-uri", uri, "--storage", storage), path)
    finally:
        server.stop()
    assert code == 1 and "cannot reach postgresql://***@db.lab" in out, out
    assert "R20 seed0" in out and "charts: http://127.0.0.1" in out

    # the bucket's objects, as files
    client = Address.parse(storage).client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lab", Prefix=tmp_path.name)
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    assert any(key.endswith("record.json") for key in keys)
    for n, key in enumerate(keys):
        client.download_file("lab", key, str(tmp_path / f"object{n}"))
    logs = [p for p in Path("/tmp/ray").glob("session_2*") if p.stat().st_mtime >= began]
    left = [*tmp_path.rglob("*"), *(p for folder in logs for p in folder.rglob("*.*"))]
    assert not found_in(left, secrets)
    assert len([p for p in left if p.suffix == ".html"]) >= 2  # the page, and MLflow's copy


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:{}@127.0.0.1:1/mlflow",
        "postgresql://127.0.0.1:1/mlflow?user=me&password={}",
        "mysql+pymysql://me:{}@127.0.0.1:1/mlflow",
        "http://me:{}@127.0.0.1:1",
        "https://{}@127.0.0.1:1",
        "nonsense://me:{}@x",
        "postgresql://me:{}/x@127.0.0.1:1/mlflow",
        "http://me:{}@[::1",
        "s3://me:{}@lab/x",
    ],
)
def test_a_place_that_cannot_be_opened_is_named_without_its_secret(uri, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SweepError) as refused:
        connect(uri.format("planted0secret"))
    said = str(refused.value) + "".join(capsys.readouterr())
    assert "planted0secret" not in said and "--tracking-uri" in said
    assert refused.value.__cause__ is None  # nor in a traceback's


@pytest.mark.parametrize(
    "uri",
    [
        "s3://{}:planted0secret@no-such-bucket/x?endpoint_override=127.0.0.1:1&scheme=http",
        "s3://key:{}@lab/x?endpoint_override=127.0.0.1:1&scheme=ftp",
        "s3://key:{}@lab/x?secret_key=planted0secret",
        "s3://key:{}/y+z@lab/x?endpoint_override=127.0.0.1:1&scheme=http",
    ],
)
def test_a_store_that_cannot_be_reached_is_named_without_its_secret(uri, capsys):
    with pytest.raises((SweepError, OSError)) as refused:
        Store(uri.format("planted0secret")).record("a")
    said = str(refused.value) + "".join(capsys.readouterr())
    assert "planted0secret" not in said and "--storage" in said
