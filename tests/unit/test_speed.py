"""README's table of speed, and what the benchmarks say of their numbers."""

import pytest

from tests.benchmarks.harness import Measurement, ratio
from tests.benchmarks.training.table import BEGIN, END, ROOT, kept, table, with_table

LANES = [
    {"rival": rival, "precision": "fp32", "processes": processes, "threads": threads, "median_seconds": seconds}
    for rival, processes, threads, seconds in (
        ("ours", 1, 1, 2.0),
        ("tight", 1, 1, 3.0),
        ("ours", 2, 1, 1.25),
        ("script", 1, 0, 1.6),
        ("script", 1, 1, 4.0),
    )
]
MEASURED = {
    "rounds": 5,
    "processor": "A processor",
    "cores": 2,
    "torch": "2",
    "date": "2026-01-01",
    "subjects": {"cnn 64": {"images": {"train": 400}, "lanes": LANES}},
}


def test_the_readme_holds_what_was_measured_last() -> None:
    page = (ROOT / "README.md").read_text()
    assert with_table(page, kept()) == page


def test_the_table_says_images_a_second_and_how_much_faster_ours_is() -> None:
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
