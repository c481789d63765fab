"""Commands of sweeps: a whole figure in one line, its picture, and what presets there are."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer

from api.cli.http.arguments import Changes, Device, From, Priority
from api.cli.http.connection import service_client
from api.cli.http.dry_run import print_dry_run
from api.cli.http.request import PRESETS, request_from, spec_of_experiment, sweep_axes, sweep_request
from api.cli.http.watch import follow_sweep
from api.cli.printing import (
    AsJson,
    counts_in_words,
    experiment_count,
    print_json,
    print_note,
    print_table,
    refuse_binary_on_terminal,
    write_file,
)
from api.client import Made, PictureFormat

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
    origin: From = None,
    changes: Changes = None,
    more_axes: Annotated[
        list[str] | None, typer.Option("--axis", metavar="PATH=V1,V2,…", help="Vary a field; the last fastest.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Seeds 0 to N - 1 of everything.")] = None,
    as_drawn: Annotated[bool, typer.Option("--as-drawn", help="The weights of the paper's picture.")] = False,
    name: Annotated[str, typer.Option(help="Yours.")] = "",
    priority: Priority = 0,
    device: Device = None,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Only if there is no sweep of just the same, none of it cancelled.")
    ] = False,
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
    if into is not None and (source or origin or changes or as_drawn or name or dedupe):
        raise typer.BadParameter("a sweep grows by --axis and --seeds only")
    if into is None and (source is None) == (origin is None):
        raise typer.BadParameter(f"give a preset ({', '.join(PRESETS)}), a JSON file, or --from with an experiment")
    given = {} if source is None else request_from(source)
    with service_client() as client:
        base = given if origin is None else {"base": spec_of_experiment(client, origin)}
        request = sweep_request(base, changes or [], axes, as_drawn, name)
        if dry_run:
            tried = client.try_growth(into, axes, device) if into else client.try_sweep(request, dedupe, device)
            print_dry_run(tried, as_json)
            return
        before = _count(client.sweep(into)) if into else 0
        if into:
            made = client.grow(into, axes, priority, device=device)
        else:
            made = client.submit_sweep(request, priority, dedupe, device=device)
        _print_sweep_made(made, before, watched=watch, as_json=as_json)
        if watch:
            follow_sweep(client, made["id"], as_json)


@app.command(epilog="Example: ballast figure 12 --bands --out figure.svg")
def figure(
    sweeps: Annotated[list[int], typer.Argument(metavar="SWEEP", min=1, help="Numbers of sweeps, from the top.")],
    out: Annotated[Path, typer.Option(help="A file .png, .svg or .pdf; - writes PNG to standard output.")] = Path(
        "figure.png"
    ),
    bands: Annotated[bool, typer.Option("--bands", help="95 % over the fit seeds of a weight, not each seed.")] = False,
    rows: Annotated[
        str | None, typer.Option(metavar="1,2,…|TITLE", help="Rows by their numbers, or by a part of their titles.")
    ] = None,
    scale: Annotated[
        Literal["linear", "log"] | None, typer.Option(help="Of the epochs; by itself by how many there are.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw sweeps as the paper does, as far as they have come."""
    file_format = "png" if out == Path("-") else out.suffix.removeprefix(".").lower()
    if file_format not in get_args(PictureFormat):
        raise typer.BadParameter(f"{out} is neither .png nor .svg nor .pdf")
    refuse_binary_on_terminal(out, as_json)
    sweep, *others = sweeps
    with service_client() as client:
        picture = client.figure(sweep, cast(PictureFormat, file_format), others, bands, rows, scale)
    write_file(out, picture, {"sweep_id": sweep, "with": others}, as_json)


@app.command(epilog="Example: ballast presets figure-4 --as-drawn")
def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", autocompletion=_presets)] = None,
    as_drawn: Annotated[bool, typer.Option("--as-drawn", help="The weights of the paper's picture.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the presets: the paper's figures, and sweeps of a minute; or what one of them would run."""
    with service_client() as client:
        answer: Any = client.presets() if name is None else client.preset(name, as_drawn)
    if as_json:
        print_json(answer)
    elif name is None:
        print_table(("name", "experiments", "title"), ((each["name"], each["count"], each["title"]) for each in answer))
    else:
        print_dry_run(answer, as_json)


def _print_sweep_made(made: Made, before: int, *, watched: bool, as_json: bool) -> None:
    if made.there:
        print_note(f"sweep {made['id']} was there already")
    if as_json and watched:
        print(json.dumps(made), flush=True)  # JSON lines follow
    elif as_json:
        print_json(made)
    elif made.there:
        print(f"sweep {made['id']} has {counts_in_words(made['counts'])}", flush=True)
    else:
        count = _count(made)
        grown = f"has {experiment_count(count)} now, {count - before} of them new"
        done = f"is queued with {experiment_count(count)}" if not before else grown
        hint = "" if watched else f": follow it with `ballast watch {made['id']}`"
        print(f"sweep {made['id']} {done}{hint}", flush=True)


def _count(sweep: Json) -> int:
    return sum(sweep["counts"].values())
