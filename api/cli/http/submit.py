"""Commands that queue one experiment, or what goes on from one or from a sweep. New sweeps are in `sweeps`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.http.arguments import Changes, Device, From, OptionalId, Priority, SweepOption, id_or_sweep
from api.cli.http.connection import service_client
from api.cli.http.dry_run import print_dry_run
from api.cli.http.request import spec_of_experiment, with_changes
from api.cli.printing import AsJson, experiment_count, number_ranges, print_json, print_note
from api.client import Made
from core.reading import UnreadableSpec, read_json
from core.states import clause

app = typer.Typer()


@app.command(epilog="Example: ballast submit --from 12 --set optimizer.lr=0.05")
def submit(
    file: Annotated[Path | None, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")] = None,
    origin: From = None,
    changes: Changes = None,
    priority: Priority = 0,
    device: Device = None,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Only if there is none of the same spec, but failed or cancelled ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue one experiment."""
    if (file is None) == (origin is None):
        raise typer.BadParameter("give either a JSON file or --from with the number of an experiment")
    given = {} if file is None else read_spec(file)
    with service_client() as client:
        spec = with_changes(given if origin is None else spec_of_experiment(client, origin), changes or [])
        experiment = client.submit(spec, priority, dedupe, device=device)
    for sentence in spec_warnings(spec):
        print_note(f"warning: {sentence}")
    if as_json:
        print_json(experiment)
    else:
        print_queued(experiment, "was there already and " if experiment.there else "")
    if as_json and experiment.there:
        print_note(f"experiment {experiment['id']} was there already")


def print_queued(experiment: dict[str, Any], there: str = "") -> None:
    number = experiment["id"]
    print(
        f"experiment {number} {there}{clause(experiment['state'])}: `ballast wait {number}` waits for it, "
        f"`ballast curve {number}` shows how far it is"
    )


@app.command(epilog="Example: ballast extend 417 --epochs 2000")
def extend(
    epochs: Annotated[int, typer.Option(min=2, max=1_000_000, help="In all, more than it has.")],
    id: OptionalId = None,
    sweep: SweepOption = None,
    priority: Priority = 0,
    device: Device = None,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Of a sweep: only if there is none of just the same, none of it cancelled.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of a sweep: say what would be queued, and queue nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with an experiment that succeeded, or with all of a sweep that did, for more epochs, as a new one that
    begins with its curves."""
    number = id_or_sweep(id, sweep)
    if sweep is None and (dedupe or dry_run):
        raise typer.BadParameter("--dedupe and --dry-run are of a sweep: give --sweep")
    with service_client() as client:
        if dry_run:
            found = client.try_extension(number, epochs, dedupe, device)
            print_dry_run(found, as_json)
            if not as_json:
                _print_left_out(found["left_out"])
            return
        if sweep is None:
            made = client.extend(number, epochs, priority, device=device)
        else:
            made = client.extend_sweep(number, epochs, priority, dedupe, device=device)
    if as_json and made.there:
        print_note(f"sweep {made['id']} was there already")
    if as_json:
        print_json(made)
    elif sweep is None:
        print_queued(made)
    else:
        _print_extended(made)


def _print_extended(sweep: Made) -> None:
    number, count = sweep["id"], experiment_count(sum(sweep["counts"].values()))
    done = "was there already" if sweep.there else "is queued"
    print(
        f"sweep {number} {done} with {count} that go on from sweep {sweep['extends']}: "
        f"follow it with `ballast watch {number}`",
        flush=True,
    )
    _print_left_out(sweep["left_out"])


def _print_left_out(experiments: list[dict[str, Any]]) -> None:
    left_out: dict[tuple[str, str], list[int]] = {}
    for each in experiments:
        left_out.setdefault((each["state"], each["reason"]), []).append(each["id"])
    for (state, reason), ids in left_out.items():
        which = f"experiment {ids[0]}" if len(ids) == 1 else f"experiments {number_ranges(sorted(ids))}"
        print_note(f"left out: {which} ({state}): {reason}")


def read_spec(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises UnreadableSpec."""
    value = read_json(file)
    if not isinstance(value, dict):
        raise UnreadableSpec(
            f"{file} holds no JSON object: a spec looks like "
            '{"dataset": {"name": "mnist"}, "importance_weight": "16:1"}'
        )
    return value


def spec_warnings(spec: dict[str, Any]) -> list[str]:
    from pydantic import ValidationError

    from core.spec import Spec  # its models take a while to build

    try:
        return Spec.model_validate(spec).warnings()
    except ValidationError:
        return []  # the service is of another version, and took it
