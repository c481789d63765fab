"""Commands that speak HTTP only, to `BALLAST_URL`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from api.cli.printing import AsJson, note, print_json, print_table
from api.client import Client
from core.faults import UnreadableSpec, read_json
from core.settings import load_settings
from core.spec import Spec
from core.states import State

app = typer.Typer()

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]


@contextmanager
def connected() -> Iterator[Client]:
    client = Client(load_settings().url)
    try:
        yield client
    finally:
        client.close()


@app.command(epilog="Example: ballast submit spec.json --priority 5")
def submit(
    file: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")],
    priority: Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Queue one experiment."""
    spec = read_spec(file)
    with connected() as client:
        experiment = client.submit(spec, priority)
    for sentence in warnings(spec):
        note(f"warning: {sentence}")
    if as_json:
        print_json(experiment)
    else:
        print(
            f"experiment {experiment['id']} is {experiment['state']}: follow it with `ballast curve {experiment['id']}`"
        )


@app.command("list", epilog="Example: ballast list --state running")
def list_experiments(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those on this data set.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    importance_weight: Annotated[
        str | None, typer.Option(metavar="BASE:OTHER", help="Only those of this weight.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""
    filters = {"state": state, "dataset": dataset, "model": model, "importance_weight": importance_weight}
    with connected() as client:
        found = list(client.experiments(limit, **filters))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "state", "weight", "data set", "model", "epochs", "name"),
        (
            (
                each["id"],
                each["state"],
                each["spec"]["importance_weight"],
                each["spec"]["dataset"]["name"],
                each["spec"]["model"]["name"],
                f"{each['epochs_done']}/{each['epochs_total']}",
                each["name"],
            )
            for each in found
        ),
    )


@app.command(epilog="Example: ballast show 417")
def show(id: Id, as_json: AsJson = False) -> None:  # noqa: A002 - the contract's name
    """Show one experiment and what happened to it."""
    with connected() as client:
        experiment, events = client.experiment(id), client.events(id)
    if as_json:
        print_json(experiment)
        return
    shown = ("id", "name", "state", "requested", "worker", "attempt", "failures", "priority")
    rows: list[tuple[str, Any]] = [(key, experiment[key]) for key in shown if experiment[key] not in (None, "")]
    rows.append(("epochs", f"{experiment['epochs_done']}/{experiment['epochs_total']}"))
    if experiment["error"]:
        rows.append(("error", f"{experiment['error']['kind']}: {experiment['error']['message']}"))
    rows.append(("spec", json.dumps(experiment["spec"])))
    print_table(("field", "value"), rows)
    print()
    print_table(
        ("at", "event", "attempt", "worker", "detail"),
        ((each["at"], each["kind"], each["attempt"], each["worker"], each["detail"]) for each in events),
    )


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


@app.command(epilog="Example: ballast cancel 417")
def cancel(id: Id, as_json: AsJson = False) -> None:  # noqa: A002
    """Cancel an experiment: at once while it waits, within seconds while it runs."""
    with connected() as client:
        experiment = client.cancel(id)
    if as_json:
        print_json(experiment)
    elif experiment["requested"]:
        print(f"experiment {id} is {experiment['state']} and will be cancelled within seconds")
    else:
        print(f"experiment {id} is {experiment['state']}")


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
    try:
        return Spec.model_validate(spec).warnings()
    except ValidationError:
        return []  # the service is of another version, and took it
