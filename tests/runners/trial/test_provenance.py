"""Which commit a number is said to come from."""

import json

import pytest

from runners.trial import provenance as evidence


@pytest.fixture
def no_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "__file__", str(tmp_path / "evidence.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    evidence.commit.cache_clear()
    yield tmp_path
    evidence.commit.cache_clear()


def test_outside_a_checkout_it_is_what_the_image_was_built_from(no_checkout):
    (no_checkout / "commit.json").write_text(json.dumps({"commit": "0123456789ab", "dirty": "no"}))
    assert evidence.commit() == {"commit": "0123456789ab", "dirty": "no"}


@pytest.mark.parametrize("written", [None, "", "{"])
def test_and_unknown_where_nothing_says(written, no_checkout):
    if written is not None:
        (no_checkout / "commit.json").write_text(written)
    assert evidence.commit() == {"commit": "unknown", "dirty": "unknown"}
