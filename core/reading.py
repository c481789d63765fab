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
    """The JSON value in `file`, or in standard input for `-`. Raises UnreadableSpec."""
    name = "standard input" if file == Path("-") else str(file)
    try:
        text = sys.stdin.read() if file == Path("-") else file.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=without_repeats)
    except OSError as error:
        raise UnreadableSpec(f"cannot read {name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableSpec(f"{name} is not JSON: {error}") from None


def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """`object_pairs_hook` of `json.loads`: of two values for one name the first would be ignored without a word.

    Raises ValueError.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{json.dumps(name)} is there more than once")
        found[name] = value
    return found
