"""Commands that look at what there is: experiments, sweeps, workers. What came of an experiment is in `results`."""

from typing import Annotated, Any

import typer

from api.cli.http.arguments import OptionalId, SweepOption, id_or_sweep
from api.cli.http.connection import service_client
from api.cli.http.tables import (
    elapsed_seconds,
    fit_in_words,
    fraction_in_last_row,
    local_time,
    print_experiments,
    print_sweeps,
)
from api.cli.printing import AsJson, duration, print_json, print_note, print_table, unquoted
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
    with service_client() as client:
        listed = list(client.sweeps(limit + 1) if sweeps else client.experiments(limit + 1, **filters))
        if sweep is not None and not listed:
            client.sweep(sweep)  # which says so where there is none
    more = len(listed) > limit
    listed = listed[:limit]
    if as_json:
        print_json(listed)
    elif sweeps:
        print_sweeps(listed)
    else:
        print_experiments(listed, of_one_sweep=sweep is not None)
    if more:
        print_note(f"these are the newest {limit}: there are more, and --limit shows them")


@app.command(epilog="Example: ballast show 417")
def show(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Show one experiment and what happened to it, or a sweep and its members."""
    with service_client() as client:
        number = id_or_sweep(id, sweep)
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
        print_note(f"waiting: {sweep['waiting_because']}")
    print()
    members = sweep["members"]["items"]
    print_experiments(members, of_one_sweep=True)
    count = sum(sweep["counts"].values())
    if count > len(members):
        print_note(f"and {count - len(members)} more: `ballast list --sweep {sweep['id']} --limit {count}` shows all")


def _show_experiment(experiment: Json, events: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(experiment)
        return
    facts = {
        **{key: experiment.get(key) for key in _FIELDS},  # an older service says no device
        "epochs": f"{experiment['epochs_done']}/{experiment['epochs_total']}",
        **_progress(experiment),
        **{key: _part(value) for key, value in experiment["spec"].items() if key not in ("name", "epochs")},
        "trained with": _provenance_in_words(experiment["provenance"] or {}),
    }
    print_table(("field", "value"), ((key, value) for key, value in facts.items() if value not in (None, "")))
    print()
    print_table(
        ("at", "event", "attempt", "by", "detail"),
        (
            (each["at"], each["kind"], each["attempt"], each["worker"] or each["actor"], each["detail"])
            for each in events
        ),
    )


_FIELDS = (
    *("id", "name", "owner", "state", "requested", "waiting_because", "worker", "sweep_id", "extends"),
    *("attempt", "failures", "priority", "device"),
)


def _progress(experiment: Json) -> dict[str, Any]:
    """How far it has come, how long that took, and what came of it."""
    row, error = experiment["last_row"], experiment["error"]
    after = f" after epoch {row['epoch']}" if row else ""
    return {
        "base in-domain": row and f"{fraction_in_last_row(experiment, 'base_fraction_in_domain')}{after}",
        "base out-of-domain": row and f"{fraction_in_last_row(experiment, 'base_fraction_out_of_domain')}{after}",
        "network": fit_in_words(experiment),
        "error": error and f"{error['kind']}: {error['message']}",
        "stalled": "no epoch for far longer than epochs take" if experiment["stalled"] else None,
        "created": local_time(experiment["created_at"]),
        "started": local_time(experiment["started_at"]),
        "ended": local_time(experiment["ended_at"]),
        "took": _duration(elapsed_seconds(experiment)),
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


def _provenance_in_words(provenance: Json) -> str:
    """What a reader asks first; `--json` has it all."""
    code = provenance.get("code") or {}
    commit = f" ({code['commit'][:12]}{', changed' if code.get('dirty') else ''})" if code.get("commit") else ""
    facts = {
        "Ballast": code.get("version") and f"{code['version']}{commit}",
        "torch": (provenance.get("packages") or {}).get("torch"),
        "on": (provenance.get("device") or {}).get("name"),
        "threads": provenance.get("threads"),
        "data": ((provenance.get("dataset") or {}).get("sha256") or "")[:12],
    }
    return ", ".join(f"{key} {value}" for key, value in facts.items() if value)


@app.command(epilog="Example: ballast workers")
def workers(as_json: AsJson = False) -> None:
    """List the worker processes, the living first."""
    with service_client() as client:
        answer = client.workers()
    if as_json:
        print_json(answer)
        return
    columns = ["id", "host", "pid", "device", "state", "experiment_id", "seen_at"]
    rows = [[each[column] for column in columns] for each in answer]
    if any(map(_memory, answer)):
        columns += ["memory", "utilisation"]
        rows = [[*row, _memory(each), _percent(each)] for row, each in zip(rows, answer, strict=True)]
    print_table(columns, rows)


def _memory(worker: Json) -> str | None:
    """Of its GPU; None on a CPU, and of an older service."""
    used, total = worker.get("memory_used_mib"), worker.get("memory_total_mib")
    return None if used is None or total is None else f"{used / 1024:.1f}/{total / 1024:.1f} GiB"


def _percent(worker: Json) -> str | None:
    share = worker.get("utilisation")
    return None if share is None else f"{share} %"
