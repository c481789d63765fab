"""Curve rows, keyed by experiment and epoch: written once, never updated, read in the order of their epochs. Who may
write is the concern of `attempts` (core/store/README.md, "Curves").
"""

import json
import math
import struct

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from core.curve import CurveHead, LearnedAt
from core.results import LOSS_POINT_EVERY, Diagnostics, EpochResult, LossPoint
from core.states import ENDED, State
from core.store.errors import NotFound
from core.store.tables import AnyRow, curve_rows, experiments, is_id

_LAST_EPOCH = 2**31 - 1  # an INTEGER

# The fields of a result in their order, the loss points packed; then where those begin. What is kept beside a row has
# tables of its own.
_BESIDE = ("predictions", "weights")
_FIELDS = [name for name in EpochResult._fields if name not in _BESIDE]
_COLUMNS = [curve_rows.c["loss_values" if name == "loss" else name] for name in _FIELDS]
_ROW = select(*_COLUMNS, curve_rows.c.loss_from)
_TRAIN_LOSS, _LOSS, _DIAGNOSTICS = map(EpochResult._fields.index, ("train_loss", "loss", "diagnostics"))


def read(tx: Connection, experiment_id: int, after: int = 0) -> tuple[CurveHead, list[EpochResult]]:
    """What a curve says of its experiment, and its rows after epoch `after`, in order. Raises NotFound."""
    head = _head(tx, experiment_id)
    # The tail of one curve, by its key.
    rows = tx.execute(
        _ROW.where(curve_rows.c.experiment_id == experiment_id, curve_rows.c.epoch > min(after, _LAST_EPOCH)).order_by(
            curve_rows.c.epoch
        )
    )
    return head, [_result(row) for row in rows]


def write(tx: Connection, experiment_id: int, attempt: int, result: EpochResult) -> EpochResult | None:
    """Write a row under the caller's fence. Returns the row that stands there already, if one does, untouched."""
    packed = {name: getattr(result, name) for name in _FIELDS}
    points = _evenly_spaced(packed.pop("loss"))
    packed["train_loss"] = _packed(result.train_loss)
    packed["diagnostics"] = result.diagnostics and result.diagnostics.packed()
    row = _insert_once(tx).values(
        experiment_id=experiment_id,
        attempt=attempt,
        **packed,
        loss_from=points[0].iteration if points else None,
        loss_values=_packed(*(point.value for point in points)),
    )
    if tx.execute(row.returning(curve_rows.c.epoch)).one_or_none() is not None:
        return None
    key = (curve_rows.c.experiment_id == experiment_id, curve_rows.c.epoch == result.epoch)
    return _result(tx.execute(_ROW.where(*key)).one())


def _head(tx: Connection, experiment_id: int) -> CurveHead:
    if not is_id(experiment_id):
        raise NotFound(experiment_id)
    stored = [name for name in CurveHead._fields if name not in ("complete", "learned_at")]
    row = tx.execute(
        select(*(experiments.c[name] for name in stored), experiments.c.spec).where(experiments.c.id == experiment_id)
    ).one_or_none()
    if row is None:
        raise NotFound(experiment_id)
    *facts, spec = row
    learned = _learned_at(tx, experiment_id) if json.loads(spec).get("diagnostics") else None
    return CurveHead._make([*facts, State(row.state) in ENDED, learned])


def _learned_at(tx: Connection, experiment_id: int) -> LearnedAt:
    """As `core.curve.learned_at`, of the whole curve, whatever tail of it is read."""
    return LearnedAt(*(_first_learned(tx, experiment_id, which) for which in LearnedAt._fields))


def _first_learned(tx: Connection, experiment_id: int, which: str) -> int | None:
    n, correct = curve_rows.c[f"train_n_{which}"], curve_rows.c[f"train_correct_{which}"]
    # Of one curve, by its key, two columns.
    rows = tx.execute(
        select(curve_rows.c.epoch, curve_rows.c.train_loss)
        .where(curve_rows.c.experiment_id == experiment_id, n > 0, correct == n)
        .order_by(curve_rows.c.epoch)
    ).all()
    return next((row.epoch for row in rows if math.isfinite(_unpacked(row.train_loss)[0])), None)


def _insert_once(tx: Connection) -> sqlite.Insert | postgresql.Insert:
    if tx.dialect.name == "sqlite":
        return sqlite.insert(curve_rows).on_conflict_do_nothing()
    return postgresql.insert(curve_rows).on_conflict_do_nothing()


def _evenly_spaced(points: tuple[LossPoint, ...]) -> tuple[LossPoint, ...]:
    """Raises ValueError where the first iteration would not tell the others."""
    iterations = [point.iteration for point in points]
    if points and iterations != list(range(iterations[0], iterations[-1] + 1, LOSS_POINT_EVERY)):
        raise ValueError(f"loss points are not at every {LOSS_POINT_EVERY}th iteration: {iterations}")
    return points


def _packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _unpacked(packed: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(packed) // 4}f", packed)


def _result(row: AnyRow) -> EpochResult:
    *fields, first = list(row)
    fields[_TRAIN_LOSS] = _unpacked(fields[_TRAIN_LOSS])[0]
    fields[_LOSS] = tuple(
        LossPoint(first + i * LOSS_POINT_EVERY, value) for i, value in enumerate(_unpacked(fields[_LOSS]))
    )
    if fields[_DIAGNOSTICS] is not None:
        fields[_DIAGNOSTICS] = Diagnostics.unpacked(fields[_DIAGNOSTICS])
    return EpochResult(*fields)
