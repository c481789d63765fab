"""All rows of a sweep in one query, lean, for the statistics over them; and predictions that can be compared."""

from array import array

from sqlalchemy import Connection, func, select

from core.curve import COUNTS
from core.results import Predictions
from core.store.tables import curve_rows, experiments, predictions

_ROWS_AT_ONCE = 5000  # that a driver holds


def counts_of_sweep(tx: Connection, sweep_id: int, most: int) -> dict[int, "array[int]"]:
    """By experiment, for the first `most` members that have rows: its rows in order, of each `COUNTS`, one after the
    other."""
    members = (
        select(experiments.c.id).where(experiments.c.sweep_id == sweep_id).order_by(experiments.c.position).limit(most)
    )
    # The rows of each member by their key.
    rows = tx.execute(
        select(curve_rows.c.experiment_id, *(curve_rows.c[name] for name in COUNTS))
        .where(curve_rows.c.experiment_id.in_(members))
        .order_by(curve_rows.c.experiment_id, curve_rows.c.epoch)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    counts: dict[int, array[int]] = {}
    for experiment_id, *row in rows:
        if experiment_id not in counts:
            counts[experiment_id] = array("q")
        counts[experiment_id].extend(row)
    return counts


def last_predictions(tx: Connection, ids: list[int]) -> tuple[int | None, dict[int, Predictions]]:
    """The last epoch whose predictions all of these experiments have kept, and these predictions; None where there is
    no such epoch."""
    of_these = predictions.c.experiment_id.in_(ids)
    common = (
        select(predictions.c.epoch).where(of_these).group_by(predictions.c.epoch).having(func.count() == len(ids))
    ).subquery()
    epoch = tx.execute(select(func.max(common.c.epoch))).scalar()
    if epoch is None:
        return None, {}
    rows = tx.execute(
        select(predictions.c.experiment_id, predictions.c.in_domain, predictions.c.out_of_domain).where(
            of_these, predictions.c.epoch == epoch
        )
    )
    return int(epoch), {row.experiment_id: Predictions(bytes(row.in_domain), bytes(row.out_of_domain)) for row in rows}
