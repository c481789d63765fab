"""The lines of experiments and which of them belong together: what differs only in weight and seed, in one row of a
figure, under one heading of a table. What tells experiments apart, and what they share, in words.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from core.fit import Fit
from core.paths import leaves_by_path
from core.spec import Spec, field_in_words

SpecJson = Mapping[str, Any]  # every field filled
_T = TypeVar("_T")

_ALWAYS_SAID = ("dataset.name", "model.name", "epochs")
VARIES_WITHIN = ("name", "importance_weight", "seed")  # what may differ within a group


class Line(NamedTuple):
    """The curve of one experiment: base fractions, one an epoch; None or nan where nothing finite was measured."""

    importance_weight: str
    seed: int
    epoch: Sequence[int]
    in_domain: Sequence[float | None]
    out_of_domain: Sequence[float | None]
    diverged: bool = False
    fit: Fit | None = None  # None: not known

    @property
    def constant(self) -> bool:
        """At its end so far it predicts one class alone, of both test sets: it has not learned, whatever its loss."""
        last = [values[-1] for values in (self.in_domain, self.out_of_domain) if len(values)]
        measured = {value for value in last if value is not None and math.isfinite(value)}
        return not self.diverged and measured in ({0.0}, {1.0})

    @property
    def apart(self) -> bool:
        """It is no measurement of what a weight does, and enters no mean."""
        return self.diverged or self.constant


def line_of_curve(importance_weight: str, seed: int, curve: Mapping[str, Any]) -> Line:
    """The line of a curve that is the API's JSON."""
    in_domain, out_of_domain = curve["base_fraction_in_domain"], curve["base_fraction_out_of_domain"]
    return Line(importance_weight, seed, curve["epoch"], in_domain, out_of_domain, curve["diverged_at"] is not None)


def grouped(members: Sequence[tuple[SpecJson, _T]]) -> list[tuple[str, list[_T]]]:
    """What belongs to specs that differ only in weight and seed, by a title that tells it from the others; in the order
    in which each group first appears."""
    own: dict[str, list[_T]] = {}
    titles = differences_in_words([spec for spec, _ in members])
    for (_, each), title in zip(members, titles, strict=True):
        own.setdefault(title, []).append(each)
    return list(own.items())


def differences_in_words(specs: Sequence[SpecJson]) -> list[str]:
    """What tells each of `specs` from the others, beside weight and seed: the same for those of one group alone."""
    flat = [_fields(spec) for spec in specs]
    paths = _differing_paths(list({json.dumps(fields, sort_keys=True): fields for fields in flat}.values()))
    return [", ".join(field_in_words(path, fields[path]) for path in paths if path in fields) for fields in flat]


def shared_in_words(specs: Sequence[SpecJson]) -> str:
    """What all of `specs` have in common, as far as a reader asks: what is trained on what for how long, and what is
    no default."""
    if not specs:
        return ""
    flat = [_fields(spec) for spec in specs]
    worth_saying = {*_ALWAYS_SAID, *_other_than_default(specs[0])}
    shared = [path for path in flat[0] if path in worth_saying and not _differs(path, flat)]
    return ", ".join(field_in_words(path, flat[0][path]) for path in shared)


def _other_than_default(spec: SpecJson) -> dict[str, Any]:
    """The fields of a spec that are no default; none of one that a newer Ballast has made."""
    try:
        return _fields(Spec.model_validate(spec).model_dump(mode="json", exclude_defaults=True))
    except ValidationError:
        return {}


def _differing_paths(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths that tell the groups apart: names first, then what differs between groups of the same names. (That
    dogs are no digits goes without saying.)"""
    paths = {path: None for fields in groups for path in fields}
    names = [path for path in paths if path.endswith(".name") and _differs(path, groups)]
    groups_by_names: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for fields in groups:
        groups_by_names.setdefault(tuple(_json_at(path, fields) for path in names), []).append(fields)
    return names + [path for path in paths if any(_differs(path, same) for same in groups_by_names.values())]


def _differs(path: str, groups: Sequence[Mapping[str, Any]]) -> bool:
    return len({_json_at(path, fields) for fields in groups}) > 1


def _fields(spec: SpecJson) -> dict[str, Any]:
    """What may tell groups apart, by its dotted path."""
    return {path: value for path, value in leaves_by_path(spec).items() if path not in VARIES_WITHIN}


def _json_at(path: str, fields: Mapping[str, Any]) -> str:
    """Empty where there is no such field."""
    return json.dumps(fields[path]) if path in fields else ""
