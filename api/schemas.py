"""The JSON of CONTRACT §1: what the API answers, key by key. Keys that nothing fills yet are `null` or `false`."""

import math
from base64 import b64encode
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.presets import PresetName
from core.results import tested
from core.spec import Spec
from core.states import ErrorKind, State, Wish, WorkerState
from core.store.clock import rfc3339
from core.store.events import Event
from core.store.experiments import Experiment, LastRow
from core.store.outlook import Outlook
from core.store.predictions import KeptPredictions
from core.store.sweeps import Sweep
from core.store.workers import Worker

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T10:00:00.000Z"])]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorOut(_Answer):
    kind: ErrorKind
    message: str = Field(description="One sentence for a person.")
    traceback: str | None = Field(description="Only of `internal`: ours to mend.")


class Links(_Answer):
    self: str
    curve: str
    events: str


class LastRowOut(_Answer):
    """`null` where nothing finite was measured, and of a test set without images."""

    epoch: int
    base_fraction_in_domain: float | None
    base_fraction_out_of_domain: float | None

    @classmethod
    def of(cls, row: LastRow) -> Self:
        return cls(
            epoch=row.epoch,
            base_fraction_in_domain=_finite(tested(row.base_in_domain, row.n_in_domain, row.finite_in_domain)),
            base_fraction_out_of_domain=_finite(
                tested(row.base_out_of_domain, row.n_out_of_domain, row.finite_out_of_domain)
            ),
        )


