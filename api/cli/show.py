"""Commands that submit one experiment and look at what there is. They speak HTTP only, to `BALLAST_URL`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.patience import say_when_trying
from api.cli.printing import AsJson, duration, in_words, note, on_terminal, print_json, print_table, sparkline
from api.client import Client
from core.address import service_url
from core.reading import UnreadableSpec, read_json
from core.states import State

app = typer.Typer()

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]


AnId = Annotated[int | None, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]
SweepOption = Annotated[
    int | None, typer.Option("--sweep", metavar="SWEEP", min=1, help="The number of a sweep, instead.")
]


def one_of(id: int | None, sweep: int | None) -> int:  # noqa: A002
    """The one that is given. Raises BadParameter for both or none."""
    if (id is None) == (sweep is None):
        raise typer.BadParameter("give the number of an experiment, or --sweep with that of a sweep")
    return id or sweep or 0


@contextmanager
def connected() -> Iterator[Client]:
    client = Client(service_url())
    say_when_trying("for 20 seconds")
    try:
        yield client
    finally:
        client.close()


@app.command(epilog="Example: ballast submit spec.json --priority 5")
def submit(
    file: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")],
    priority: Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")] = 0,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Only if there is none of the same spec, but failed or cancelled ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue one experiment."""
    spec = read_spec(file)
    with connected() as client:
        experiment = client.submit(spec, priority, dedupe)
    for sentence in warnings(spec):
        note(f"warning: {sentence}")
    number, there = experiment["id"], "was there already and " if experiment.there else ""
    if as_json:
        print_json(experiment)
    else:
        say_queued(experiment, there)
    if as_json and there:
        note(f"experiment {number} was there already")


def say_queued(experiment: dict[str, Any], there: str = "") -> None:
    number = experiment["id"]
    print(
        f"experiment {number} {there}is {experiment['state']}: `ballast wait {number}` waits for it, "
        f"`ballast curve {number}` shows how far it is"
    )


@app.command(epilog="Example: ballast extend 417 --epochs 2000")
def extend(
    id: Id,  # noqa: A002 - the contract's name
    epochs: Annotated[int, typer.Option(min=2, max=1_000_000, help="In all, more than it has.")],
    priority: Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Go on with an experiment that succeeded, for more epochs, as a new one that begins with its curve."""
    with connected() as client:
        experiment = client.extend(id, epochs, priority)
    if as_json:
        print_json(experiment)
    else:
        say_queued(experiment)


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
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json(found)
    elif sweeps:
        print_sweeps(found)
    else:
        print_experiments(found)
    if more:
        note(f"these are the newest {limit}: there are more, and --limit shows them")


def print_experiments(found: list[dict[str, Any]]) -> None:
    print_table(
        ("id", "state", "weight", "seed", "data set", "model", "epochs", "name"),
        (
            (
                each["id"],
                each["state"],
                each["spec"]["importance_weight"],
                each["spec"]["seed"],
                each["spec"]["dataset"]["name"],
                each["spec"]["model"]["name"],
                f"{each['epochs_done']}/{each['epochs_total']}",
                each["name"],
            )
            for each in found
        ),
    )


def print_sweeps(found: list[dict[str, Any]]) -> None:
    print_table(
        ("id", "name", "experiments", "epochs", "time left"),
        (
            (
                each["id"],
                each["name"] or each["preset"] or "",
                in_words(each["counts"]),
                f"{each['epochs_done']}/{each['epochs_total']}",
                duration(each["eta_seconds"]),
            )
            for each in found
        ),
    )


@app.command(epilog="Example: ballast show 417")
def show(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Show one experiment and what happened to it, or a sweep and its members."""
    with connected() as client:
        number = one_of(id, sweep)
        if sweep is not None:
            _show_sweep(client.sweep(number, members=500), as_json)
        else:
            _show_experiment(client.experiment(number), client.events(number), as_json)


def _show_sweep(sweep: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(sweep)
        return
    print_sweeps([sweep])
    if sweep["waiting_because"]:
        note(f"waiting: {sweep['waiting_because']}")
    print()
    members = sweep["members"]["items"]
    print_experiments(members)
    count = sum(sweep["counts"].values())
    if count > len(members):
        note(f"and {count - len(members)} more: `ballast list --sweep {sweep['id']} --limit {count}` shows all")


def _show_experiment(experiment: dict[str, Any], events: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(experiment)
        return
    shown = (
        "id",
        "name",
        "state",
        "requested",
        "waiting_because",
        "worker",
        "sweep_id",
        "extends",
        "attempt",
        "failures",
        "priority",
    )
    rows: list[tuple[str, Any]] = [(key, experiment[key]) for key in shown if experiment[key] not in (None, "")]
    rows.append(("epochs", f"{experiment['epochs_done']}/{experiment['epochs_total']}"))
    if experiment["eta_seconds"] is not None:
        rows.append(("time left", duration(experiment["eta_seconds"])))
    if experiment["stalled"]:
        rows.append(("stalled", "no epoch for far longer than epochs take"))
    if experiment["error"]:
        rows.append(("error", f"{experiment['error']['kind']}: {experiment['error']['message']}"))
    rows.append(("spec", json.dumps(experiment["spec"])))
    if experiment["provenance"]:
        rows.append(("trained with", trained_with(experiment["provenance"])))
    print_table(("field", "value"), rows)
    print()
    print_table(
        ("at", "event", "attempt", "worker", "detail"),
        ((each["at"], each["kind"], each["attempt"], each["worker"], each["detail"]) for each in events),
    )


def trained_with(provenance: dict[str, Any]) -> str:
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
    id: Id,  # noqa: A002
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


def read_spec(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises UnreadableSpec."""
    value = read_json(file)
    if not isinstance(value, dict):
        raise UnreadableSpec(
            f"{file} holds no JSON object: a spec looks like "
            '{"dataset": {"name": "mnist"}, "importance_weight": "16:1"}'
        )
    return value


def warnings(spec: dict[str, Any]) -> list[str]:
    from pydantic import ValidationError

    from core.spec import Spec  # its models take a while to build

    try:
        return Spec.model_validate(spec).warnings()
    except ValidationError:
        return []  # the service is of another version, and took it
