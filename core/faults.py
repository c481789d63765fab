"""What is wrong with what was sent, field by field: pydantic's errors in the words of api/README.md, "Errors". What
would be allowed is read from the JSON schema, so that a refusal and the OpenAPI document say the same.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.paths import pointer, value_at

MAX_VALUE = 100  # characters of an offending value that are echoed

Schema = Mapping[str, Any]  # a JSON schema, its definitions under "$defs"


@dataclass(frozen=True, slots=True)
class Fault:
    pointer: str  # RFC 6901, into what was sent; "" is the whole of it
    detail: str
    value: Any  # what was sent there, cut at 100 characters
    allowed: str | None

    def __str__(self) -> str:
        place = self.pointer or "the body"
        value = "" if self.value is None else f": {json.dumps(self.value, ensure_ascii=False)}"
        sentence = f"{place} {self.detail}{value}" + (f" (allowed: {self.allowed})" if self.allowed else "")
        return _printable(sentence)


def faults_of(error: ValidationError, sent: Any, schema: Schema | None = None) -> list[Fault]:
    """One fault a pydantic error. `sent` is the JSON value that was validated; `schema` that of the model, by default
    the spec's."""
    schema = schema or spec_schema()
    return [fault_of(details, sent, schema) for details in error.errors(include_url=False)]


@cache
def spec_schema() -> Schema:
    from core.spec import Spec  # its models take a while to build, and not every fault is a spec's

    return Spec.model_json_schema()


def fault_of(details: ErrorDetails, sent: Any, schema: Schema) -> Fault:
    details = _at_its_key(details, sent, schema)
    place = _place(details["loc"], schema)
    keys = place.keys
    if details["type"].startswith("union_tag"):
        keys = [*keys, "name"]
    if details["type"] == "misfit":
        keys = [*keys, *details["ctx"]["path"]]
    return Fault(
        pointer=pointer(*keys),
        detail=_detail(details),
        value=excerpt(value_at(sent, keys)),
        allowed=_allowed(details, place),
    )


def _at_its_key(details: ErrorDetails, sent: Any, schema: Schema) -> ErrorDetails:
    """What pydantic says of a whole object of which one key is no Unicode, said of that key: it is no field."""
    if details["type"] != "string_unicode":
        return details
    there = value_at(sent, _place(details["loc"], schema).keys)
    keys = there if isinstance(there, dict) else ()
    unreadable = next((key for key in keys if key != _printable(key)), None)
    if unreadable is None:
        return details
    return {**details, "type": "extra_forbidden", "loc": (*details["loc"], unreadable)}


