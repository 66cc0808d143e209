"""What the tests of single trials share."""

import pytest

from runners.trial import saving


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    """Though their epochs are short; test_saving.py has those that wait."""
    monkeypatch.setattr(saving, "WAIT_S", 0.0)
