"""What a benchmark yields, and how it is printed: a median with its spread, and the promise that it holds or breaks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

One = TypeVar("One")


@dataclass(frozen=True)
class Measurement:
    what: str
    values: Sequence[float]
    unit: str  # "s", "ms", "×", …
    at_most: float | None = None  # the promise, of the median; None: only shown
    at_least: float | None = None  # a promise of the other kind
    middle: float | None = None  # where it is not the median of the values, such as a ratio of medians

    @property
    def result(self) -> float:
        return median(self.values) if self.middle is None else self.middle

    @property
    def holds(self) -> bool:
        low = self.at_least is None or self.result >= self.at_least
        return low and (self.at_most is None or self.result <= self.at_most)

    @property
    def promise(self) -> str:
        """In words; "" where it is only shown."""
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{words} {bound:g} {self.unit}" for words, bound in bounds if bound is not None)

    def columns(self) -> tuple[str, ...]:
        promise = self.promise or "–"
        verdict = "–" if not self.promise else ("holds" if self.holds else "BROKEN")
        spread = f"{min(self.values):.3g} – {max(self.values):.3g}"
        return (self.what, f"{self.result:.3g} {self.unit}", spread, str(len(self.values)), promise, verdict)


Benchmark = Callable[[], Iterator[Measurement]]

_TITLES = ("what", "median", "min – max", "n", "promise", "")
_WIDTHS = (58, 16, 16, 4, 18, 6)


def report(benchmarks: Sequence[Benchmark]) -> bool:
    """Run them and print a line a measurement, as it comes. Whether every promise holds."""
    _print(_TITLES)
    hold = True
    for benchmark in benchmarks:
        for measurement in benchmark():
            _print(measurement.columns())
            hold = hold and measurement.holds
    return hold


def interleaved(pairs: int, one: Callable[[], One], other: Callable[[], One]) -> tuple[list[One], list[One]]:
    """A B A B …: what slows the machine for a while slows both."""
    both = [(one(), other()) for _ in range(pairs)]
    return [a for a, _ in both], [b for _, b in both]


def ratio(
    what: str,
    ones: Sequence[float],
    others: Sequence[float],
    at_most: float | None = None,
    at_least: float | None = None,
) -> Measurement:
    """The ratio of the medians, with the spread of the pairs' ratios."""
    pairs = [one / other for one, other in zip(ones, others, strict=True)]
    return Measurement(what, pairs, "×", at_most, at_least, middle=median(ones) / median(others))


def _print(columns: Sequence[str]) -> None:
    print("  ".join(f"{text:<{width}}" for text, width in zip(columns, _WIDTHS, strict=True)).rstrip(), flush=True)
