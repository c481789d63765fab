"""A sweep before it is stored: what is asked for, the grids that this means, and the specs that they hold.

A grid is a base spec and axes: dotted paths with the values that each takes, the last axis varying fastest. A sweep is
one grid, or one a figure of a preset. Whatever is wrong is told at the place where it was sent.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from core.errors import BallastError
from core.faults import Fault, fault_of, shown, spec_schema
from core.paths import (
    enclosing_paths,
    keys_of,
    keys_of_pointer,
    path_of,
    pointer,
    value_at,
    with_value_at,
    without_value_at,
)
from core.presets import FIGURES, PRESETS, Figure, PresetName
from core.spec import MAX_LABEL, Label, Spec, said

MAX_MEMBERS = 10_000
MAX_FAULTS = 100  # that are looked for

_MAX_DEPTH = 8  # keys of a path; no field of a spec lies deeper

Json = dict[str, Any]
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


class Grid(NamedTuple):
    base: Json  # without what the axes say
    axes: dict[str, list[Any]]
    name: str = ""  # of the paper's figure that it is


class BadSweep(BallastError):
    """What was asked for makes no sweep."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")
        self.faults = list(faults[:MAX_FAULTS])


def expanded(request: SweepRequest) -> tuple[list[Grid], list[Spec]]:
    """The grids that are meant, and their specs in the order of their positions. Raises BadSweep."""
    _check_axes(request.axes)
    grids = _grids(request)
    for grid in grids:
        _check_grid(grid, request.axes)
    sent = _Sent(request.axes, request.base, elsewhere="/preset" if request.preset else None)
    specs = _specs(grids, sent, once=False)
    return [_without_what_axes_say(grid) for grid in grids], specs


def grown(grids: Sequence[Grid], axes: Mapping[str, list[Any]]) -> tuple[list[Grid], list[Spec]]:
    """The grids with more values on their axes, and all their specs, each once. An axis that is new begins with the
    value that all members had so far. Raises BadSweep."""
    if not axes:
        raise BadSweep([Fault("/axes", "is empty", None, "at least one axis")])
    if "name" in axes:
        raise BadSweep([Fault("/axes/name", "makes no other member: a name decides nothing", None, "another axis")])
    _check_axes(axes)
    _refuse_repeats(axes)
    for grid in grids:
        _check_grid(grid, axes)
    larger = [_with_axes(grid, axes) for grid in grids]
    specs = _specs(larger, _Sent(axes, {}, elsewhere="/axes"), once=True)
    return [_without_what_axes_say(grid) for grid in larger], specs


def refuse_too_many(count: int) -> None:
    """Raises BadSweep for more members than a sweep may have."""
    if count > MAX_MEMBERS:
        raise BadSweep([Fault("/axes", f"make {count} members", None, f"at most {MAX_MEMBERS}")])


def _check_axes(axes: Mapping[str, list[Any]]) -> None:
    """What is wrong with the axes before anything is put together. Raises BadSweep."""
    faults = []
    for path, values in axes.items():
        if not values:
            faults.append(Fault(pointer("axes", path), "is an empty list", None, "at least one value"))
        elif len(keys_of(path)) > _MAX_DEPTH:
            faults.append(Fault(pointer("axes", path), "is no path of a spec", None, "such as optimizer.lr"))
    if faults:
        raise BadSweep(faults)


def _check_grid(grid: Grid, axes: Mapping[str, list[Any]]) -> None:
    """Whether what `axes` say and what the grid says fit into each other. Raises BadSweep."""
    faults = [*_nested(grid.axes, axes), *_through_no_object(grid.base, axes)]
    if faults:
        raise BadSweep(faults)


def _nested(former: Mapping[str, Any], axes: Mapping[str, Any]) -> Iterator[Fault]:
    there = {**former, **axes}
    for path in there:
        for outer in enclosing_paths(path):
            if path in axes and outer in there:
                yield Fault(pointer("axes", path), f"lies inside the axis {outer}", None, "one of the two")
            elif outer in axes:
                yield Fault(pointer("axes", outer), f"holds the axis {path}", None, "one of the two")


