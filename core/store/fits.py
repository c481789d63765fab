"""Whether the network of an experiment has learned, as far as its rows say. The rule is core.fit's; here is what it
asks of the rows, for a whole page of a list at once.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, Connection, Integer, and_, column, func, not_, or_, select, values

from core.fit import Fit, Signs, fit_of, last_rows
from core.store.experiments import Experiment, LastRow
from core.store.tables import curve_rows

_Accuracies = tuple[float | None, float | None]

# Every image of both test sets is predicted as one class.
_CONSTANT = or_(
    and_(curve_rows.c.base_in_domain == 0, curve_rows.c.base_out_of_domain == 0),
    and_(
        curve_rows.c.base_in_domain == curve_rows.c.n_in_domain,
        curve_rows.c.base_out_of_domain == curve_rows.c.n_out_of_domain,
    ),
)


def fits(tx: Connection, found: Sequence[Experiment]) -> list[Fit | None]:
    """Of each of `found`, in order; None where it has no row yet."""
    finite = [each for each in found if each.last_row is not None and each.diverged_at is None]
    constant = {each.id for each in finite if each.last_row is not None and _is_constant(each.last_row)}
    ever_both = _with_both_classes(tx, constant)
    accuracies = _accuracies(tx, [each for each in finite if each.id not in constant])

    def fit(experiment: Experiment) -> Fit | None:
        if experiment.last_row is None:
            return None
        number = experiment.id
        signs = Signs(
            finite=experiment.diverged_at is None,
            constant=number in constant,
            ever_both=number not in constant or number in ever_both,
            accuracy_base=accuracies.get(number, (None, None))[0],
            accuracy_other=accuracies.get(number, (None, None))[1],
        )
        return fit_of(
            signs,
            decays=experiment.spec["optimizer"]["weight_decay"] > 0,
            drops=experiment.spec["model"].get("dropout", 0) > 0,
        )

    return [fit(experiment) for experiment in found]


def _is_constant(row: LastRow) -> bool:
    base = (row.base_in_domain, row.base_out_of_domain)
    return base in ((0, 0), (row.n_in_domain, row.n_out_of_domain))


def _with_both_classes(tx: Connection, ids: Iterable[int]) -> set[int]:
    """Those of which a row has predicted both."""
    ids = list(ids)
    if not ids:
        return set()
    found = select(curve_rows.c.experiment_id).where(curve_rows.c.experiment_id.in_(ids), not_(_CONSTANT)).distinct()
    return set(tx.execute(found).scalars())


def _accuracies(tx: Connection, found: Sequence[Experiment]) -> dict[int, _Accuracies]:
    """Training accuracy of each class, base first, over the last rows."""
    if not found:
        return {}
    after = [(each.id, _epoch_before_last_rows(each)) for each in found]
    last = values(column("id", BigInteger), column("after", Integer), name="last_rows").data(after).cte()
    sums = [
        func.sum(curve_rows.c[name]).label(name)
        for name in ("train_correct_base", "train_n_base", "train_correct_other", "train_n_other")
    ]
    rows = tx.execute(
        select(curve_rows.c.experiment_id, *sums)
        .join(last, (curve_rows.c.experiment_id == last.c.id) & (curve_rows.c.epoch > last.c.after))
        .group_by(curve_rows.c.experiment_id)
    )
    return {
        row.experiment_id: (
            _share(row.train_correct_base, row.train_n_base),
            _share(row.train_correct_other, row.train_n_other),
        )
        for row in rows
    }


def _epoch_before_last_rows(experiment: Experiment) -> int:
    """The last rows are those of later epochs: whole multiples of `eval_every`, but perhaps the very last."""
    every: int = experiment.spec["eval_every"]
    rows = -(-experiment.epochs_done // every)
    return (rows - last_rows(rows)) * every


def _share(count: int, n: int) -> float | None:
    return float(count / n) if n else None