def excerpt(value: Any) -> Any:
    """`value` as strict JSON of at most 100 characters: NaN, lone surrogates and whole documents included."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**MAX_VALUE else f"a number of more than {MAX_VALUE} digits"
    try:
        text = value[:MAX_VALUE] if isinstance(value, str) else _beginning_of(value)
    except (RecursionError, ValueError):
        return "too large to show"
    return _printable(text)[:MAX_VALUE]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _beginning_of(value: Any) -> str:
    """Of its JSON, without making all of it."""
    text = ""
    for part in json.JSONEncoder(default=repr).iterencode(value):
        text += part
        if len(text) > MAX_VALUE:
            break
    return text


class _Place(NamedTuple):
    keys: list[int | str]  # of what was sent
    around: Schema  # the schema of the object that holds it,
    here: Schema  # and its own; empty where the schema knows no such place
    definitions: Schema


def _place(loc: Sequence[int | str], schema: Schema) -> _Place:
    """pydantic names the chosen variant of a union in its path; it is no key of what was sent."""
    definitions: Schema = schema.get("$defs", {})
    keys: list[int | str] = []
    around, here = schema, _resolved(schema, definitions)
    for key in loc:
        variants = _variants(here)
        if key in variants:
            here = _resolved({"$ref": variants[key]}, definitions)
            continue
        keys.append(key)
        around, here = here, _resolved(_inside(here, key), definitions)
    return _Place(keys, around, here, definitions)


def _inside(schema: Schema, key: int | str) -> Schema:
    """Of a list every item is the same."""
    inner: Schema = schema.get("items", {}) if isinstance(key, int) else schema.get("properties", {}).get(key, {})
    return inner


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _variants(schema: Schema) -> dict[int | str, str]:
    variants: dict[int | str, str] = schema.get("discriminator", {}).get("mapping", {})
    return variants


def _detail(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing" | "union_tag_not_found":
            return "is missing"
        case "extra_forbidden":
            return "is not a field"
        case "repeated" | "misfit" | "importance_weight" | "unprintable" | "folder_name":
            return details["msg"]
        case "value_error":
            return str(details["ctx"]["error"])
        case "literal_error" | "enum" | "union_tag_invalid":
            return "is not one of the choices"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return "is out of range"
        case "finite_number":
            return "is not a finite number"
        case "string_too_long" | "too_long":
            return "is too long"
        case "string_too_short":
            return "is too short"
        case "string_pattern_mismatch":
            return "does not match the pattern"
        case "string_unicode":
            return "is not valid Unicode"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is not an object"
        case "list_type" | "tuple_type":
            return "is not a list"
        case kind if kind.startswith("int_"):
            return "is not an integer"
        case "float_type" if type(details["input"]) is int:  # of more than 308 digits
            return "is out of range"
        case kind if kind.startswith("float_"):
            return "is not a number"
        case kind if kind.startswith("bool_"):
            return "is not true or false"
        case "string_type":
            return "is not text"
        case _:
            text = details["msg"].removeprefix("Input ")
            return text[:1].lower() + text[1:]


def _allowed(details: ErrorDetails, place: _Place) -> str | None:
    if "allowed" in details.get("ctx", {}):
        return str(details["ctx"]["allowed"])
    match details["type"]:
        case "repeated" | "value_error":
            return None
        case "extra_forbidden":
            return ", ".join(place.around.get("properties", {})) or "none here"
        case "union_tag_not_found" | "union_tag_invalid":
            return ", ".join(map(str, _variants(place.here)))
        case _:
            return _words(place.here, place.definitions)


def _words(schema: Schema, definitions: Schema) -> str | None:
    """What `schema` allows, in words."""
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(filter(None, (_words(each, definitions) for each in schema["anyOf"])))
    if "const" in schema:
        return _choice(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_choice, schema["enum"]))
    if "discriminator" in schema:
        return "an object whose name is one of " + ", ".join(map(str, _variants(schema)))
    match schema.get("type"):
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case "integer":
            return "an integer" + _range(schema)
        case "number":
            return "a number" + _range(schema)
        case "string":
            return "text" + _form(schema)
        case "object":
            return "an object"
        case "array":
            return "a list" + (f" of at most {schema['maxItems']}" if "maxItems" in schema else "")
        case _:
            return None


def _choice(value: Any) -> str:
    """In quotes where it would be taken for no text: "3" is a class, 3 is none."""
    quoted = json.dumps(value)
    try:
        json.loads(value)
    except (TypeError, ValueError):
        return str(value)
    return quoted


def _range(schema: Schema) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bound = {key: f"{schema[key]:.16g}" for key in words if key in schema}
    if "minimum" in bound and "maximum" in bound:
        return f" from {bound['minimum']} to {bound['maximum']}"
    bounds = [f"{words[key]} {value}" for key, value in bound.items()]
    return " " + " and ".join(bounds) if bounds else ""


def _form(schema: Schema) -> str:
    if "examples" in schema:
        return f' such as "{schema["examples"][0]}"'
    if "pattern" in schema:
        return f" that matches {schema['pattern']}"
    if "maxLength" not in schema:
        return ""
    shortest = schema.get("minLength", 0)
    return f" of {f'{shortest} to' if shortest else 'at most'} {schema['maxLength']} characters"
