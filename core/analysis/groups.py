"""Which experiments belong into one panel: those that differ only in weight and seed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.analysis.figures import Group, Line, line_of
from core.spec import said

Spec = Mapping[str, Any]  # as JSON, every field filled
Curve = Mapping[str, Any]  # as the API's JSON

_WITHIN = ("name", "importance_weight", "seed")  # what may differ within a group


def grouped(members: Sequence[tuple[Spec, Curve]]) -> list[Group]:
    """The members in groups, in the order in which each first appears, titled by what tells the groups apart."""
    lines: dict[str, list[Line]] = {}
    fields: dict[str, dict[str, Any]] = {}
    for spec, curve in members:
        own = dict(_fields(spec))
        key = json.dumps(own, sort_keys=True)
        fields[key] = own
        lines.setdefault(key, []).append(line_of(spec["importance_weight"], spec["seed"], curve))
    differing = _differing(list(fields.values()))
    return [
        Group(", ".join(said(path, fields[key][path]) for path in differing if path in fields[key]), lines[key])
        for key in lines
    ]


def _differing(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths that tell the groups apart: names first, then what differs between groups of the same names. (That
    dogs are no digits goes without saying.)"""
    paths = {path: None for fields in groups for path in fields}
    names = [path for path in paths if path.endswith(".name") and _differs(path, groups)]
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for fields in groups:
        alike.setdefault(tuple(_value(fields, name) for name in names), []).append(fields)
    return names + [path for path in paths if any(_differs(path, same) for same in alike.values())]


def _differs(path: str, groups: Sequence[Mapping[str, Any]]) -> bool:
    return len({_value(fields, path) for fields in groups}) > 1


def _fields(value: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and their values."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _fields(inner, f"{within}{key}.")
        elif within or key not in _WITHIN:
            yield within + key, inner


def _value(fields: Mapping[str, Any], path: str) -> str:
    return json.dumps(fields[path]) if path in fields else ""
