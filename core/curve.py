"""The curve as readers get it: the rows that training yielded, as columns of JSON (api/README.md, "The curve"). How
rows are stored is the store's concern, how they are drawn that of core/analysis.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from core.results import Diagnostics, EpochResult

# Of a column, at a key, a value: null, and noted, where it is not finite.
_Finite = Callable[[str, int, float | None], float | None]


# What statistics read of a row: whole numbers of EpochResult, in this order.
COUNTS = (
    *("epoch", "base_in_domain", "n_in_domain", "finite_in_domain"),
    *("base_out_of_domain", "n_out_of_domain", "finite_out_of_domain"),
    *("train_correct_base", "train_n_base", "train_correct_other", "train_n_other"),
)


class LearnedAt(NamedTuple):
    """The first row in whose epoch every image of the class was right as it was met; None: there is none yet."""

    base: int | None
    other: int | None


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
    learned_at: LearnedAt | None = None  # None: the spec asks for no diagnostics


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
        **({"diagnostics": _diagnostics_json(head.learned_at, rows, finite)} if head.learned_at else {}),
        "nonfinite": nonfinite,
        "diverged_at": head.diverged_at,
        "replay_mismatch_from": head.replay_mismatch_from,
        "next_after": rows[-1].epoch if rows else after,
        "complete": head.complete,
    }


def learned_at(rows: Sequence[EpochResult]) -> LearnedAt:
    """Of all rows of a curve, in order. A loss that is not finite is no measurement: NaN is class 0, and so may be
    right."""
    measured = [row for row in rows if math.isfinite(row.train_loss)]
    return LearnedAt(
        base=next((row.epoch for row in measured if row.train_correct_base == row.train_n_base > 0), None),
        other=next((row.epoch for row in measured if row.train_correct_other == row.train_n_other > 0), None),
    )


def _diagnostics_json(learned: LearnedAt, rows: Sequence[EpochResult], finite: _Finite) -> dict[str, Any]:
    def column(name: str, measure: Callable[[EpochResult, Diagnostics], float | None]) -> list[float | None]:
        measured = [(row.epoch, row.diagnostics and measure(row, row.diagnostics)) for row in rows]
        return [finite(f"diagnostics.{name}", epoch, value) for epoch, value in measured]

    return {
        **{name: column(name, measure) for name, measure in _DIAGNOSTICS.items()},
        "dead_units": [
            row.diagnostics and [_nine_digits(share) for share in row.diagnostics.dead_units] for row in rows
        ],
        "learned_at": learned._asdict(),
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


def _of_met(value: float, n: int) -> float | None:
    """Of the images of a class in the epoch's batches: None where there were none."""
    return _nine_digits(value) if n else None


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

_DIAGNOSTICS: dict[str, Callable[[EpochResult, Diagnostics], float | None]] = {
    "loss_base": lambda row, seen: _of_met(seen.loss_base, row.train_n_base),
    "loss_other": lambda row, seen: _of_met(seen.loss_other, row.train_n_other),
    "margin_base": lambda row, seen: _of_met(seen.margin_base, row.train_n_base),
    "margin_other": lambda row, seen: _of_met(seen.margin_other, row.train_n_other),
    "margin_low_base": lambda row, seen: _of_met(seen.margin_low_base, row.train_n_base),
    "margin_low_other": lambda row, seen: _of_met(seen.margin_low_other, row.train_n_other),
    "norm": lambda _, seen: _nine_digits(seen.norm),
    "norm_last_layer": lambda _, seen: _nine_digits(seen.norm_last_layer),
    "bias_difference": lambda _, seen: _nine_digits(seen.bias_difference),
    "base_fraction_noise": lambda _, seen: measured_share(seen.base_noise, seen.n_noise, seen.finite_noise),
}
