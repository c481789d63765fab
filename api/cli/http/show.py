"""Commands that look at what there is: experiments, sweeps, curves and what is kept beside them, workers. They speak
HTTP only, to `BALLAST_URL`.
"""

from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.http.common import AnId, Id, SweepOption, connected, one_of
from api.cli.http.rows import last_fraction, local_time, print_experiments, print_sweeps, took_seconds
from api.cli.printing import (
    AsJson,
    duration,
    fraction,
    in_runs,
    note,
    on_terminal,
    print_json,
    print_table,
    refuse_binary_on_terminal,
    sparkline,
    unquoted,
    write_file,
)
from core.states import State

app = typer.Typer()

Json = dict[str, Any]


@app.command("list", epilog="Example: ballast list --state running")
def list_experiments(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those on this data set.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    importance_weight: Annotated[
        str | None, typer.Option(metavar="BASE:OTHER", help="Only those of this weight.")
    ] = None,
    sweep: Annotated[int | None, typer.Option(min=1, help="Only members of this sweep.")] = None,
    sweeps: Annotated[bool, typer.Option("--sweeps", help="List sweeps instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List experiments, or sweeps, newest first."""
    filters: dict[str, str | int | None] = {
        "state": state,
        "sweep": sweep,
        "dataset": dataset,
        "model": model,
        "importance_weight": importance_weight,
    }
    if sweeps and any(value is not None for value in filters.values()):
        raise typer.BadParameter("--sweeps takes no filter of experiments")
    with connected() as client:
        found = list(client.sweeps(limit + 1) if sweeps else client.experiments(limit + 1, **filters))
        if sweep is not None and not found:
            client.sweep(sweep)  # which says so where there is none
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json(found)
    elif sweeps:
        print_sweeps(found)
    else:
        print_experiments(found, of_one_sweep=sweep is not None)
    if more:
        note(f"these are the newest {limit}: there are more, and --limit shows them")


@app.command(epilog="Example: ballast show 417")
def show(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Show one experiment and what happened to it, or a sweep and its members."""
    with connected() as client:
        number = one_of(id, sweep)
        if sweep is not None:
            _show_sweep(client.sweep(number, members=500), as_json)
        else:
            _show_experiment(client.experiment(number), client.events(number), as_json)


def _show_sweep(sweep: Json, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
        return
    print_sweeps([sweep])
    if sweep["waiting_because"]:
        note(f"waiting: {sweep['waiting_because']}")
    print()
    members = sweep["members"]["items"]
    print_experiments(members, of_one_sweep=True)
    count = sum(sweep["counts"].values())
    if count > len(members):
        note(f"and {count - len(members)} more: `ballast list --sweep {sweep['id']} --limit {count}` shows all")


def _show_experiment(experiment: Json, events: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(experiment)
        return
    facts = {
        **{key: experiment[key] for key in _TOLD},
        "epochs": f"{experiment['epochs_done']}/{experiment['epochs_total']}",
        **_progress(experiment),
        **{key: _part(value) for key, value in experiment["spec"].items() if key not in ("name", "epochs")},
        "trained with": trained_with(experiment["provenance"] or {}),
    }
    print_table(("field", "value"), ((key, value) for key, value in facts.items() if value not in (None, "")))
    print()
    print_table(
        ("at", "event", "attempt", "worker", "detail"),
        ((each["at"], each["kind"], each["attempt"], each["worker"], each["detail"]) for each in events),
    )


_TOLD = (
    *("id", "name", "state", "requested", "waiting_because", "worker", "sweep_id", "extends"),
    *("attempt", "failures", "priority"),
)


def _progress(experiment: Json) -> dict[str, Any]:
    """How far it has come, how long that took, and what came of it."""
    row, error = experiment["last_row"], experiment["error"]
    after = f" after epoch {row['epoch']}" if row else ""
    return {
        "base in-domain": row and f"{last_fraction(experiment, 'base_fraction_in_domain')}{after}",
        "base out-of-domain": row and f"{last_fraction(experiment, 'base_fraction_out_of_domain')}{after}",
        "error": error and f"{error['kind']}: {error['message']}",
        "stalled": "no epoch for far longer than epochs take" if experiment["stalled"] else None,
        "created": local_time(experiment["created_at"]),
        "started": local_time(experiment["started_at"]),
        "ended": local_time(experiment["ended_at"]),
        "took": _duration(took_seconds(experiment)),
        "time left": _duration(experiment["eta_seconds"]),
    }


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)


def _part(value: Any) -> str:
    """A field of a spec for a person: "cnn, width 64, dropout 0"."""
    if not isinstance(value, dict):
        return unquoted(value)
    name = [value["name"]] if "name" in value else []
    given = [f"{key} {unquoted(each)}" for key, each in value.items() if key != "name" and each is not None]
    return ", ".join([*name, *given])


def trained_with(provenance: Json) -> str:
    """What a reader asks first; `--json` has it all."""
    code = provenance.get("code") or {}
    commit = f" ({code['commit'][:12]}{', changed' if code.get('dirty') else ''})" if code.get("commit") else ""
    said = {
        "Ballast": code.get("version") and f"{code['version']}{commit}",
        "torch": (provenance.get("packages") or {}).get("torch"),
        "on": (provenance.get("device") or {}).get("name"),
        "threads": provenance.get("threads"),
        "data": ((provenance.get("dataset") or {}).get("sha256") or "")[:12],
    }
    return ", ".join(f"{key} {value}" for key, value in said.items() if value)


@app.command(epilog="Example: ballast curve 417 --after 100")
def curve(
    id: Id,
    after: Annotated[int, typer.Option(min=0, help="Only rows after this epoch.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the curve of an experiment."""
    with connected() as client:
        found = client.curve(id, after)
    if as_json:
        print_json(found)
        return
    columns = ("epoch", "base_fraction_in_domain", "base_fraction_out_of_domain", "train_loss", "accuracy_in_domain")
    print_table(
        ("epoch", "base in-domain", "base out-of-domain", "train loss", "accuracy"),
        zip(*(found[column] for column in columns), strict=True),
    )
    if on_terminal():
        print(f"\nbase fraction in-domain      {sparkline(found['base_fraction_in_domain'])}")
        print(f"base fraction out-of-domain  {sparkline(found['base_fraction_out_of_domain'])}")


@app.command(epilog="Example: ballast workers")
def workers(as_json: AsJson = False) -> None:
    """List the worker processes, the living first."""
    with connected() as client:
        found = client.workers()
    if as_json:
        print_json(found)
        return
    columns = ("id", "host", "pid", "device", "state", "experiment_id", "seen_at")
    print_table(columns, ([each[column] for column in columns] for each in found))


@app.command(epilog="Example: ballast predictions 417 --epoch 1")
def predictions(
    id: Id,
    epoch: Annotated[int | None, typer.Option(min=1, help="One that is kept; by default the last.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which predictions are kept, and how many images of each test set are predicted as the base class; with --json
    image by image."""
    with connected() as client:
        found = client.predictions(id, epoch)
    if as_json:
        print_json(found)
        return
    rows = []
    for name, images in found["sets"].items():
        base = sum(map(int.bit_count, b64decode(images["base64"])))
        rows.append((name.replace("_", "-"), images["n"], base, fraction(base / images["n"] if images["n"] else None)))
    print_table(("test set", "images", "base", "base fraction"), rows)
    print(f"after epoch {found['epoch']}; predictions are kept of epochs {in_runs(found['epochs'])}")


@app.command(epilog="Example: ballast weights 417 --out weights.safetensors")
def weights(
    id: Id,
    out: Annotated[
        Path | None, typer.Option(help="By default experiment-ID.safetensors; - is standard output.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download the weights of an experiment after its last epoch, as safetensors."""
    file = out or Path(f"experiment-{id}.safetensors")
    refuse_binary_on_terminal(file, as_json)
    with connected() as client:
        content = client.weights(id)
    write_file(file, content, {"experiment_id": id}, as_json)
