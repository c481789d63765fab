"""A spec in words: a field and its value for a person, and which fields are text."""

import hashlib
import json
from typing import Any, get_args

from core.paths import keys_of
from core.spec.experiment import Spec
from core.spec.fields import Part

_LONGEST = 40  # characters of a list; where it is cut, a few of its checksum tell it from others


def field_in_words(path: str, value: Any) -> str:
    """A field of a spec and its value, for a person: "16:1", "mlp", "weight_decay 0.01", "dataset.seed 3"."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).removesuffix(".0")
    if len(text) > _LONGEST and isinstance(value, list):
        text = f"{text[:_LONGEST]}… ({len(value)}, {hashlib.sha256(text.encode()).hexdigest()[:6]})"
    field = keys_of(path)[-1]
    if field in ("importance_weight", "name"):
        return text
    return f"{path if field in Spec.model_fields else field} {text}"


def holds_text(path: str) -> bool:
    """Whether what lies at a dotted path is text, whichever data set, model or loss it belongs to."""
    *outer, last = keys_of(path)
    parts: list[Any] = [Spec]
    for key in outer:
        inner = [part.model_fields[key].annotation for part in parts if key in part.model_fields]
        variants = [variant for annotation in inner for variant in get_args(annotation) or [annotation]]
        parts = [variant for variant in variants if isinstance(variant, type) and issubclass(variant, Part)]
    found = [part.model_fields[last].annotation for part in parts if last in part.model_fields]
    return bool(found) and all(each is str or isinstance(next(iter(get_args(each)), None), str) for each in found)