def _through_no_object(base: Json, axes: Mapping[str, Any]) -> Iterator[Fault]:
    for path in axes:
        for outer in enclosing_paths(path):
            there = value_at(base, keys_of(outer), default={})
            if not isinstance(there, dict):
                detail = f"lies inside {outer}, which is no object in the base"
                yield Fault(pointer("axes", path), detail, shown(there), "a path through objects")
                break


def _refuse_repeats(axes: Mapping[str, list[Any]]) -> None:
    """What a sweep has already is left as it is; what is asked for twice is a slip. Raises BadSweep."""
    faults = []
    for path, values in axes.items():
        first = {_same(value): index for index, value in reversed(list(enumerate(values)))}
        for index, value in enumerate(values):
            if first[_same(value)] != index:
                faults.append(Fault(pointer("axes", path, index), "is there already", shown(value), "each value once"))
    if faults:
        raise BadSweep(faults)


def _grids(request: SweepRequest) -> list[Grid]:
    if request.as_drawn and request.preset is None:
        raise BadSweep([Fault("/as_drawn", "means nothing without a preset", True, "false")])
    if request.as_drawn and "importance_weight" in request.base.keys() | request.axes.keys():
        raise BadSweep([Fault("/as_drawn", "means nothing beside weights of your own", True, "false")])
    if request.preset is None:
        return [Grid(request.base, request.axes)]
    figures = {name: FIGURES[name] for name in PRESETS[request.preset]}
    return [
        Grid(_merged(figure.base, request.base), {**_weights(figure, request), **request.axes}, name)
        for name, figure in figures.items()
    ]


def _weights(figure: Figure, request: SweepRequest) -> dict[str, list[Any]]:
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


def _with_axes(grid: Grid, axes: Mapping[str, list[Any]]) -> Grid:
    union = dict(grid.axes)
    for path, values in axes.items():
        if path not in union:
            union[path] = _so_far(grid, path)
        known = {_same(value) for value in union[path]}
        union[path] = [*union[path], *(value for value in values if _same(value) not in known)]
    return grid._replace(axes=union)


def _so_far(grid: Grid, path: str) -> list[Any]:
    """The value at `path` of the members that a grid without such an axis has; none where there is no such field."""
    spec = Spec.model_validate(next(_members([grid])).value).model_dump(mode="json")
    nothing = object()
    value = value_at(spec, keys_of(path), default=nothing)
    return [] if value is nothing else [value]


class _Member(NamedTuple):
    grid: Grid
    indices: dict[str, int]  # its place on each axis
    value: Json  # its spec, as if it had been sent alone


def _members(grids: Sequence[Grid]) -> Iterator[_Member]:
    for grid in grids:
        for indices in itertools.product(*(range(len(values)) for values in grid.axes.values())):
            value = grid.base
            for (path, values), index in zip(grid.axes.items(), indices, strict=True):
                value = with_value_at(value, keys_of(path), values[index])
            yield _Member(grid, dict(zip(grid.axes, indices, strict=True)), value)


def _without_what_axes_say(grid: Grid) -> Grid:
    """What is left of the base stands in every member, so that it has been validated with them."""
    base = grid.base
    for path in grid.axes:
        base = without_value_at(base, keys_of(path))
    return grid._replace(base=base)


