"""The curve as readers get it: the rows that training yielded, as columns of JSON (api/README.md, "The curve"). How
rows are stored is the store's concern, how they are drawn that of core/analysis.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from core.results import EpochResult


class Fractions(NamedTuple):
    """What a figure shows of a curve: columns alike in length; nan where nothing finite was measured."""

    epoch: Sequence[int]
    in_domain: Sequence[float]
    out_of_domain: Sequence[float]


# What statistics read of a row: whole numbers of EpochResult, in this order.
COUNTS = (
    *("epoch", "base_in_domain", "n_in_domain", "finite_in_domain"),
    *("base_out_of_domain", "n_out_of_domain", "finite_out_of_domain"),
    *("train_correct_base", "train_n_base", "train_correct_other", "train_n_other"),
)


class CurveHead(NamedTuple):
    """What a curve says of its experiment, read in the same snapshot as its rows."""

    id: int | None  # None: trained without a service
    state: str
    attempt: int
    epochs_done: int
    epochs_total: int
    diverged_at: int | None
    replay_mismatch_from: int | None
    complete: bool


def curve_json(head: CurveHead, rows: Sequence[EpochResult], after: int = 0) -> dict[str, Any]:
    """The curve as a JSON value: columns as long as `epoch`, `null` and a note where nothing finite was measured.
    `rows` are those after epoch `after`, in order."""
    nonfinite: dict[str, dict[str, str]] = {}

    def finite(column: str, key: int, value: float | None) -> float | None:
        if value is None or math.isfinite(value):
            return value
        nonfinite.setdefault(column, {})[str(key)] = _nonfinite_name(value)
        return None

    points = [point for row in rows for point in row.loss]
    return {
        "id": head.id,
        "state": head.state,
        "attempt": head.attempt,
        "epochs_done": head.epochs_done,
        "epochs_total": head.epochs_total,
        "epoch": [row.epoch for row in rows],
        **{name: [finite(name, row.epoch, measure(row)) for row in rows] for name, measure in _MEASURES.items()},
        "seconds": [round(row.seconds, 4) for row in rows],
        "loss": {
            "iteration": [point.iteration for point in points],
            "value": [finite("loss", point.iteration, _nine_digits(point.value)) for point in points],
        },
        "nonfinite": nonfinite,
        "diverged_at": head.diverged_at,
        "replay_mismatch_from": head.replay_mismatch_from,
        "next_after": rows[-1].epoch if rows else after,
        "complete": head.complete,
    }


def _share(count: int, n: int) -> float | None:
    return count / n if n else None


def measured_share(count: int, n: int, finite: int) -> float | None:
    """The share of a test set: None where it is empty, nan where a logit is not finite. Counted, NaN logits would be
    class 0: a number that looks measured and is not."""
    return math.nan if finite < n else _share(count, n)


def _training_accuracy(row: EpochResult, correct: int, n: int) -> float | None:
    return _share(correct, n) if math.isfinite(row.train_loss) else math.nan


def _nine_digits(value: float) -> float:
    """A float32 with the nine digits that identify it."""
    return float(f"{value:.9g}")


def _nonfinite_name(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


_MEASURES: dict[str, Callable[[EpochResult], float | None]] = {
    "base_fraction_in_domain": lambda row: measured_share(row.base_in_domain, row.n_in_domain, row.finite_in_domain),
    "base_fraction_out_of_domain": lambda row: measured_share(
        row.base_out_of_domain, row.n_out_of_domain, row.finite_out_of_domain
    ),
    "train_loss": lambda row: _nine_digits(row.train_loss),
    "accuracy_in_domain": lambda row: measured_share(row.correct_in_domain, row.n_in_domain, row.finite_in_domain),
    "train_accuracy_base": lambda row: _training_accuracy(row, row.train_correct_base, row.train_n_base),
    "train_accuracy_other": lambda row: _training_accuracy(row, row.train_correct_other, row.train_n_other),
    "finite_logits": lambda row: _share(
        row.finite_in_domain + row.finite_out_of_domain, row.n_in_domain + row.n_out_of_domain
    ),
}
