"""What the fields of a spec are made of: a part, bounded numbers, clean text, the importance weight."""

import re
import unicodedata
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # beyond, numpy's SeedSequence repeats

MAX_LABEL = 200  # characters
MAX_FOLDER_NAME = 100
FOLDER_NAMES = f"at most {MAX_FOLDER_NAME} printable characters, no slash or backslash, no leading dot"

_WEIGHT = re.compile(r"(\d{1,7}(?:\.\d{1,6})?):(\d{1,7}(?:\.\d{1,6})?)", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of a surrogate pair

# Its first character, and the rest: neither a path, nor hidden, nor what a terminal obeys.
_FOLDER_NAME = r"^[^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*$"


class ImportanceWeight(NamedTuple):
    """How much an image of each class counts, base first. "2:2" is not "1:1" under `batch_size` normalisation."""

    base: float
    other: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless both sides are plain decimals in (0, 1e6]."""
        match = _WEIGHT.fullmatch(text)
        sides = [float(side) for side in match.groups()] if match else []
        if not sides or not all(0 < side <= 1e6 for side in sides):
            raise ValueError(text)
        return cls(*sides)


def _weight(text: str) -> str:
    try:
        ImportanceWeight.parse(text)
    except ValueError:
        raise PydanticCustomError(
            "importance_weight",
            "is not an importance weight",
            {"allowed": 'base:other, such as "16:1": two plain numbers above 0, at most 1000000, at most six decimals'},
        ) from None
    return text


def _printable(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise PydanticCustomError(
            "unprintable", "holds a control character or half a surrogate pair", {"allowed": "printable text"}
        )
    return text


def _folder_name(text: str) -> str:
    """In the composed form of Unicode, so that a name typed on macOS is the same name, with the same digest."""
    name = unicodedata.normalize("NFC", text)
    if len(name) > MAX_FOLDER_NAME or _UNPRINTABLE.search(name) or not re.match(_FOLDER_NAME, name):
        raise PydanticCustomError("folder_name", "is no name of a folder", {"allowed": FOLDER_NAMES})
    return name


Weight = Annotated[
    str,
    AfterValidator(_weight),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,7}(\.\d{1,6})?:\d{1,7}(\.\d{1,6})?$", "examples": ["16:1"]}),
]
Label = Annotated[str, StringConstraints(max_length=MAX_LABEL), AfterValidator(_printable)]
FolderName = Annotated[
    str,
    AfterValidator(_folder_name),
    WithJsonSchema({"type": "string", "maxLength": MAX_FOLDER_NAME, "pattern": _FOLDER_NAME, "examples": ["hot dog"]}),
]


class Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def by_default(name: str) -> BeforeValidator:
    """An object that does not say which variant it is, is this one: pydantic chooses by what was sent alone."""
    return BeforeValidator(lambda sent: {"name": name, **sent} if isinstance(sent, dict) else sent)


def misfit(
    path: tuple[str | int, ...], other: tuple[str | int, ...], message: str, allowed: str
) -> PydanticCustomError:
    """A fault of the whole spec that belongs to two fields. pydantic knows no place for it, so it travels inside."""
    return PydanticCustomError("misfit", message, {"path": path, "with": other, "allowed": allowed})
