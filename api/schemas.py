"""The JSON that goes in and out, key by key: pydantic models and nothing else (api/README.md, "The experiment").

api.views fills them from what the store gives.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from core.fit import Fit
from core.presets import PresetName
from core.spec import Spec
from core.states import DeviceType, ErrorKind, State, Wish, WorkerState

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


class ExperimentOut(_Answer):
    id: int = Field(examples=[417])
    revision: int = Field(description="Grows with every visible change.")
    name: str
    owner: str = Field(description="The name of the token that made it; `local` without one.")
    state: State
    stalled: bool = Field(description="Running, its worker alive, and no row for far longer than rows take.")
    waiting_because: str | None = Field(
        description="Its place in the queue and about when its turn comes, no live worker, or that it is paused."
    )
    spec: Spec | dict[str, Any] = Field(description="Every field, defaults filled in: it runs again as it is.")
    digest: str = Field(description="SHA-256 of what decides the curve.")
    sweep_id: int | None
    position: int | None
    device: DeviceType = Field(description="On what it may train; it decides no curve.")
    priority: int
    attempt: int = Field(description="How often it was claimed; the fencing token.")
    failures: int = Field(description="Lost leases and crashes.")
    epochs_done: int
    epochs_total: int
    eta_seconds: float | None = Field(description="What its epochs that are left take, while it is running.")
    last_row: LastRowOut | None = Field(description="Of its curve, as far as it has come.")
    fit: Fit | None = Field(
        description="Whether its network has learned both classes or is a constant, so far; null before its first row."
    )
    error: ErrorOut | None
    requested: Wish | None = Field(description="A wish that its worker has not obeyed yet.")
    worker: str | None
    extends: int | None
    provenance: dict[str, Any] | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    links: Links


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
    owner: str = Field(description="The name of the token that made it, and of all its members.")
    device: DeviceType = Field(description="For which it was submitted, and grows unless said.")
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
    extends: int | None = Field(description="The sweep whose experiments its own go on from.")
    links: SweepLinks


class SweepWithMembers(SweepOut):
    members: ExperimentPage = Field(description="In the order of their positions.")


class LeftOutOut(_Answer):
    id: int
    state: State
    reason: str = Field(examples=["only one that has succeeded can be extended"])


class ExtendedSweep(SweepWithMembers):
    left_out: list[LeftOutOut] = Field(description="Experiments of the former sweep that this one does not go on from.")


class SweepPage(_Answer):
    items: list[SweepOut]
    next_cursor: str | None = Field(description="Where the next, older page starts; null: this was the last.")


class CostOut(_Answer):
    """About, and as far as it is known: by epochs of the same kind that were measured, else by `ballast bench`."""

    seconds: float | None = Field(description="From the first one's turn to the end of the last, on the workers alive.")
    device_seconds: float | None = Field(description="Of all of them together.")
    workers: int = Field(description="Alive now,")
    known_workers: int = Field(description="and of these, whose speed is known: the others are left out.")
    measured: int = Field(description="Experiments of a kind whose epochs were measured,")
    benchmarked: int = Field(description="reckoned from what `ballast bench` measured,")
    unknown: int = Field(description="or not known.")


class DryRun(_Answer):
    count: int
    specs: list[Spec]
    cost: CostOut


class ExtensionDryRun(DryRun):
    """`cost` is that of the epochs that are still to be trained."""

    left_out: list[LeftOutOut] = Field(description="Experiments that the longer sweep would not go on from.")


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


class LearnedAtOut(_Answer):
    base: int | None
    other: int | None


class DiagnosticsOut(_Answer):
    """Columns, each as long as `epoch`; and in which row's epoch each class was first learned wholly."""

    loss_base: list[float | None]
    loss_other: list[float | None]
    margin_base: list[float | None]
    margin_other: list[float | None]
    margin_low_base: list[float | None]
    margin_low_other: list[float | None]
    norm: list[float | None]
    norm_last_layer: list[float | None]
    bias_difference: list[float | None]
    base_fraction_noise: list[float | None]
    dead_units: list[list[float] | None]
    learned_at: LearnedAtOut


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
    diagnostics: DiagnosticsOut | SkipJsonSchema[None] = Field(None, description="Absent where the spec has them off.")
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
    actor: str | None = Field(description="In whose name: of a token, `local` or `worker`; null: nobody has kept it.")
    detail: str | None


class EventList(_Answer):
    items: list[EventOut]


class WorkerOut(_Answer):
    id: int
    host: str
    pid: int
    device: str = Field(examples=["cpu", "cuda:0"])
    state: WorkerState
    experiment_id: int | None
    memory_used_mib: int | None = Field(description="Of its GPU as a whole, at its last heartbeat;")
    memory_total_mib: int | None = Field(description="null on a CPU, and where the driver does not tell.")
    utilisation: int | None = Field(description="Of its GPU, in percent; null as well of a slice.")
    seen_at: Time


class WorkerList(_Answer):
    items: list[WorkerOut]


class Waiting(_Answer):
    queued: int
    running: int
    oldest_seconds: float | None = Field(description="How long the first of the queued is in the queue.")


class ByDevice(_Answer):
    any: Waiting
    cpu: Waiting
    gpu: Waiting


class SlotsByDevice(_Answer):
    cpu: int
    gpu: int


class OwnersLoad(Waiting):
    owner: str


class QueueStats(Waiting):
    paused: int
    slots: int = Field(description="Workers that take experiments: alive, and not leaving.")
    by_device: ByDevice = Field(description="By that on which they may train.")
    slots_by_device: SlotsByDevice
    by_owner: list[OwnersLoad] = Field(description="Of those who have something queued or running.")


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
