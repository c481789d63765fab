"""What is wrong with a sweep, told at the place where it was sent: on an axis, in the base, or at the preset. What a
sweep is made of is the concern of sweeps.py, on top of this.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.errors import BallastError
from core.faults import Fault, fault_of, shown, spec_schema
from core.grids import Grid, Json, Member, sorted_json
from core.paths import enclosing_paths, keys_of, keys_of_pointer, lies_inside, path_of, pointer, value_at

MAX_MEMBERS = 10_000
MAX_FAULTS = 100  # that are looked for

_MAX_DEPTH = 8  # keys of a path; no field of a spec lies deeper


class BadSweep(BallastError):
    """What was asked for makes no sweep."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")
        self.faults = list(faults[:MAX_FAULTS])


def refuse_too_many(count: int) -> None:
    """Raises BadSweep for more members than a sweep may have."""
    if count > MAX_MEMBERS:
        raise BadSweep([Fault("/axes", f"make {count} members", None, f"at most {MAX_MEMBERS}")])


def refuse_bad_axes(axes: Mapping[str, list[Any]]) -> None:
    """What is wrong with the axes before anything is put together. Raises BadSweep."""
    faults = []
    for path, values in axes.items():
        if not values:
            faults.append(Fault(pointer("axes", path), "is an empty list", None, "at least one value"))
        elif len(keys_of(path)) > _MAX_DEPTH:
            faults.append(Fault(pointer("axes", path), "is no path of a spec", None, "such as optimizer.lr"))
    if faults:
        raise BadSweep(faults)


def refuse_misfits(grid: Grid, axes: Mapping[str, list[Any]]) -> None:
    """Whether what `axes` say and what the grid says fit into each other. Raises BadSweep."""
    faults = [*_axes_in_axes(grid.axes, axes), *_axes_in_values(grid.base, axes)]
    if faults:
        raise BadSweep(faults)


def refuse_repeats(axes: Mapping[str, list[Any]]) -> None:
    """What a sweep has already is left as it is; what is asked for twice is a slip. Raises BadSweep."""
    faults = []
    for path, values in axes.items():
        first = {sorted_json(value): index for index, value in reversed(list(enumerate(values)))}
        for index, value in enumerate(values):
            if first[sorted_json(value)] != index:
                faults.append(Fault(pointer("axes", path, index), "is there already", shown(value), "each value once"))
    if faults:
        raise BadSweep(faults)


def _axes_in_axes(former: Mapping[str, Any], axes: Mapping[str, Any]) -> Iterator[Fault]:
    there = {**former, **axes}
    for path in there:
        for outer in enclosing_paths(path):
            if path in axes and outer in there:
                yield Fault(pointer("axes", path), f"lies inside the axis {outer}", None, "one of the two")
            elif outer in axes:
                yield Fault(pointer("axes", outer), f"holds the axis {path}", None, "one of the two")


def _axes_in_values(base: Json, axes: Mapping[str, Any]) -> Iterator[Fault]:
    for path in axes:
        for outer in enclosing_paths(path):
            there = value_at(base, keys_of(outer), default={})
            if not isinstance(there, dict):
                detail = f"lies inside {outer}, which is no object in the base"
                yield Fault(pointer("axes", path), detail, shown(there), "a path through objects")
                break


@dataclass(frozen=True)
class Sent:
    """What was sent, to say of a member's fault where it comes from."""

    axes: Mapping[str, list[Any]]
    base: Json
    elsewhere: str | None  # where what is in neither comes from; None: it is missing in the base

    def faults_of_member(self, error: ValidationError, member: Member) -> list[Fault]:
        found = []
        for details in error.errors(include_url=False)[:MAX_FAULTS]:
            _blame_an_axis(details, member)
            fault = fault_of(details, member.value, spec_schema())
            found.append(replace(fault, pointer=self._pointer_of(keys_of_pointer(fault.pointer), member)))
        return found

    def fault_of_repeat(self, member: Member, former: Member) -> Fault:
        if member.grid is not former.grid:
            return Fault("/preset", f"makes {former.grid.name} and {member.grid.name} alike", None, "each spec once")
        path = [path for path, index in member.indices.items() if former.indices.get(path) != index][-1]
        index = member.indices[path]
        value = shown(member.grid.axes[path][index])
        detail = "makes a member that there is already"
        return Fault(self._pointer_on_axis(path, index, member), detail, value, "each spec once")

    def _pointer_of(self, keys: Sequence[str], member: Member) -> str:
        for end in range(len(keys), 0, -1):
            path = path_of(keys[:end])
            if path in member.indices:
                return self._pointer_on_axis(path, member.indices[path], member) + pointer(*keys[end:])
        inner = next((path for path in member.indices if lies_inside(path, path_of(keys))), None)
        if inner is not None:  # an axis goes into what is no object
            return self._pointer_on_axis(inner, member.indices[inner], member)
        if self.elsewhere is not None and (not keys or keys[0] not in self.base):
            return self.elsewhere
        return "/base" + pointer(*keys)

    def _pointer_on_axis(self, path: str, index: int, member: Member) -> str:
        if path not in self.axes:
            return self.elsewhere or ""
        value = member.grid.axes[path][index]
        if self.axes[path] is not member.grid.axes[path]:  # a sweep that grows had values before
            index = next((i for i, each in enumerate(self.axes[path]) if sorted_json(each) == sorted_json(value)), 0)
        return pointer("axes", path, index)


def _blame_an_axis(details: ErrorDetails, member: Member) -> None:
    """Of two fields that do not fit together, the one that varies."""
    context = details.get("ctx", {})
    path, other = (path_of(context.get(key, ())) for key in ("path", "with"))
    if path not in member.indices and other in member.indices:
        context["path"] = context["with"]
