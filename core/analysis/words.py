"""Numbers with their intervals, as people read them. No numpy: the command line has them from JSON."""

_MOST = 15  # decimals; a number near 1 has no more


def with_interval(estimate: float, low: float, high: float, decimals: int = 3) -> str:
    """ "0.131 (0.123 to 0.139)"."""
    low_words, high_words = bounds(low, high, decimals)
    _, _, shown = low_words.partition(".")
    return f"{estimate:z.{len(shown)}f} ({low_words} to {high_words})"


def bounds(low: float, high: float, decimals: int = 3) -> tuple[str, str]:
    """With as many decimals, from `decimals` on, as tell them apart: 0.008 to 0.008 would say that nothing is left to
    know."""
    while f"{low:z.{decimals}f}" == f"{high:z.{decimals}f}" and decimals < _MOST:
        decimals += 1
    return f"{low:z.{decimals}f}", f"{high:z.{decimals}f}"
