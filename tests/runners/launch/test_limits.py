"""A sweep in which every variant fails for one reason is stopped at once."""

import pytest

from runners.launch.limits import ALL_FAIL, LimitWatch
from runners.plan import Config, Limits, Trial
from runners.store import Store
from tests.records import record

A, B = (Trial("s", name, Config("resnet20", "synthetic"), 0) for name in ("A", "B"))
NO_MEMORY = "OutOfMemoryError: tried to allocate {} GB"


def watch_of(tmp_path, limits=None):
    return LimitWatch(limits or Limits(), Store(tmp_path), [A.variant, B.variant])


def test_one_reason_for_all_variants_stops_whatever_its_numbers(tmp_path):
    watch = watch_of(tmp_path)
    watch.ended(A, record(A, "failed", reason=NO_MEMORY.format("1.5")))
    assert watch.reached() == ""
    watch.ended(B, record(B, "failed", reason=NO_MEMORY.format("20.25")))
    assert watch.reached().startswith(ALL_FAIL)


@pytest.mark.parametrize("case", ["another reason", "one works", "it is allowed"])
def test_else_the_others_are_tried(case, tmp_path):
    watch = watch_of(tmp_path, Limits(failures=9) if case == "it is allowed" else None)
    watch.works = case == "one works"
    watch.ended(A, record(A, "failed", reason=NO_MEMORY))
    why = "RuntimeError: odd" if case == "another reason" else NO_MEMORY
    watch.ended(B, record(B, "failed", reason=why))
    assert watch.reached() == ""


def test_one_failure_of_the_only_variant_says_little(tmp_path):
    watch = LimitWatch(Limits(), Store(tmp_path), ["A"])
    watch.ended(A, record(A, "failed"))
    assert watch.reached() == ""
    watch.ended(A, record(A, "failed"))
    assert watch.reached().startswith(ALL_FAIL)
