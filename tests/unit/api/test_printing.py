"""What the command line prints, piece by piece."""

import pytest

from api.cli.printing import duration, number_ranges, unquoted


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([], ""), ([3], "3"), ([1, 2, 4, 8], "1, 2, 4, 8"), ([1, 4, 351, 352, 353, 400], "1, 4, 351 to 353, 400")],
)
def test_numbers_in_a_row_are_said_by_their_ends(numbers: list[int], said: str) -> None:
    assert number_ranges(numbers) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "0:00:10"), (80, "0:01:20"), (90_061, "1 day, 1:01:01")],
)
def test_a_duration_is_short_where_it_is(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_a_value_is_said_without_quotes_and_of_a_long_list_its_beginning() -> None:
    assert [unquoted(value) for value in ("mlp", 0.0, True, [[1, 5]])] == ["mlp", "0", "true", "[[1, 5]]"]
    assert unquoted([[1.5, 2]] * 500).endswith("[1.5, 2],… (500)")
