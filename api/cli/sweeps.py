"""Commands of sweeps: a whole figure in one line, its picture, and what presets there are."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer

from api.cli.printing import AsJson, print_json, print_table
from api.cli.show import connected
from api.cli.watch import follow
from core.analysis.groups import differences
from core.errors import BallastError
from core.faults import read_json
from core.presets import PresetName

app = typer.Typer()

Json = dict[str, Any]

_PRESETS: tuple[str, ...] = get_args(PresetName)


class CannotWrite(BallastError):
    """A file that was asked for cannot be written."""


def _presets() -> list[str]:
    return list(_PRESETS)


@app.command(
    epilog="Example: ballast sweep figure-2 --set epochs=50 --set dataset.train_per_class=200 --seeds 5 --dry-run"
)
def sweep(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A preset, or a JSON file with a spec or a sweep; - reads standard input.",
            autocompletion=_presets,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field of every member.")
    ] = None,
    more_axes: Annotated[
        list[str] | None, typer.Option("--axis", metavar="PATH=V1,V2,…", help="Vary a field; the last fastest.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Seeds 0 to N - 1 of everything.")] = None,
    as_drawn: Annotated[bool, typer.Option("--as-drawn", help="The weights of the paper's picture.")] = False,
    name: Annotated[str, typer.Option(help="Yours.")] = "",
    priority: Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")] = 0,
    into: Annotated[int | None, typer.Option(min=1, metavar="SWEEP", help="Let this sweep grow instead.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be queued, and queue nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue all experiments of a grid, or of a figure of the paper."""
    axes = _axes(more_axes or [], seeds)
    if into is not None and (source or changes or as_drawn or name or dry_run):
        raise typer.BadParameter("a sweep grows by --axis and --seeds only")
    if into is None and source is None:
        raise typer.BadParameter(f"give a preset ({', '.join(_PRESETS)}) or a JSON file")
    with connected() as client:
        if into is not None:
            made = client.grow(into, axes, priority)
        else:
            request = _request(source or "", changes or [], axes, as_drawn, name)
            if dry_run:
                _say_what_would_be(client.try_sweep(request), as_json)
                return
            made = client.submit_sweep(request, priority)
        _say_what_was_made(made, grown=into is not None, watched=watch, as_json=as_json)
        if watch:
            follow(client, made["id"], as_json)


@app.command(epilog="Example: ballast figure 12 --out figure.svg")
def figure(
    sweep: Annotated[int, typer.Argument(metavar="SWEEP", min=1, help="The number of a sweep.")],
    out: Annotated[Path, typer.Option(help="A file .png or .svg; - writes PNG to standard output.")] = Path(
        "figure.png"
    ),
    as_json: AsJson = False,
) -> None:
    """Draw a sweep as the paper does, as far as it has come."""
    to_stdout = out == Path("-")
    file_format = "png" if to_stdout else out.suffix.removeprefix(".").lower()
    if file_format not in ("png", "svg"):
        raise typer.BadParameter(f"{out} is neither .png nor .svg")
    if to_stdout and sys.stdout.isatty():
        raise typer.BadParameter("a terminal shows no PNG: name a file, or pipe it")
    if to_stdout and as_json:
        raise typer.BadParameter("--out - writes the picture where --json would print")
    with connected() as client:
        picture = client.figure(sweep, cast(Literal["png", "svg"], file_format))
    if to_stdout:
        sys.stdout.buffer.write(picture)
        return
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise CannotWrite(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        print_json({"sweep_id": sweep, "file": str(out)})
    else:
        print(f"wrote {out}")


@app.command(epilog="Example: ballast presets figure-4 --as-drawn")
def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", autocompletion=_presets)] = None,
    as_drawn: Annotated[bool, typer.Option("--as-drawn", help="The weights of the paper's picture.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the paper's figures, or what one of them would run."""
    with connected() as client:
        found: Any = client.presets() if name is None else client.preset(name, as_drawn)
    if as_json:
        print_json(found)
    elif name is None:
        print_table(("name", "experiments", "title"), ((each["name"], each["count"], each["title"]) for each in found))
    else:
        _say_what_would_be(found, as_json)


def _request(source: str, changes: list[str], axes: Json, as_drawn: bool, name: str) -> Json:
    if source in _PRESETS:
        request: Json = {"preset": source}
    elif source == "-" or _exists(Path(source)):
        found = read_json(Path(source))
        # A whole spec is the base of a sweep.
        request = {"base": found} if isinstance(found, dict) and "dataset" in found else found
        if not isinstance(request, dict):
            raise typer.BadParameter(f"{source} holds no JSON object: a spec, or a sweep with base and axes")
    else:
        raise typer.BadParameter(f"{source[:100]} is neither a file nor a preset (there are {', '.join(_PRESETS)})")
    for path, value in map(_split, changes):
        request["base"] = _with(request.get("base"), path.split("."), _value(value))
    if axes:
        request["axes"] = {**(request.get("axes") or {}), **axes}
    return request | ({"as_drawn": True} if as_drawn else {}) | ({"name": name} if name else {})


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name that no file can have: the content of one, by mistake
        return False


def _axes(given: list[str], seeds: int | None) -> Json:
    pairs = [(path, _values(text)) for path, text in map(_split, given)]
    if seeds is not None:
        pairs.append(("seed", list(range(seeds))))
    axes = dict(pairs)
    if len(axes) < len(pairs):
        raise typer.BadParameter("an axis is given twice: put all its values into one --axis or --seeds")
    return axes


def _split(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not path or not equals:
        raise typer.BadParameter(f"{text!r} is not PATH=VALUE, such as optimizer.lr=0.05")
    return path, value


def _with(value: Any, keys: list[str], leaf: Any) -> Json:
    """`value` with `leaf` at `keys`."""
    here = dict(value) if isinstance(value, dict) else {}
    here[keys[0]] = _with(here.get(keys[0]), keys[1:], leaf) if len(keys) > 1 else leaf
    return here


def _values(text: str) -> list[Any]:
    """A JSON list, or values between commas."""
    values = _value(f"[{text}]")
    if not isinstance(values, list):
        return [_value(each) for each in text.split(",")]
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _value(text: str) -> Any:
    """JSON, or else text: 16:1 needs no quotes."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _say_what_was_made(made: Json, *, grown: bool, watched: bool, as_json: bool) -> None:
    if as_json and watched:
        print(json.dumps(made), flush=True)  # JSON lines follow
    elif as_json:
        print_json(made)
    else:
        count = sum(made["counts"].values())
        done = f"has {count} experiments now" if grown else f"is queued with {count} experiments"
        hint = "" if watched else f": follow it with `ballast watch {made['id']}`"
        print(f"sweep {made['id']} {done}{hint}", flush=True)


def _say_what_would_be(found: Json, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    specs = found["specs"]
    print_table(
        ("weight", "seed", "epochs", "data set", "model", "what differs"),
        (
            (
                spec["importance_weight"],
                spec["seed"],
                spec["epochs"],
                spec["dataset"]["name"],
                spec["model"]["name"],
                what,
            )
            for spec, what in zip(specs, differences(specs), strict=True)
        ),
    )
    print(f"{found['count']} experiments")
