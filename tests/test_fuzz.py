"""The short form of `make fuzz`."""

from tests import fuzz


def test_malformed_input_is_one_line_and_nothing_is_written():
    found = fuzz.run(80, seed_from_clock=False)
    assert found.total() >= 80 and found["refused"] > 40, found


def test_malformed_lists_are_refused_by_one_line_that_names_the_file():
    found = fuzz.run_lists(300, seed_from_clock=False)
    assert found.total() >= 300 and found["lists refused"] > 200, found
