"""Was it long enough? A succeeded experiment goes on for longer as a new one, which begins with the old one's rows and
goes on from its last checkpoint."""

import json
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, insert, literal, select, update

from core.spec import Spec
from core.states import State
from core.store import checkpoints, events
from core.store.checkpoints import Pointer
from core.store.errors import NotAllowed, NotLonger
from core.store.events import EventKind
from core.store.experiments import Experiment, get, submit
from core.store.moves import lock
from core.store.tables import checkpoints as checkpoints_table
from core.store.tables import curve_rows, experiments, predictions


def extend(tx: Connection, experiment_id: int, epochs: int, priority: int = 0) -> Experiment:
    """The new experiment, queued. Raises NotFound; NotAllowed where it has not succeeded, where its last row would not
    be one of the longer curve, or where its last checkpoint was not kept; NotLonger."""
    lock(tx, experiment_id)
    parent = get(tx, experiment_id)
    if parent.state is not State.SUCCEEDED:
        raise NotAllowed(parent.id, parent.state, "only one that has succeeded can be extended")
    if epochs <= parent.epochs_total:
        raise NotLonger(parent.id, parent.epochs_total, epochs)
    spec = _longer_spec(parent, epochs)
    pointer = _last_checkpoint(tx, parent)
    child = submit(tx, spec, priority)
    _copy_rows(tx, parent, child, spec)
    _point_to(tx, child, pointer)
    tx.execute(
        update(experiments)
        .where(experiments.c.id == child.id)
        .values(
            extends=parent.id,
            epochs_done=parent.epochs_done,
            replay_mismatch_from=parent.replay_mismatch_from,
            checkpoint_row=parent.epochs_done,
            checkpoint_step=parent.checkpoint_step,
            checkpoint_device_kind=parent.checkpoint_device_kind,
            provenance=parent.provenance and json.dumps(parent.provenance),
        )
    )
    events.record(tx, child.id, EventKind.EXTENDS, detail=f"experiment {parent.id}, after epoch {parent.epochs_total}")
    return get(tx, child.id)


def _longer_spec(parent: Experiment, epochs: int) -> Spec:
    try:
        spec = Spec.model_validate(parent.spec | {"epochs": epochs})
    except ValidationError:
        raise NotAllowed(parent.id, parent.state, "this service is too old for its spec: upgrade Ballast") from None
    if not spec.evaluated(parent.epochs_total):
        raise NotAllowed(
            parent.id,
            parent.state,
            f"its last row is of epoch {parent.epochs_total}, and with eval_every {spec.eval_every} a longer curve has "
            "no such row: submit the longer spec",
        )
    return spec


def _last_checkpoint(tx: Connection, parent: Experiment) -> Pointer:
    for pointer in checkpoints.farthest_first(tx, parent.id):
        if (pointer.epoch, pointer.step) == (parent.epochs_total, 0):
            return pointer
    raise NotAllowed(parent.id, parent.state, "its last checkpoint was not kept: submit the longer spec")


def _copy_rows(tx: Connection, parent: Experiment, child: Experiment, spec: Spec) -> None:
    """What a run of the longer spec would have by now; it keeps fewer predictions of that time."""
    _copy(tx, curve_rows, child, curve_rows.c.experiment_id == parent.id, attempt=0)
    kept = tx.execute(select(predictions.c.epoch).where(predictions.c.experiment_id == parent.id)).scalars()
    wanted = [epoch for epoch in kept if spec.predicted(epoch)]
    _copy(tx, predictions, child, (predictions.c.experiment_id == parent.id) & predictions.c.epoch.in_(wanted))


def _copy(tx: Connection, table: Any, child: Experiment, which: Any, **changed: int) -> None:
    changed = {"experiment_id": child.id, **changed}
    columns = [literal(changed[each.key]).label(each.key) if each.key in changed else each for each in table.c]
    tx.execute(insert(table).from_select([each.key for each in table.c], select(*columns).where(which)))


def _point_to(tx: Connection, child: Experiment, pointer: Pointer) -> None:
    """To the parent's bytes, by a pointer of its own: they stay for as long as one of them needs them."""
    own = {**pointer._asdict(), "experiment_id": child.id, "created_ms": child.created_ms}
    del own["id"]
    tx.execute(insert(checkpoints_table).values(own))
