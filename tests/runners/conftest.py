"""An S3 server with the bucket `lab`, and places in it."""

import pytest


@pytest.fixture(scope="session")
def moto():
    """The port of an S3 server, in a process of its own."""
    pytest.importorskip("moto.server", reason="an S3 server: pip install 'moto[server]'")
    from tests.s3 import Moto

    server = Moto()
    yield server.port
    server.stop()


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """An environment with credentials for it, and a cache of its own."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bucket(moto, aws, tmp_path):
    """bucket(name) -> the address of an empty place in it."""
    from tests.s3 import make_bucket

    make_bucket(moto)
    return lambda name: (
        f"s3://lab/{tmp_path.name}/{name}?endpoint_override=127.0.0.1:{moto}&scheme=http"
    )


@pytest.fixture
def proxy(moto, aws):
    """A proxy before the server, whose `trouble` can be set."""
    from tests.s3 import Proxy, make_bucket

    make_bucket(moto)
    proxy = Proxy(moto)
    yield proxy
    proxy.stop()


@pytest.fixture
def behind_proxy(proxy, tmp_path):
    """behind_proxy(name) -> the address of an empty place that is reached through the proxy."""
    return lambda name: (
        f"s3://lab/{tmp_path.name}/{name}?endpoint_override={proxy.address}&scheme=http"
    )


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    """The address of an empty place, of each kind."""
    if request.param == "disk":
        return str(tmp_path / "runs")
    return request.getfixturevalue("bucket")("runs")
