"""Commands that wish something for an experiment or for a whole sweep, or wait for its end."""

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from api.cli.errors import NotDeleted, NotSucceeded
from api.cli.http.common import AnId, SweepOption, connected, one_of
from api.cli.http.patience import again_and_again
from api.cli.printing import AsJson, counted, in_words, note, on_terminal, print_json
from api.client import Ask, Client
from core.states import ENDED, WAITING, State, clause

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 2.0  # seconds


@app.command(epilog="Example: ballast cancel 417")
def cancel(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Cancel an experiment or a sweep: at once what waits, within seconds what is running."""
    _ask("cancel", id, sweep, as_json)


@app.command(epilog="Example: ballast pause --sweep 12")
def pause(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Let an experiment or a sweep wait until it is resumed."""
    _ask("pause", id, sweep, as_json)


@app.command(epilog="Example: ballast resume --sweep 12")
def resume(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Queue again what was paused, at its old place."""
    _ask("resume", id, sweep, as_json)


@app.command(epilog="Example: ballast retry --sweep 12")
def retry(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
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
    number = one_of(ids[0] if ids else None, sweep)
    with connected() as client:
        found = client.set_priority(number, value) if sweep is None else client.set_sweep_priority(number, value)
    if as_json:
        print_json(found)
    elif sweep is None:
        waits = f": {found['waiting_because']}" if found["waiting_because"] else ""
        print(f"experiment {number} has priority {value}{waits}")
    else:
        some = any(found["counts"][state] for state in WAITING)
        said = f"what waits of sweep {number} has priority {value}: it" if some else f"nothing waits: sweep {number}"
        print(f"{said} has {in_words(found['counts'])}")


@app.command(epilog="Example: ballast delete --sweep 12 --yes")
def delete(
    id: AnId = None,
    sweep: SweepOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an experiment that has ended, or all members of a sweep that have, with their curves; a sweep, on a
    terminal, is asked for first."""
    number = one_of(id, sweep)
    with connected() as client:
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
        f"Delete {left}sweep {sweep['id']}: {counted(ended)} with curves, predictions, weights and checkpoints"
        + (f", {sweep['epochs_done']} epochs in all?" if all_of_it else "?"),
        abort=True,
        err=True,
    )


def _delete_sweep(client: Client, number: int, as_json: bool) -> None:
    before, left = client.sweep(number), client.delete_sweep(number)
    some = any(left["counts"].values())
    if some and left["counts"] == before["counts"]:
        raise NotDeleted(f"sweep {number} has {in_words(left['counts'])}: cancel them to delete them")
    if as_json:
        print_json(left)
    elif some:
        print(f"what had ended of sweep {number} is deleted; it still has {in_words(left['counts'])}")
    else:
        print(f"sweep {number} is deleted")


@app.command(epilog="Example: ballast wait 417")
def wait(id: AnId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Wait until an experiment, or every member of a sweep, has ended; exit code 4 if one did not succeed."""
    number = one_of(id, sweep)
    with connected() as client:
        if sweep is None:
            found = _at_its_end(lambda: client.experiment(number), lambda experiment: experiment["state"] in ENDED)
        else:
            found = _at_its_end(lambda: client.sweep(number), has_ended)
    if as_json:
        print_json(found)
    if sweep is None and found["state"] != State.SUCCEEDED:
        error = found["error"]
        why = f": {error['kind']}: {error['message']}" if error else ""
        raise NotSucceeded(f"experiment {number} {clause(found['state'])}{why}")
    if sweep is not None:
        refuse_failures(found)
    if not as_json:
        what = f"experiment {number}" if sweep is None else f"sweep {number}"
        empty = sweep is not None and not any(found["counts"].values())
        print(f"{what} has {'no experiments' if empty else 'succeeded'}")


def refuse_failures(sweep: Json) -> None:
    """Raises NotSucceeded where a member of a sweep that has ended did."""
    counts = sweep["counts"]
    if counts[State.FAILED] or counts[State.CANCELLED]:
        raise NotSucceeded(
            f"sweep {sweep['id']} has {in_words(counts)}: look with `ballast list --sweep {sweep['id']}`"
        )


def has_ended(sweep: Json) -> bool:
    return not any(n for state, n in sweep["counts"].items() if state not in ENDED)


class Reasons:
    """Why nothing happens, where it does not for two looks: said once each, and of places in the queue one."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._last = ""

    def say(self, reason: str | None) -> None:
        kind = re.sub(r"\d+", "", reason or "")
        if reason and kind == self._last and kind not in self._said:
            note(f"waiting: {reason}")
            self._said.add(kind)
        self._last = kind


def _at_its_end(look: Callable[[], Json], ended: Callable[[Json], bool]) -> Json:
    reasons = Reasons()
    for found in again_and_again(look, _LOOK_EVERY):
        if ended(found):
            break
        reasons.say(found["waiting_because"])
    return found


def _ask(what: Ask, id: int | None, sweep: int | None, as_json: bool) -> None:
    number = one_of(id, sweep)
    with connected() as client:
        before = {} if sweep is None else client.sweep(number)["counts"]
        found = client.ask(number, what) if sweep is None else client.ask_sweep(number, what)
    if as_json:
        print_json(found)
    elif sweep is None:
        _say_of_experiment(found)
    else:
        _say_of_sweep(found, what, before)


def _say_of_experiment(found: Json) -> None:
    later = f" and will be {_DONE[found['requested']]} within seconds" if found["requested"] else ""
    print(f"experiment {found['id']} {clause(found['state'])}{later}")


def _say_of_sweep(found: Json, what: Ask, before: dict[str, int]) -> None:
    counts, running = found["counts"], found["counts"][State.RUNNING]
    nothing = f"there is nothing to {what}: " if counts == before and not running else ""
    later = "; what is running stops within seconds" if running and what in ("cancel", "pause") else ""
    if what == "retry" and counts[State.FAILED]:
        later = "; what diverged would diverge again: submit it with a smaller lr"
    print(f"{nothing}sweep {found['id']} has {in_words(counts)}{later}")


_DONE = {"cancel": "cancelled", "pause": "paused"}
