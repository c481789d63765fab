"""Commands of sweeps: a whole figure in one line, its picture, and what presets there are."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from api.cli.errors import CannotWrite
from api.cli.printing import AsJson, counted, on_terminal, print_json, print_table
from api.cli.request import PRESETS, sweep_axes, sweep_request
from api.cli.show import connected
from api.cli.watch import follow

app = typer.Typer()

Json = dict[str, Any]


def _presets() -> list[str]:
    return list(PRESETS)


@app.command(epilog="Example: ballast sweep figure-2 --set epochs=50 --seeds 5 --dry-run")
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
    into: Annotated[
        int | None,
        typer.Option(min=1, metavar="SWEEP", help="Grow this sweep; what was deleted of it is made again."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be queued, and queue nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue all experiments of a grid, or of a figure of the paper."""
    axes = sweep_axes(more_axes or [], seeds)
    if into is not None and (source or changes or as_drawn or name):
        raise typer.BadParameter("a sweep grows by --axis and --seeds only")
    if into is None and source is None:
        raise typer.BadParameter(f"give a preset ({', '.join(PRESETS)}) or a JSON file")
    request = {} if into else sweep_request(source or "", changes or [], axes, as_drawn, name)
    with connected() as client:
        if dry_run:
            _say_what_would_be(client.try_growth(into, axes) if into else client.try_sweep(request), as_json)
            return
        before = _count(client.sweep(into)) if into else 0
        made = client.grow(into, axes, priority) if into else client.submit_sweep(request, priority)
        _say_what_was_made(made, before, watched=watch, as_json=as_json)
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
    if to_stdout and on_terminal():
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


def _say_what_was_made(made: Json, before: int, *, watched: bool, as_json: bool) -> None:
    if as_json and watched:
        print(json.dumps(made), flush=True)  # JSON lines follow
    elif as_json:
        print_json(made)
    else:
        count = _count(made)
        grown = f"has {counted(count)} now, {count - before} of them new"
        done = f"is queued with {counted(count)}" if not before else grown
        hint = "" if watched else f": follow it with `ballast watch {made['id']}`"
        print(f"sweep {made['id']} {done}{hint}", flush=True)


def _count(sweep: Json) -> int:
    return sum(sweep["counts"].values())


def _say_what_would_be(found: Json, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    from core.analysis.groups import differences, shared  # the spec's models take a while to build

    specs = found["specs"]
    if not specs:
        print("nothing that is not there already")
        return
    print_table(
        ("weight", "seed", "what differs"),
        ((spec["importance_weight"], spec["seed"], what) for spec, what in zip(specs, differences(specs), strict=True)),
    )
    print(f"{counted(found['count'])}: {shared(specs)}")
