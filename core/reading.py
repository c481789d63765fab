"""JSON as people send it: in a file, in standard input, in a request. Needs no pydantic: every command waits for it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import BallastError


class UnreadableSpec(BallastError):
    """The file is not there, or holds no JSON."""


def read_json(file: Path) -> Any:
    """The JSON value in `file`, or in standard input for `-`: bytes by JSON's own rules, as over HTTP, whatever the
    locale. Raises UnreadableSpec."""
    name = "standard input" if file == Path("-") else str(file)
    try:
        sent = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
        if not sent.strip():
            raise ValueError("it is empty")
        return parse_json(sent)
    except OSError as error:
        raise UnreadableSpec(f"cannot read {name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableSpec(f"{name} is not JSON: {error}") from None


class RepeatedName(ValueError):
    """Of two values for one name the first would be ignored without a word."""


def parse_json(text: str | bytes) -> Any:
    """The value that JSON says. Raises RepeatedName, json.JSONDecodeError, UnicodeDecodeError (both ValueErrors) and
    RecursionError."""
    return json.loads(text, object_pairs_hook=_object_without_repeats, parse_int=_whole_number)


def _whole_number(digits: str) -> int:
    """Python reads no more than 4300 digits. No field takes so large a number: to refuse it, its beginning will do."""
    return int(digits[:1000])


def _object_without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RepeatedName(f"{json.dumps(name)} is there more than once")
        found[name] = value
    return found
