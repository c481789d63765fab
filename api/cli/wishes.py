"""Commands that wish something for an experiment or for a whole sweep, or wait for its end."""

from collections.abc import Callable
from typing import Any

import typer

from api.cli.patience import again_and_again
from api.cli.printing import AsJson, print_json
from api.cli.show import AnId, SweepOption, connected, one_of
from core.errors import BallastError
from core.states import ENDED, Ask, State

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 2.0  # seconds


class NotSucceeded(BallastError):
    """What was waited for failed or was cancelled."""


@app.command(epilog="Example: ballast cancel 417")
def cancel(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002 - the contract's name
    """Cancel an experiment or a sweep: at once what waits, within seconds what is running."""
    _ask(Ask.CANCEL, id, sweep, as_json)


@app.command(epilog="Example: ballast pause --sweep 12")
def pause(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Let an experiment or a sweep wait until it is resumed."""
    _ask(Ask.PAUSE, id, sweep, as_json)


@app.command(epilog="Example: ballast resume --sweep 12")
def resume(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Queue again what was paused, at its old place."""
    _ask(Ask.RESUME, id, sweep, as_json)


@app.command(epilog="Example: ballast retry --sweep 12")
def retry(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Queue again what failed or was cancelled; not what diverged."""
    _ask(Ask.RETRY, id, sweep, as_json)


@app.command(epilog="Example: ballast delete --sweep 12")
def delete(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Delete an experiment that has ended, or all members of a sweep that have, with their curves."""
    number = one_of(id, sweep)
    with connected() as client:
        if sweep is None:
            client.delete(number)
            left = None
        else:
            left = client.delete_sweep(number)
    if as_json:
        print_json(left)
    elif left is None:
        print(f"experiment {number} is deleted")
    elif any(left["counts"].values()):
        print(f"sweep {number} still has {in_words(left['counts'])}: cancel them to delete them too")
    else:
        print(f"sweep {number} is deleted")


@app.command(epilog="Example: ballast wait 417")
def wait(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:  # noqa: A002
    """Wait until an experiment, or every member of a sweep, has ended; exit code 4 if one did not succeed."""
    number = one_of(id, sweep)
    with connected() as client:
        if sweep is None:
            found = _until(lambda experiment: experiment["state"] in ENDED, lambda: client.experiment(number))
        else:
            found = _until(has_ended, lambda: client.sweep(number))
    if as_json:
        print_json(found)
    if sweep is None and found["state"] != State.SUCCEEDED:
        error = found["error"]
        why = f": {error['kind']}: {error['message']}" if error else ""
        raise NotSucceeded(f"experiment {number} is {found['state']}{why}")
    if sweep is not None:
        refuse_failures(found)
    if not as_json:
        print(f"{'experiment' if sweep is None else 'sweep'} {number} has succeeded")


def refuse_failures(sweep: Json) -> None:
    """Raises NotSucceeded where a member of a sweep that has ended did."""
    counts = sweep["counts"]
    if counts[State.FAILED] or counts[State.CANCELLED]:
        raise NotSucceeded(
            f"sweep {sweep['id']} has {in_words(counts)}: look with `ballast list --sweep {sweep['id']}`"
        )


def in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)


def has_ended(sweep: Json) -> bool:
    return not any(n for state, n in sweep["counts"].items() if state not in ENDED)


def _until(ended: Callable[[Json], bool], look: Callable[[], Json]) -> Json:
    return next(found for found in again_and_again(look, _LOOK_EVERY) if ended(found))


def _ask(what: Ask, id: int | None, sweep: int | None, as_json: bool) -> None:  # noqa: A002
    number = one_of(id, sweep)
    with connected() as client:
        found = client.ask(number, what) if sweep is None else client.ask_sweep(number, what)
    if as_json:
        print_json(found)
    elif sweep is not None:
        print(f"sweep {number} has {in_words(found['counts'])}")
    elif found["requested"]:
        print(f"experiment {number} is {found['state']} and will be {_DONE[found['requested']]} within seconds")
    else:
        print(f"experiment {number} is {found['state']}")


_DONE = {"cancel": "cancelled", "pause": "paused"}
