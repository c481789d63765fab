"""What `ballast submit` and `ballast sweep` send, put together from a preset, a file or an experiment that there is and
from what was typed beside it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import typer

from api.client import Client
from core.paths import NoObject, keys_of, lies_inside, put
from core.presets import PresetName
from core.reading import read_json

PRESETS: tuple[str, ...] = get_args(PresetName)

Json = dict[str, Any]

_MOST_KEYS = 20  # of a path; none of a spec has more than two


def spec_of_experiment(client: Client, experiment_id: int) -> Json:
    """Of an experiment that there is, as somebody would have written it: without defaults, which belong to its model or
    data set and not to another that takes its place, and without its name. Raises ClientError."""
    from pydantic import ValidationError

    from core.spec import Spec

    filled: Json = client.experiment(experiment_id)["spec"]
    try:
        return Spec.model_validate(filled).model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    except ValidationError:  # a newer service's
        return {key: value for key, value in filled.items() if key != "name"}


def with_changes(spec: Json, changes: Sequence[str]) -> Json:
    """A copy with what `--set` says. Raises BadParameter."""
    changed = dict(spec)
    for path, text in _path_value_pairs(changes):
        keys, value = keys_of(path), _value(path, text)
        try:
            put(changed, keys, value)
        except NoObject as error:
            there = json.dumps(error.value)[:100]
            raise typer.BadParameter(f"{keys[-1]} would lie inside {there}, which is no JSON object") from None
    return changed


def sweep_request(source: Json, changes: Sequence[str], axes: Json, as_drawn: bool, name: str) -> Json:
    """Raises BadParameter."""
    request = dict(source)
    if axes:
        request["axes"] = {**_object(request, "axes"), **axes}
    for path, _ in _path_value_pairs(changes):
        _refuse_what_varies(path, _object(request, "axes"))
    if changes:
        request["base"] = with_changes(_object(request, "base"), changes)
    return request | ({"as_drawn": True} if as_drawn else {}) | ({"name": name} if name else {})


def sweep_axes(given: Sequence[str], seeds: int | None) -> Json:
    """Of `--axis` and `--seeds`. Raises BadParameter."""
    pairs = [(path, _values(path, text)) for path, text in map(_split, given)]
    if seeds is not None:
        pairs.append(("seed", list(range(seeds))))
    axes = dict(pairs)
    if len(axes) < len(pairs):
        raise typer.BadParameter("an axis is given twice: put all its values into one --axis or --seeds")
    return axes


def _refuse_what_varies(path: str, axes: Json) -> None:
    for axis in axes:
        if path == axis or lies_inside(path, axis):
            raise typer.BadParameter(f"{axis} varies: leave it to --axis, and --set what all members share")


def request_from(source: str) -> Json:
    """The request for a sweep of a preset, or of a file. Raises BadParameter, UnreadableSpec."""
    if source in PRESETS:
        return {"preset": source}
    if source != "-" and not _exists(Path(source)):
        raise typer.BadParameter(f"{source[:100]} is neither a file nor a preset (there are {', '.join(PRESETS)})")
    sent = read_json(Path(source))
    if not isinstance(sent, dict):
        raise typer.BadParameter(f"{source} holds no JSON object: a spec, or a sweep with base and axes")
    return {"base": sent} if "dataset" in sent else sent  # a whole spec is the base of a sweep


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name that no file can have: the content of one, by mistake
        return False


def _object(request: Json, key: str) -> Json:
    value = request.get(key) or {}
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{key} of the sweep is no JSON object")
    return value


def _path_value_pairs(changes: Sequence[str]) -> list[tuple[str, str]]:
    pairs = list(map(_split, changes))
    if len(dict(pairs)) < len(pairs):
        raise typer.BadParameter("a field is set twice")
    return pairs


def _split(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not path or not equals or len(keys_of(path)) > _MOST_KEYS:
        raise typer.BadParameter(f"{text[:100]!r} is not PATH=VALUE, such as optimizer.lr=0.05")
    return path, value


def _values(path: str, text: str) -> list[Any]:
    """A JSON list, or values between commas."""
    from core.spec import holds_text  # its models take a while to build

    values = _json(f"[{text}]")
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
        text, values = text.strip()[1:-1], values[0]
    if not isinstance(values, list) or (holds_text(path) and not all(isinstance(each, str) for each in values)):
        return [_value(path, each.strip()) for each in text.split(",")]
    return values


def _value(path: str, text: str) -> Any:
    """JSON, or else text: 16:1 needs no quotes. Of a field that holds text, 3 is text too."""
    from core.spec import holds_text

    value = _json(text)
    return text if holds_text(path) and not isinstance(value, str) else value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
