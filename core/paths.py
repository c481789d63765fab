"""Places inside of JSON values: dotted paths ("optimizer.lr"), their keys, and JSON pointers. What lies there, what is
put there, all leaves by their paths. What a path means, and what is said of a wrong one, is not known here.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class NoObject(ValueError):
    """A path leads through what is no object."""

    def __init__(self, value: Any) -> None:
        super().__init__("no object")
        self.value = value


def keys_of(path: str) -> list[str]:
    """Of a dotted path; at least one."""
    return path.split(".")


def path_of(keys: Sequence[str]) -> str:
    """The dotted path of keys that hold no dot."""
    return ".".join(keys)


def enclosing_paths(path: str) -> list[str]:
    """What a path lies inside of, from the outermost: of a.b.c it is a and a.b."""
    keys = keys_of(path)
    return [path_of(keys[:end]) for end in range(1, len(keys))]


def lies_inside(path: str, outer: str) -> bool:
    return path.startswith(f"{outer}.")


def value_at(value: Any, keys: Sequence[int | str], default: Any = None) -> Any:
    """What lies at `keys` of objects and lists; `default` where nothing does."""
    for key in keys:
        if not _has_key(value, key):
            return default
        value = value[key]
    return value


def _has_key(value: Any, key: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


def put(value: dict[str, Any], keys: Sequence[str], leaf: Any) -> None:
    """Make `leaf` what lies at `keys` of `value`. Objects on the way are copied, for others may share them, and made
    where there are none, or null. Raises NoObject."""
    *outer, last = keys
    for key in outer:
        inner = value.get(key)
        if not isinstance(inner, dict | None):
            raise NoObject(inner)
        value[key] = dict(inner or {})
        value = value[key]
    value[last] = leaf


def without(value: Any, keys: Sequence[str]) -> Any:
    """A copy of `value` with nothing at `keys`; `value` itself where nothing is there."""
    key, *inner = keys
    if not isinstance(value, dict) or key not in value:
        return value
    left = {name: each for name, each in value.items() if name != key}
    return {**left, key: without(value[key], inner)} if inner else left


def leaves_by_path(value: Mapping[str, Any]) -> dict[str, Any]:
    """What is no object, by its dotted path, in order; an empty object leaves nothing."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= {f"{key}.{path}": leaf for path, leaf in leaves_by_path(inner).items()}
        else:
            flat[key] = inner
    return flat


def pointer(*keys: int | str) -> str:
    """RFC 6901."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def keys_of_pointer(pointer: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
