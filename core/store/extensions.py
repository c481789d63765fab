"""Was it long enough? What has succeeded goes on for longer as something new, which begins with the old one's rows and
goes on from its last checkpoint: an experiment, or a sweep with those of its members that can.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Table, bindparam, insert, literal, select, update

from core.grids import with_epochs
from core.spec import Spec
from core.states import DeviceType, State
from core.store import checkpoints, events, sweeps
from core.store.checkpoints import Pointer
from core.store.clock import now_ms
from core.store.errors import NotAllowed, NothingExtended, NotLonger
from core.store.events import EventKind
from core.store.experiments import Experiment, get, members, submit
from core.store.moves import in_parts, lock, lock_all
from core.store.slots import device_of
from core.store.tables import checkpoints as checkpoints_table
from core.store.tables import curve_rows, experiments, predictions
from core.sweep_faults import MAX_MEMBERS


class LeftOut(NamedTuple):
    """A member that the longer sweep has not, and why."""

    id: int
    state: State
    reason: str


class _Longer(NamedTuple):
    """What becomes of an experiment that goes on."""

    parent: Experiment
    spec: Spec
    pointer: Pointer  # to its last checkpoint


class LongerSweep(NamedTuple):
    """What becomes of a sweep that goes on."""

    longer: list[_Longer]  # in the order of their positions
    left_out: list[LeftOut]

    @property
    def specs(self) -> list[Spec]:
        return [each.spec for each in self.longer]

    def devices(self, wished: DeviceType | None) -> list[DeviceType]:
        """For what each is; where nothing is wished, that of the one that it goes on from. Raises WrongDevice."""
        return [each.parent.device if wished is None else device_of(each.spec, wished) for each in self.longer]

    @property
    def epochs_left(self) -> list[int]:
        """Of each, that are still to be trained."""
        return [each.spec.epochs - each.parent.epochs_done for each in self.longer]


def extend(
    tx: Connection, experiment_id: int, epochs: int, priority: int = 0, device: DeviceType | None = None
) -> Experiment:
    """The new experiment, queued; for `device`, or where none is said, for that of the one that it goes on from.
    Raises NotFound; NotAllowed where it has not succeeded, where its last row would not be one of the longer curve, or
    where its last checkpoint was not kept; NotLonger; QueueFull; WrongDevice."""
    lock(tx, experiment_id)
    parent = get(tx, experiment_id)
    pointers = checkpoints.newest_at_the_end(tx, experiments.c.id == experiment_id)
    longer = _longer(parent, epochs, pointers.get(experiment_id))
    child = submit(tx, longer.spec, priority, device or parent.device)
    _begin_with_parents(tx, {child.id: longer})
    return get(tx, child.id)


def longer_sweep(tx: Connection, sweep_id: int, epochs: int) -> LongerSweep:
    """What `extend_sweep` would make now. Raises what it raises."""
    sweep = sweeps.get(tx, sweep_id)
    if any("epochs" in grid.axes for grid in sweep.grids):
        raise NothingExtended(f"epochs are an axis of sweep {sweep_id}: extend its experiments one by one")
    all_members = members(tx, sweep_id, MAX_MEMBERS)
    pointers = checkpoints.newest_at_the_end(tx, _succeeded_members(sweep_id))
    longer, left_out = [], []
    for member in all_members:
        try:
            longer.append(_longer(member, epochs, pointers.get(member.id)))
        except (NotAllowed, NotLonger) as refused:
            left_out.append(LeftOut(member.id, member.state, refused.reason))
    if not longer:
        raise _refusal(sweep_id, all_members, left_out, epochs)
    return LongerSweep(longer, left_out)


def extend_sweep(
    tx: Connection, sweep_id: int, epochs: int, priority: int = 0, device: DeviceType | None = None
) -> tuple[int, list[LeftOut]]:
    """The id of the new sweep, queued: of the same grids but for their epochs, with those members that can go on, in
    the order of their positions, for `device`, or where none is said, each for that of the one that it goes on from;
    and those that it leaves out. Raises NotFound; WrongDevice; NothingExtended where no member can go
    on, or where epochs are an axis; NotLonger where none of those that have succeeded would become longer."""
    sweeps.lock(tx, sweep_id)
    sweep = sweeps.get(tx, sweep_id)
    found, left_out = longer_sweep(tx, sweep_id, epochs)
    locked = {row.id for row in lock_all(tx, _succeeded_members(sweep_id))}
    longer = [each for each in found if each.parent.id in locked]  # the others were deleted since they were read
    if not longer:
        raise NothingExtended(f"sweep {sweep_id} has no experiments")
    new_id = sweeps.submit(
        tx,
        [with_epochs(grid, epochs) for grid in sweep.grids],
        [each.spec for each in longer],
        name=sweep.name,
        preset=sweep.preset,
        priority=priority,
        device=device or sweep.device,
        devices=LongerSweep(longer, left_out).devices(device),
        extends=sweep_id,
    )
    of_sweep = select(experiments.c.id).where(experiments.c.sweep_id == new_id).order_by(experiments.c.position)
    _begin_with_parents(tx, dict(zip(tx.execute(of_sweep).scalars(), longer, strict=True)))
    return new_id, left_out


def _succeeded_members(sweep_id: int) -> ColumnElement[bool]:
    return (experiments.c.sweep_id == sweep_id) & (experiments.c.state == State.SUCCEEDED)


def _refusal(
    sweep_id: int, all_members: Sequence[Experiment], left_out: Sequence[LeftOut], epochs: int
) -> NothingExtended | NotLonger:
    """Why none of them goes on."""
    least = min((each.epochs_total for each in all_members if each.state is State.SUCCEEDED), default=0)
    if epochs <= least:
        return NotLonger(f"sweep {sweep_id}", least, epochs)
    if not left_out:
        return NothingExtended(f"sweep {sweep_id} has no experiments")
    reasons = Counter(f"{each.state} ({each.reason})" for each in left_out)
    said = "; ".join(f"{n} {reason}" for reason, n in reasons.items())
    return NothingExtended(f"no experiment of sweep {sweep_id} can be extended: {said}")


def _longer(parent: Experiment, epochs: int, pointer: Pointer | None) -> _Longer:
    """Raises NotAllowed, NotLonger."""
    if parent.state is not State.SUCCEEDED:
        raise NotAllowed(parent.id, parent.state, "only one that has succeeded can be extended")
    if epochs <= parent.epochs_total:
        raise NotLonger(f"experiment {parent.id}", parent.epochs_total, epochs)
    spec = _longer_spec(parent, epochs)
    if pointer is None:
        raise NotAllowed(parent.id, parent.state, "its last checkpoint was not kept: submit the longer spec")
    return _Longer(parent, spec, pointer)


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


def _begin_with_parents(tx: Connection, longer_by_child: Mapping[int, _Longer]) -> None:
    """Children that were just submitted have by now what a run of the longer spec would have: rows, the place to go on
    from, where they come from."""
    tx.execute(
        update(experiments).where(experiments.c.id == bindparam("child")),
        [{"child": child, **_columns_of_child(longer.parent)} for child, longer in longer_by_child.items()],
    )
    _copy_rows(tx, longer_by_child)
    _point_to(tx, longer_by_child)
    events.record_all(
        tx,
        EventKind.EXTENDS,
        [
            {"experiment_id": child, "detail": f"experiment {parent.id}, after epoch {parent.epochs_total}"}
            for child, (parent, *_) in longer_by_child.items()
        ],
    )


def _columns_of_child(parent: Experiment) -> dict[str, Any]:
    return {
        "extends": parent.id,
        "epochs_done": parent.epochs_done,
        "replay_mismatch_from": parent.replay_mismatch_from,
        "checkpoint_row": parent.epochs_done,
        "checkpoint_step": parent.checkpoint_step,
        "checkpoint_device_kind": parent.checkpoint_device_kind,
        "provenance": parent.provenance and json.dumps(parent.provenance),
    }


def _copy_rows(tx: Connection, longer_by_child: Mapping[int, _Longer]) -> None:
    """A longer run keeps fewer predictions of that time: which, `eval_every` decides, in a sweep it alone."""
    children_by_spacing: dict[int, list[int]] = {}
    for child, longer in longer_by_child.items():
        children_by_spacing.setdefault(longer.spec.eval_every, []).append(child)
    for children in children_by_spacing.values():
        spec = longer_by_child[children[0]].spec
        for part in in_parts(children):
            which = experiments.c.id.in_(part)
            _copy(tx, curve_rows, which, attempt=0)
            kept = select(predictions.c.epoch).distinct().join(experiments, _is_parents(predictions)).where(which)
            wanted = [epoch for epoch in tx.execute(kept).scalars() if spec.predicted(epoch)]
            _copy(tx, predictions, which & predictions.c.epoch.in_(wanted))


def _copy(tx: Connection, table: Table, which: ColumnElement[bool], **changed: int) -> None:
    """The parents' rows for the children that are meant, by one statement."""
    of_child = {"experiment_id": experiments.c.id, **{name: literal(value) for name, value in changed.items()}}
    columns = [of_child.get(each.key, each) for each in table.c]
    rows = select(*columns).join_from(experiments, table, _is_parents(table)).where(which)
    tx.execute(insert(table).from_select([each.key for each in table.c], rows))


def _is_parents(table: Table) -> ColumnElement[bool]:
    return table.c.experiment_id == experiments.c.extends


def _point_to(tx: Connection, longer_by_child: Mapping[int, _Longer]) -> None:
    """To the parent's bytes, by a pointer of its own: they stay for as long as one of them needs them."""
    pointers = [{**longer.pointer._asdict(), "experiment_id": child} for child, longer in longer_by_child.items()]
    for each in pointers:
        del each["id"]
    tx.execute(insert(checkpoints_table).values(created_ms=now_ms()), pointers)
