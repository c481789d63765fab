"""README's table of speed, and what the benchmarks say of their numbers."""

import pytest

from tests.benchmarks.harness import Measurement, ratio
from tests.benchmarks.training.table import BEGIN, END, ROOT, kept, table, with_table

LANES = [
    {"rival": "ours", "precision": "fp32", "processes": 1, "median_seconds": 2.0},
    {"rival": "tight", "precision": "fp32", "processes": 1, "median_seconds": 3.0},
    {"rival": "ours", "precision": "fp32", "processes": 2, "median_seconds": 1.25},
    {"rival": "script", "precision": "fp32", "processes": 1, "median_seconds": 1.5},
]
WAYS = [
    {"threads": threads, "workers": workers, "seconds": [seconds, 9.0]}
    for threads, workers, seconds in ((0, 0, 1.6), (0, 2, 2.0), (1, 0, 5.0), (1, 2, 4.0))
]
MEASURED = {
    "rounds": 5,
    "processor": "A processor",
    "cores": 2,
    "torch": "2",
    "date": "2026-01-01",
    "subjects": {"cnn 64": {"images": {"train": 400}, "lanes": LANES, "ways_of_the_script": WAYS}},
}


def test_the_readme_holds_what_was_measured_last() -> None:
    page = (ROOT / "README.md").read_text()
    assert with_table(page, kept()) == page


def test_the_table_says_images_a_second_and_how_much_faster_ours_is() -> None:
    """The script with the DataLoader's workers where that is faster."""
    assert table(MEASURED).splitlines()[-1] == "| cnn 64 | fp32 | 200 | 133 (1.50×) | 100 (2.00×) | 320 | 250 (1.28×) |"


def test_the_table_takes_the_place_of_the_one_before() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert with_table(page, MEASURED) == f"before\n{BEGIN}\n{table(MEASURED)}\n{END}\nafter"
    with pytest.raises(ValueError, match="no <!--"):
        with_table("before", MEASURED)


def test_a_promise_of_at_least_is_broken_below_it() -> None:
    assert ratio("faster", [3, 3], [2, 2], at_least=1.5).holds
    broken = ratio("faster", [3, 3], [2, 2], at_least=1.6)
    assert not broken.holds
    assert broken.columns()[-2:] == ("at least 1.6 ×", "BROKEN")
    assert not Measurement("seconds", [2.0], "s", at_most=1).holds
