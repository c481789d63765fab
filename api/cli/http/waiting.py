"""`ballast wait`: until an experiment, or every member of a sweep, has ended; and how a sweep ends, for `watch` too."""

from collections.abc import Callable
from typing import Any

import typer

from api.cli.errors import NotSucceeded
from api.cli.http.arguments import OptionalId, SweepOption, id_or_sweep
from api.cli.http.connection import service_client
from api.cli.http.polling import WaitingReasons, poll
from api.cli.printing import AsJson, counts_in_words, print_json
from core.states import ENDED, State, clause

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 2.0  # seconds


@app.command(epilog="Example: ballast wait 417")
def wait(id: OptionalId = None, sweep: SweepOption = None, as_json: AsJson = False) -> None:
    """Wait until an experiment, or every member of a sweep, has ended; exit code 4 if one did not succeed."""
    number = id_or_sweep(id, sweep)
    with service_client() as client:
        if sweep is None:
            answer = _poll_until(lambda: client.experiment(number), lambda experiment: experiment["state"] in ENDED)
        else:
            answer = _poll_until(lambda: client.sweep(number), has_ended)
    if as_json:
        print_json(answer)
    if sweep is None and answer["state"] != State.SUCCEEDED:
        error = answer["error"]
        why = f": {error['kind']}: {error['message']}" if error else ""
        raise NotSucceeded(f"experiment {number} {clause(answer['state'])}{why}")
    if sweep is not None:
        raise_on_failures(answer)
    if not as_json:
        what = f"experiment {number}" if sweep is None else f"sweep {number}"
        empty = sweep is not None and not any(answer["counts"].values())
        print(f"{what} has {'no experiments' if empty else 'succeeded'}")


def _poll_until(look: Callable[[], Json], ended: Callable[[Json], bool]) -> Json:
    reasons = WaitingReasons()
    for answer in poll(look, _LOOK_EVERY):
        if ended(answer):
            break
        reasons.print_new(answer["waiting_because"])
    return answer


def raise_on_failures(sweep: Json) -> None:
    """Raises NotSucceeded where a member of a sweep that has ended did."""
    counts = sweep["counts"]
    if counts[State.FAILED] or counts[State.CANCELLED]:
        raise NotSucceeded(
            f"sweep {sweep['id']} has {counts_in_words(counts)}: look with `ballast list --sweep {sweep['id']}`"
        )


def has_ended(sweep: Json) -> bool:
    return not any(n for state, n in sweep["counts"].items() if state not in ENDED)
