"""Grids: a base spec, and axes: dotted paths with the values that each takes, the last varying fastest. Which members a
grid has, and how it grows. Whether a member is a good spec is not asked here.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from core.paths import keys_of, put, value_at, without
from core.spec import Spec

Json = dict[str, Any]


class Grid(NamedTuple):
    base: Json  # without what the axes say
    axes: dict[str, list[Any]]
    name: str = ""  # of the paper's figure that it is


class Member(NamedTuple):
    grid: Grid
    indices: dict[str, int]  # its place on each axis
    value: Json  # its spec, as if it had been sent alone


def members_of(grids: Sequence[Grid]) -> Iterator[Member]:
    """Of one grid after the other, in the order of their positions."""
    for grid in grids:
        for indices in itertools.product(*(range(len(values)) for values in grid.axes.values())):
            value = dict(grid.base)
            for (path, values), index in zip(grid.axes.items(), indices, strict=True):
                put(value, keys_of(path), values[index])
            yield Member(grid, dict(zip(grid.axes, indices, strict=True)), value)


def without_what_axes_say(grid: Grid) -> Grid:
    """What is left of the base stands in every member, so that it has been validated with them."""
    base = grid.base
    for path in grid.axes:
        base = without(base, keys_of(path))
    return grid._replace(base=base)


def seeds_in_order(grids: Sequence[Grid]) -> list[int]:
    """The seeds that are on an axis, each once; none where all members of a grid have the same."""
    return list(dict.fromkeys(seed for grid in grids for seed in grid.axes.get("seed", [])))


def with_epochs(grid: Grid, epochs: int) -> Grid:
    """The same of so many epochs, which are no axis."""
    return grid._replace(base={**grid.base, "epochs": epochs})


def with_more_values(grid: Grid, axes: Mapping[str, list[Any]]) -> Grid:
    """Those of `axes` that are not there yet; an axis that is new begins with the value that all members had so far."""
    union = dict(grid.axes)
    for path, values in axes.items():
        if path not in union:
            union[path] = _values_so_far(grid, path)
        known = {sorted_json(value) for value in union[path]}
        union[path] = [*union[path], *(value for value in values if sorted_json(value) not in known)]
    return grid._replace(axes=union)


def _values_so_far(grid: Grid, path: str) -> list[Any]:
    """The value at `path` of the members that a grid without such an axis has; none where there is no such field."""
    spec = Spec.model_validate(next(members_of([grid])).value).model_dump(mode="json")
    nothing = object()
    value = value_at(spec, keys_of(path), default=nothing)
    return [] if value is nothing else [value]


def sorted_json(value: Any) -> str:
    """Equal for equal JSON: 1 is not true."""
    return json.dumps(value, sort_keys=True)