class ExperimentOut(_Answer):
    id: int = Field(examples=[417])
    revision: int = Field(description="Grows with every visible change.")
    name: str
    state: State
    stalled: bool = Field(description="Running, its worker alive, and no row for far longer than rows take.")
    waiting_because: str | None = Field(
        description="Its place in the queue and about when its turn comes, no live worker, or that it is paused."
    )
    spec: Spec | dict[str, Any] = Field(description="Every field, defaults filled in: it runs again as it is.")
    digest: str = Field(description="SHA-256 of what decides the curve.")
    sweep_id: int | None
    position: int | None
    priority: int
    attempt: int = Field(description="How often it was claimed; the fencing token.")
    failures: int = Field(description="Lost leases and crashes.")
    epochs_done: int
    epochs_total: int
    eta_seconds: float | None = Field(description="What its epochs that are left take, while it is running.")
    last_row: LastRowOut | None = Field(description="Of its curve, as far as it has come.")
    error: ErrorOut | None
    requested: Wish | None = Field(description="A wish that its worker has not obeyed yet.")
    worker: str | None
    extends: int | None
    provenance: dict[str, Any] | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    links: Links

    @classmethod
    def of(cls, experiment: Experiment, outlook: Outlook) -> Self:
        here = f"/experiments/{experiment.id}"
        error = experiment.error
        return cls(
            id=experiment.id,
            revision=experiment.revision,
            name=experiment.name,
            state=experiment.state,
            stalled=outlook.stalled,
            waiting_because=outlook.waiting_because,
            spec=_filled(experiment.spec),
            digest=experiment.digest,
            sweep_id=experiment.sweep_id,
            position=experiment.position,
            priority=experiment.priority,
            attempt=experiment.attempt,
            failures=experiment.failures,
            epochs_done=experiment.epochs_done,
            epochs_total=experiment.epochs_total,
            eta_seconds=outlook.eta_seconds,
            last_row=LastRowOut.of(experiment.last_row) if experiment.last_row else None,
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


class ExperimentPage(_Answer):
    items: list[ExperimentOut]
    next_cursor: str | None = Field(description="Where the next, older page starts; null: this was the last.")


class PriorityChange(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    priority: Annotated[int, Field(ge=-100, le=100)]


class Extension(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    epochs: Annotated[int, Field(ge=2, le=1_000_000, description="In all, more than it has.", examples=[2000])]


class TestSet(_Answer):
    n: int = Field(description="Images.")
    base64: str = Field(description="A bit an image, the first the highest; 1 = base. In the file order of the set.")


class TestSets(_Answer):
    in_domain: TestSet
    out_of_domain: TestSet


class PredictionsOut(_Answer):
    epoch: int
    epochs: list[int] = Field(description="All whose predictions are kept.")
    sets: TestSets

    @classmethod
    def of(cls, kept: KeptPredictions) -> Self:
        return cls(
            epoch=kept.epoch,
            epochs=kept.epochs,
            sets=TestSets(
                in_domain=TestSet(n=kept.n_in_domain, base64=_base64(kept.predictions.in_domain)),
                out_of_domain=TestSet(n=kept.n_out_of_domain, base64=_base64(kept.predictions.out_of_domain)),
            ),
        )


class GridOut(_Answer):
    base: dict[str, Any] = Field(description="What all members share, but for the spec's defaults.")
    axes: dict[str, list[Any]]
    name: str = Field(description="Of the paper's figure that it is.")


class Counts(_Answer):
    queued: int
    running: int
    paused: int
    succeeded: int
    failed: int
    cancelled: int


class SweepLinks(_Answer):
    self: str
    figure: str


class SweepOut(_Answer):
    id: int = Field(examples=[12])
    name: str
    preset: str | None
    counts: Counts = Field(description="Members by state.")
    epochs_done: int
    epochs_total: int
    eta_seconds: float | None = Field(
        description="What its own work takes on the workers that there are, once it is its turn: not what is before it."
    )
    waiting_because: str | None = Field(
        description="What is before those of its members that are queued, and about when their turn comes."
    )
    created_at: Time
    grids: list[GridOut]
    links: SweepLinks

    @classmethod
    def of(cls, sweep: Sweep, **more: Any) -> Self:
        here = f"/sweeps/{sweep.id}"
        return cls(
            id=sweep.id,
            name=sweep.name,
            preset=sweep.preset,
            counts=Counts(**sweep.counts),
            epochs_done=sweep.epochs_done,
            epochs_total=sweep.epochs_total,
            eta_seconds=sweep.eta_seconds,
            waiting_because=sweep.waiting_because,
            created_at=rfc3339(sweep.created_ms),
            grids=[GridOut(**grid._asdict()) for grid in sweep.grids],
            links=SweepLinks(self=here, figure=f"{here}/figure.svg"),
            **more,
        )


class SweepWithMembers(SweepOut):
    members: ExperimentPage = Field(description="In the order of their positions.")


class SweepPage(_Answer):
    items: list[SweepOut]
    next_cursor: str | None = Field(description="Where the next, older page starts; null: this was the last.")


class DryRun(_Answer):
    count: int
    specs: list[Spec]


class PresetSummary(_Answer):
    name: PresetName
    title: str
    count: int


class PresetList(_Answer):
    items: list[PresetSummary]


class PresetOut(PresetSummary):
    grids: list[GridOut]
    specs: list[Spec]


class LossPoints(_Answer):
    iteration: list[int]
    value: list[float | None]


class CurveOut(_Answer):
    """Columns, each as long as `epoch`. Served as prepared JSON; this model documents it."""

    id: int | None
    state: State
    attempt: int
    epochs_done: int
    epochs_total: int
    epoch: list[int]
    base_fraction_in_domain: list[float | None]
    base_fraction_out_of_domain: list[float | None]
    train_loss: list[float | None]
    accuracy_in_domain: list[float | None]
    train_accuracy_base: list[float | None]
    train_accuracy_other: list[float | None]
    finite_logits: list[float | None]
    seconds: list[float]
    loss: LossPoints
    nonfinite: dict[str, dict[str, Literal["nan", "inf", "-inf"]]]
    diverged_at: int | None
    replay_mismatch_from: int | None
    next_after: int
    complete: bool


class EventOut(_Answer):
    id: int
    at: Time
    kind: str
    from_: State | None = Field(serialization_alias="from")
    to: State | None
    attempt: int
    worker: str | None
    detail: str | None

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls(
            id=event.id,
            at=rfc3339(event.at_ms),
            kind=event.kind,
            from_=event.from_state,
            to=event.to_state,
            attempt=event.attempt,
            worker=event.worker,
            detail=event.detail,
        )


class EventList(_Answer):
    items: list[EventOut]


class WorkerOut(_Answer):
    id: int
    host: str
    pid: int
    device: str = Field(examples=["cpu", "cuda:0"])
    state: WorkerState
    experiment_id: int | None
    seen_at: Time

    @classmethod
    def of(cls, worker: Worker) -> Self:
        return cls(
            id=worker.id,
            host=worker.host,
            pid=worker.pid,
            device=worker.device,
            state=worker.state,
            experiment_id=worker.experiment_id,
            seen_at=rfc3339(worker.seen_ms),
        )


class WorkerList(_Answer):
    items: list[WorkerOut]


class Live(_Answer):
    status: Literal["alive"] = "alive"


class Ready(_Answer):
    status: Literal["ready"] = "ready"
    database: Literal["ok"] = "ok"
    revision: str
    broker: Literal["ok", "degraded"] = Field(description="degraded: workers poll, up to a second later.")


class Version(_Answer):
    name: Literal["ballast"] = "ballast"
    version: str
    home: str | None = Field(description="Its BALLAST_HOME; null for another host, to which it means nothing.")


class Home(_Answer):
    """Paths of this service, to begin with."""

    name: Literal["ballast"] = "ballast"
    version: str
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    experiments: str = "/experiments"
    sweeps: str = "/sweeps"
    presets: str = "/presets"
    workers: str = "/workers"


class FaultOut(_Answer):
    pointer: str = Field(description="RFC 6901, into what was sent.", examples=["/dataset/base_class"])
    detail: str
    value: Any = Field(description="What was sent there, cut at 100 characters.")
    allowed: str | None


class Problem(_Answer):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FaultOut] | None = None


def _filled(stored: dict[str, Any]) -> Spec | dict[str, Any]:
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
