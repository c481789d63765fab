"""What experiments have in common and what tells them apart, in words; those that differ only in weight and seed belong
together: into one panel of a figure, under one heading of a table."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.analysis.figures import Group, Line
from core.spec import Spec, said

SpecJson = Mapping[str, Any]  # every field filled

_ALWAYS_ASKED = ("dataset.name", "model.name", "epochs")
_WITHIN = ("name", "importance_weight", "seed")  # what may differ within a group


def grouped(members: Sequence[tuple[SpecJson, Line]]) -> list[Group]:
    """The members in groups, in the order in which each first appears, titled by what tells the groups apart."""
    lines: dict[str, list[Line]] = {}
    titles = differences([spec for spec, _ in members])
    for (_, line), title in zip(members, titles, strict=True):
        lines.setdefault(title, []).append(line)
    return [Group(title, own) for title, own in lines.items()]


def differences(specs: Sequence[SpecJson]) -> list[str]:
    """What tells each of `specs` from the others, beside weight and seed: the same for those of one panel alone."""
    flat = [dict(_fields(spec)) for spec in specs]
    paths = _differing(list({json.dumps(fields, sort_keys=True): fields for fields in flat}.values()))
    return [", ".join(said(path, fields[path]) for path in paths if path in fields) for fields in flat]


def shared(specs: Sequence[SpecJson]) -> str:
    """What all of `specs` have alike, as far as a reader asks: what is trained on what for how long, and what is no
    default."""
    if not specs:
        return ""
    flat = [dict(_fields(spec)) for spec in specs]
    asked = [path for path in flat[0] if path in _ALWAYS_ASKED or path in _unusual(specs[0])]
    return ", ".join(said(path, flat[0][path]) for path in asked if not _differs(path, flat))


def _unusual(spec: SpecJson) -> dict[str, Any]:
    """The fields of a spec that are no default; none of one that a newer Ballast has made."""
    try:
        return dict(_fields(Spec.model_validate(spec).model_dump(mode="json", exclude_defaults=True)))
    except ValidationError:
        return {}


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
