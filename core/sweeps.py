"""A sweep before it is stored: what is asked for, the grids that this means, and the specs that they hold. A sweep is
one grid, or one a figure of a preset. Which members a grid has is the concern of grids.py; where a fault is told, that
of sweep_faults.py.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.faults import Fault
from core.grids import Grid, Json, Member, members_of, with_more_values, without_what_axes_say
from core.presets import Figure, PresetName, figures
from core.spec import MAX_LABEL, Label, Spec, field_in_words
from core.sweep_faults import (
    MAX_FAULTS,
    BadSweep,
    Sent,
    refuse_bad_axes,
    refuse_misfits,
    refuse_repeats,
    refuse_too_many,
)

Axes = Annotated[
    dict[str, list[Any]],
    Field(
        description="Dotted paths into the spec, each with its values; the last varies fastest.",
        examples=[{"importance_weight": ["16:1", "1:1", "1:16"], "seed": [0, 1, 2]}],
    ),
]


class SweepRequest(BaseModel):
    """A base spec and axes, or a preset with overrides of both."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: Label = ""
    preset: PresetName | None = None
    as_drawn: bool = Field(False, description="With a preset: the weights of the paper's picture, not of its text.")
    base: Json = Field(
        default_factory=dict,
        description="A spec without what the axes say; with a preset: what differs from it.",
        examples=[{"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 20}],
    )
    axes: Axes = Field(default_factory=dict)


class GrowthRequest(BaseModel):
    """More values of the axes that a sweep has, or new axes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    axes: Axes


def grids_and_specs(request: SweepRequest) -> tuple[list[Grid], list[Spec]]:
    """The grids that are meant, and their specs in the order of their positions. Raises BadSweep."""
    refuse_bad_axes(request.axes)
    grids = _grids(request)
    for grid in grids:
        refuse_misfits(grid, request.axes)
    sent = Sent(request.axes, request.base, elsewhere="/preset" if request.preset else None)
    specs = _specs(grids, sent, once=False)
    return [without_what_axes_say(grid) for grid in grids], specs


def larger_grids_and_specs(grids: Sequence[Grid], axes: Mapping[str, list[Any]]) -> tuple[list[Grid], list[Spec]]:
    """The grids with more values on their axes, and all their specs, each once. An axis that is new begins with the
    value that all members had so far. Raises BadSweep."""
    if not axes:
        raise BadSweep([Fault("/axes", "is empty", None, "at least one axis")])
    if "name" in axes:
        raise BadSweep([Fault("/axes/name", "makes no other member: a name decides nothing", None, "another axis")])
    refuse_bad_axes(axes)
    refuse_repeats(axes)
    for grid in grids:
        refuse_misfits(grid, axes)
    larger = [with_more_values(grid, axes) for grid in grids]
    specs = _specs(larger, Sent(axes, {}, elsewhere="/axes"), once=True)
    return [without_what_axes_say(grid) for grid in larger], specs


def _grids(request: SweepRequest) -> list[Grid]:
    if request.as_drawn and request.preset is None:
        raise BadSweep([Fault("/as_drawn", "means nothing without a preset", True, "false")])
    if request.as_drawn and "importance_weight" in request.base.keys() | request.axes.keys():
        raise BadSweep([Fault("/as_drawn", "means nothing beside weights of your own", True, "false")])
    if request.preset is None:
        return [Grid(request.base, request.axes)]
    return [
        Grid(_merged(figure.base, request.base), {**_weight_axis(figure, request), **request.axes}, name)
        for name, figure in figures(request.preset).items()
    ]


def _weight_axis(figure: Figure, request: SweepRequest) -> dict[str, list[Any]]:
    """The figure's axis; a weight that the base says takes its place."""
    if "importance_weight" in request.base:
        return {}
    return {"importance_weight": list(figure.drawn if request.as_drawn else figure.weights)}


def _merged(base: Json, overrides: Json) -> Json:
    """`base` with what differs. Another data set, model or loss takes the whole place of the former."""
    merged = {**base, **overrides}
    for part in base.keys() & overrides.keys():
        former, given = base[part], overrides[part]
        if isinstance(former, dict) and isinstance(given, dict) and given.get("name") in (None, former.get("name")):
            merged[part] = {**former, **given}
    return merged


def _specs(grids: Sequence[Grid], sent: Sent, once: bool) -> list[Spec]:
    """The specs of all members; with `once`, one that is there already is left out, else that is a fault."""
    count = sum(math.prod(map(len, grid.axes.values())) for grid in grids)
    refuse_too_many(count)
    specs: dict[str, Spec] = {}  # by digest
    members: dict[str, Member] = {}
    faults: dict[Fault, None] = {}
    faulty = 0
    for member in members_of(grids):
        found: list[Fault] = []
        try:
            spec = Spec.model_validate(member.value)
        except ValidationError as error:
            found = sent.faults_of_member(error, member)
        else:
            digest = spec.digest
            if digest not in specs:
                specs[digest] = _named(spec, member, among=len(grids))
                members[digest] = member
            elif not once:
                found = [sent.fault_of_repeat(member, members[digest])]
        faults |= dict.fromkeys(found)
        faulty += bool(found)  # what is wrong with all of them is found in each
        if max(faulty, len(faults)) >= MAX_FAULTS:
            break
    if faults:
        raise BadSweep(list(faults))
    return list(specs.values())


def _named(spec: Spec, member: Member, among: int) -> Spec:
    """With a name that says which of its sweep it is: its place on the axes, of several figures its figure too. The
    sweep's own name is the same for all; what the base says comes first. Names that are an axis stay."""
    if "name" in member.indices and spec.name:
        return spec
    place = ", ".join(field_in_words(path, member.grid.axes[path][index]) for path, index in member.indices.items())
    whose = " ".join(filter(None, [spec.name, member.grid.name if among > 1 else ""]))
    room = max(0, MAX_LABEL - len(place) - 1)
    return spec.model_copy(update={"name": f"{whose[:room]} {place}".strip()[:MAX_LABEL]})
