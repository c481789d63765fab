"""Which experiments belong into one panel: those that differ only in weight and seed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.analysis.figures import Group, Line, line_of

Spec = Mapping[str, Any]  # as JSON, every field filled
Curve = Mapping[str, Any]  # as the API's JSON

_WITHIN = ("name", "importance_weight", "seed")  # what may differ within a group


def grouped(members: Sequence[tuple[Spec, Curve]]) -> list[Group]:
    """The members in groups, in the order in which each first appears, titled by what tells the groups apart."""
    lines: dict[str, list[Line]] = {}
    fields: dict[str, dict[str, Any]] = {}
    for spec, curve in members:
        said = dict(_fields(spec))
        key = json.dumps(said, sort_keys=True)
        fields[key] = said
        lines.setdefault(key, []).append(line_of(spec["importance_weight"], spec["seed"], curve))
    paths = {path: None for said in fields.values() for path in said}
    differing = [path for path in paths if len({_value(said, path) for said in fields.values()}) > 1]
    return [Group(_title(fields[key], differing), lines[key]) for key in lines]


def _fields(value: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and their values."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _fields(inner, f"{within}{key}.")
        elif within or key not in _WITHIN:
            yield within + key, inner


def _value(fields: Mapping[str, Any], path: str) -> str:
    return json.dumps(fields[path]) if path in fields else ""


def _title(fields: Mapping[str, Any], differing: Sequence[str]) -> str:
    names = [str(fields[path]) for path in differing if path.endswith(".name")]
    others = [
        f"{path.rpartition('.')[2]} {fields[path] if isinstance(fields[path], str) else json.dumps(fields[path])}"
        for path in differing
        if path in fields and not path.endswith(".name")
    ]
    return ", ".join(names + others)