def _specs(grids: Sequence[Grid], sent: "_Sent", once: bool) -> list[Spec]:
    """The specs of all members; with `once`, one that is there already is left out, else that is a fault."""
    count = sum(math.prod(map(len, grid.axes.values())) for grid in grids)
    refuse_too_many(count)
    specs: dict[str, Spec] = {}  # by digest
    members: dict[str, _Member] = {}
    faults: dict[Fault, None] = {}
    faulty = 0
    for member in _members(grids):
        found: list[Fault] = []
        try:
            spec = Spec.model_validate(member.value)
        except ValidationError as error:
            found = sent.faults(error, member)
        else:
            digest = spec.digest
            if digest not in specs:
                specs[digest] = _named(spec, member, among=len(grids))
                members[digest] = member
            elif not once:
                found = [sent.twice(member, members[digest])]
        faults |= dict.fromkeys(found)
        faulty += bool(found)  # what is wrong with all of them is found in each
        if max(faulty, len(faults)) >= MAX_FAULTS:
            break
    if faults:
        raise BadSweep(list(faults))
    return list(specs.values())


def _named(spec: Spec, member: _Member, among: int) -> Spec:
    """With a name that says which of its sweep it is: its place on the axes, of several figures its figure too. The
    sweep's own name is the same for all; what the base says comes first. Names that are an axis stay."""
    if "name" in member.indices and spec.name:
        return spec
    place = ", ".join(said(path, member.grid.axes[path][index]) for path, index in member.indices.items())
    whose = " ".join(filter(None, [spec.name, member.grid.name if among > 1 else ""]))
    room = max(0, MAX_LABEL - len(place) - 1)
    return spec.model_copy(update={"name": f"{whose[:room]} {place}".strip()[:MAX_LABEL]})


def _same(value: Any) -> str:
    """Equal for equal JSON: 1 is not true."""
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class _Sent:
    """What was sent, to say of a member's fault where it comes from."""

    axes: Mapping[str, list[Any]]
    base: Json
    elsewhere: str | None  # where what is in neither comes from; None: it is missing in the base

    def faults(self, error: ValidationError, member: _Member) -> list[Fault]:
        found = []
        for details in error.errors(include_url=False)[:MAX_FAULTS]:
            _blame_an_axis(details, member)
            fault = fault_of(details, member.value, spec_schema())
            found.append(replace(fault, pointer=self._pointer(keys_of_pointer(fault.pointer), member)))
        return found

    def twice(self, member: _Member, former: _Member) -> Fault:
        if member.grid is not former.grid:
            return Fault("/preset", f"makes {former.grid.name} and {member.grid.name} alike", None, "each spec once")
        detail = "makes a member that there is already"
        moved = [path for path, index in member.indices.items() if former.indices.get(path) != index]
        path, index = moved[-1], member.indices[moved[-1]]
        return Fault(self._on_axis(path, index, member), detail, shown(member.grid.axes[path][index]), "each spec once")

    def _pointer(self, keys: Sequence[str], member: _Member) -> str:
        for end in range(len(keys), 0, -1):
            path = path_of(keys[:end])
            if path in member.indices:
                return self._on_axis(path, member.indices[path], member) + pointer(*keys[end:])
        inner = next((path for path in member.indices if path_of(keys) in enclosing_paths(path)), None)
        if inner is not None:  # an axis goes into what is no object
            return self._on_axis(inner, member.indices[inner], member)
        if self.elsewhere is not None and (not keys or keys[0] not in self.base):
            return self.elsewhere
        return "/base" + pointer(*keys)

    def _on_axis(self, path: str, index: int, member: _Member) -> str:
        if path not in self.axes:
            return self.elsewhere or ""
        value = member.grid.axes[path][index]
        if self.axes[path] is not member.grid.axes[path]:  # a sweep that grows had values before
            index = next((i for i, each in enumerate(self.axes[path]) if _same(each) == _same(value)), 0)
        return pointer("axes", path, index)


def _blame_an_axis(details: ErrorDetails, member: _Member) -> None:
    """Of two fields that do not fit together, the one that varies."""
    context = details.get("ctx", {})
    path, other = (path_of(context.get(key, ())) for key in ("path", "with"))
    if path not in member.indices and other in member.indices:
        context["path"] = context["with"]
