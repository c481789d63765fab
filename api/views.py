"""What the store gives, as the JSON that the API answers: rows in, the models of api.schemas out.

One function an answer, named for it. Routes read the store and hand over what they found; only what is told of
experiments beside their rows (how long, what they wait for) is read from here.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from api.schemas import (
    ByDevice,
    CostOut,
    Counts,
    DryRun,
    ErrorOut,
    EventOut,
    ExperimentOut,
    ExperimentPage,
    ExtendedSweep,
    ExtensionDryRun,
    GridOut,
    LastRowOut,
    LeftOutOut,
    Links,
    OwnersLoad,
    PredictionsOut,
    QueueStats,
    SlotsByDevice,
    SweepLinks,
    SweepOut,
    SweepPage,
    SweepWithMembers,
    TestSet,
    TestSets,
    Waiting,
    WorkerOut,
)
from core.cost import Cost
from core.curve import measured_share
from core.fit import Fit
from core.grids import Grid
from core.spec import Spec
from core.states import DeviceType
from core.store.clock import rfc3339
from core.store.events import Event
from core.store.experiments import Experiment, LastRow
from core.store.extensions import LeftOut, LongerSweep
from core.store.fits import fits
from core.store.metrics import Load, Queue, oldest
from core.store.outlook import Outlook, outlook
from core.store.predictions import KeptPredictions
from core.store.sweeps import Sweep
from core.store.workers import Worker


def experiment_out(experiment: Experiment, outlook: Outlook, fit: Fit | None) -> ExperimentOut:
    here = f"/experiments/{experiment.id}"
    error = experiment.error
    return ExperimentOut(
        id=experiment.id,
        revision=experiment.revision,
        name=experiment.name,
        owner=experiment.owner,
        state=experiment.state,
        stalled=outlook.stalled,
        waiting_because=outlook.waiting_because,
        spec=_whole_spec(experiment.spec),
        digest=experiment.digest,
        sweep_id=experiment.sweep_id,
        position=experiment.position,
        device=experiment.device,
        priority=experiment.priority,
        attempt=experiment.attempt,
        failures=experiment.failures,
        epochs_done=experiment.epochs_done,
        epochs_total=experiment.epochs_total,
        eta_seconds=outlook.eta_seconds,
        last_row=_last_row_out(experiment.last_row) if experiment.last_row else None,
        fit=fit,
        error=ErrorOut(kind=error.kind, message=error.message, traceback=error.traceback) if error else None,
        requested=experiment.requested,
        worker=experiment.worker,
        extends=experiment.extends,
        provenance=experiment.provenance,
        created_at=rfc3339(experiment.created_ms),
        started_at=_time(experiment.started_ms),
        ended_at=_time(experiment.ended_ms),
        links=Links(self=here, curve=f"{here}/curve", events=f"{here}/events"),
    )


def experiments_out(tx: Connection, experiments: Sequence[Experiment]) -> list[ExperimentOut]:
    """Each of them, in order, with what can be said of it now."""
    said = zip(experiments, outlook(tx, experiments), fits(tx, experiments), strict=True)
    return [experiment_out(*each) for each in said]


def experiment_page(tx: Connection, experiments: Sequence[Experiment], limit: int) -> ExperimentPage:
    """Of one more than `limit` that were looked for: the page, and where the next one starts."""
    items = experiments_out(tx, experiments[:limit])
    return ExperimentPage(items=items, next_cursor=str(items[-1].id) if len(experiments) > limit else None)


def member_page(tx: Connection, members: Sequence[Experiment], limit: int) -> ExperimentPage:
    """Of one more than `limit` that were looked for, in the order of their positions: the page, and where the next one
    starts."""
    more = [str(member.position) for member in members[limit:]]
    return ExperimentPage(items=experiments_out(tx, members[:limit]), next_cursor=more[0] if more else None)


def dry_run_out(specs: Sequence[Spec], cost: Cost) -> DryRun:
    return DryRun(count=len(specs), specs=list(specs), cost=CostOut(**cost._asdict()))


def extension_dry_run_out(longer: LongerSweep, cost: Cost) -> ExtensionDryRun:
    left_out = [LeftOutOut(**each._asdict()) for each in longer.left_out]
    return ExtensionDryRun(**dict(dry_run_out(longer.specs, cost)), left_out=left_out)


def sweep_out(sweep: Sweep) -> SweepOut:
    here = f"/sweeps/{sweep.id}"
    return SweepOut(
        id=sweep.id,
        name=sweep.name,
        owner=sweep.owner,
        device=sweep.device,
        preset=sweep.preset,
        counts=Counts(**sweep.counts),
        epochs_done=sweep.epochs_done,
        epochs_total=sweep.epochs_total,
        eta_seconds=sweep.eta_seconds,
        waiting_because=sweep.waiting_because,
        created_at=rfc3339(sweep.created_ms),
        grids=[grid_out(grid) for grid in sweep.grids],
        extends=sweep.extends,
        links=SweepLinks(self=here, figure=f"{here}/figure.svg"),
    )


def sweep_with_members(sweep: Sweep, members: ExperimentPage) -> SweepWithMembers:
    return SweepWithMembers(**dict(sweep_out(sweep)), members=members)


def extended_sweep(sweep: SweepWithMembers, left_out: Sequence[LeftOut]) -> ExtendedSweep:
    return ExtendedSweep(**dict(sweep), left_out=[LeftOutOut(**each._asdict()) for each in left_out])


def sweep_page(sweeps: Sequence[Sweep], limit: int) -> SweepPage:
    """Of one more than `limit` that were looked for: the page, and where the next one starts."""
    items = [sweep_out(sweep) for sweep in sweeps[:limit]]
    return SweepPage(items=items, next_cursor=str(items[-1].id) if len(sweeps) > limit else None)


def grid_out(grid: Grid) -> GridOut:
    return GridOut(**grid._asdict())


def predictions_out(kept: KeptPredictions) -> PredictionsOut:
    return PredictionsOut(
        epoch=kept.epoch,
        epochs=kept.epochs,
        sets=TestSets(
            in_domain=TestSet(n=kept.n_in_domain, base64=_base64(kept.predictions.in_domain)),
            out_of_domain=TestSet(n=kept.n_out_of_domain, base64=_base64(kept.predictions.out_of_domain)),
        ),
    )


def event_out(event: Event) -> EventOut:
    return EventOut(
        id=event.id,
        at=rfc3339(event.at_ms),
        kind=event.kind,
        from_=event.from_state,
        to=event.to_state,
        attempt=event.attempt,
        worker=event.worker,
        actor=event.actor,
        detail=event.detail,
    )


def worker_out(worker: Worker) -> WorkerOut:
    return WorkerOut(
        id=worker.id,
        host=worker.host,
        pid=worker.pid,
        device=worker.device,
        state=worker.state,
        experiment_id=worker.experiment_id,
        memory_used_mib=worker.gpu.memory_used_mib if worker.gpu else None,
        memory_total_mib=worker.gpu.memory_total_mib if worker.gpu else None,
        utilisation=worker.gpu.utilisation if worker.gpu else None,
        seen_at=rfc3339(worker.seen_ms),
    )


def queue_stats(queue: Queue) -> QueueStats:
    by_device = {device: [load for load in queue.loads if load.device is device] for device in DeviceType}
    owners = sorted({load.owner for load in queue.loads})
    return QueueStats(
        **_sum(queue.loads),
        paused=queue.paused,
        slots=queue.slots.total,
        by_device=ByDevice(**{device: Waiting(**_sum(loads)) for device, loads in by_device.items()}),
        slots_by_device=SlotsByDevice(**queue.slots._asdict()),
        by_owner=[
            OwnersLoad(owner=owner, **_sum([load for load in queue.loads if load.owner == owner])) for owner in owners
        ],
    )


def _sum(loads: Sequence[Load]) -> dict[str, Any]:
    queued, running = sum(load.queued for load in loads), sum(load.running for load in loads)
    return {"queued": queued, "running": running, "oldest_seconds": oldest(loads)}


def _last_row_out(row: LastRow) -> LastRowOut:
    return LastRowOut(
        epoch=row.epoch,
        base_fraction_in_domain=_finite(measured_share(row.base_in_domain, row.n_in_domain, row.finite_in_domain)),
        base_fraction_out_of_domain=_finite(
            measured_share(row.base_out_of_domain, row.n_out_of_domain, row.finite_out_of_domain)
        ),
    )


def _whole_spec(stored: dict[str, Any]) -> Spec | dict[str, Any]:
    """Every field, defaults filled in."""
    try:
        return Spec.model_validate(stored)
    except ValidationError:
        return stored  # a newer Ballast wrote it: one such experiment must not hide the others


def _base64(bits: bytes) -> str:
    return b64encode(bits).decode()


def _finite(share: float | None) -> float | None:
    return share if share is not None and math.isfinite(share) else None


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
