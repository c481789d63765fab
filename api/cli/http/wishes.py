"""Commands that change what there is, an experiment or a whole sweep: its state, its place in the queue, or that it is
deleted. What is waited for is in `waiting`.
"""

import sys
from typing import Annotated, Any

import typer

from api.cli.errors import NotDeleted
from api.cli.http.arguments import OptionalId, SweepOption, id_or_sweep
from api.cli.http.connection import service_client
from api.cli.printing import AsJson, counts_in_words, experiment_count, on_terminal, print_json
from api.client import Ask, Client
from core.states import ENDED, WAITING, State, clause

app = typer.Typer()

Json = dict[str, Any]


@app.command(epilog="Example: ballast cancel 417")
def cancel(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Cancel an experiment or a sweep: at once what waits, within seconds what is running."""
    _ask("cancel", id, sweep, as_json)


@app.command(epilog="Example: ballast pause --sweep 12")
def pause(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Let an experiment or a sweep wait until it is resumed."""
    _ask("pause", id, sweep, as_json)


@app.command(epilog="Example: ballast resume --sweep 12")
def resume(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Queue again what was paused, at its old place."""
    _ask("resume", id, sweep, as_json)


@app.command(epilog="Example: ballast retry --sweep 12")
def retry(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Queue again what failed or was cancelled; not what diverged."""
    _ask("retry", id, sweep, as_json)


@app.command(epilog="Example: ballast priority --sweep 3 5", context_settings={"ignore_unknown_options": True})
def priority(
    numbers: Annotated[list[int], typer.Argument(metavar="[ID] PRIORITY", help="The priority: from -100 to 100.")],
    sweep: SweepOption = None,
    as_json: AsJson = False,
) -> None:
    """Give an experiment, or all of a sweep, another place in the queue: a point is worth an hour of waiting."""
    *ids, value = numbers
    if len(ids) != (1 if sweep is None else 0) or any(each < 1 for each in ids) or not -100 <= value <= 100:
        raise typer.BadParameter(
            "give the number of an experiment, or --sweep with that of a sweep, and then a priority from -100 to 100"
        )
    number = id_or_sweep(ids[0] if ids else None, sweep)
    with service_client() as client:
        answer = client.set_priority(number, value) if sweep is None else client.set_sweep_priority(number, value)
    if as_json:
        print_json(answer)
    elif sweep is None:
        waits = f": {answer['waiting_because']}" if answer["waiting_because"] else ""
        print(f"experiment {number} has priority {value}{waits}")
    else:
        some = any(answer["counts"][state] for state in WAITING)
        subject = f"what waits of sweep {number} has priority {value}: it" if some else f"nothing waits: sweep {number}"
        print(f"{subject} has {counts_in_words(answer['counts'])}")


@app.command(epilog="Example: ballast delete --sweep 12 --yes")
def delete(
    id: OptionalId = None,
    sweep: SweepOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an experiment that has ended, or all members of a sweep that have, with their curves; a sweep, on a
    terminal, is asked for first."""
    number = id_or_sweep(id, sweep)
    with service_client() as client:
        if sweep is not None:
            if not yes and sys.stdin is not None and sys.stdin.isatty() and on_terminal():
                _ask_before_deleting(client.sweep(number))
            _delete_sweep(client, number, as_json)
            return
        client.delete(number)
    if as_json:
        print_json({"id": number, "deleted": True})
    else:
        print(f"experiment {number} is deleted")


def _ask_before_deleting(sweep: Json) -> None:
    """How much would go. Raises Abort."""
    ended = sum(n for state, n in sweep["counts"].items() if state in ENDED)
    if not ended:
        return  # nothing would: which is said
    all_of_it = ended == sum(sweep["counts"].values())
    left = "" if all_of_it else "what has ended of "
    typer.confirm(
        f"Delete {left}sweep {sweep['id']}: {experiment_count(ended)} with curves, predictions, weights and checkpoints"
        + (f", {sweep['epochs_done']} epochs in all?" if all_of_it else "?"),
        abort=True,
        err=True,
    )


def _delete_sweep(client: Client, number: int, as_json: bool) -> None:
    before, remaining = client.sweep(number), client.delete_sweep(number)
    some = any(remaining["counts"].values())
    if some and remaining["counts"] == before["counts"]:
        raise NotDeleted(f"sweep {number} has {counts_in_words(remaining['counts'])}: cancel them to delete them")
    if as_json:
        print_json(remaining)
    elif some:
        print(f"what had ended of sweep {number} is deleted; it still has {counts_in_words(remaining['counts'])}")
    else:
        print(f"sweep {number} is deleted")


def _ask(what: Ask, id: int | None, sweep: int | None, as_json: bool) -> None:
    number = id_or_sweep(id, sweep)
    with service_client() as client:
        before = {} if sweep is None else client.sweep(number)["counts"]
        answer = client.ask(number, what) if sweep is None else client.ask_sweep(number, what)
    if as_json:
        print_json(answer)
    elif sweep is None:
        _print_experiment(answer)
    else:
        _print_sweep(answer, what, before)


def _print_experiment(answer: Json) -> None:
    later = f" and will be {_DONE[answer['requested']]} within seconds" if answer["requested"] else ""
    print(f"experiment {answer['id']} {clause(answer['state'])}{later}")


def _print_sweep(answer: Json, what: Ask, before: dict[str, int]) -> None:
    counts, running = answer["counts"], answer["counts"][State.RUNNING]
    nothing = f"there is nothing to {what}: " if counts == before and not running else ""
    later = "; what is running stops within seconds" if running and what in ("cancel", "pause") else ""
    if what == "retry" and counts[State.FAILED]:
        later = "; what diverged would diverge again: submit it with a smaller lr"
    print(f"{nothing}sweep {answer['id']} has {counts_in_words(counts)}{later}")


_DONE = {"cancel": "cancelled", "pause": "paused"}
