"""`ballast watch`: a sweep as it trains. A live table on a terminal, a line a change into a pipe."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.cli.printing import STATE_STYLES, AsJson, duration, note, sparkline
from api.cli.show import connected
from api.cli.wishes import has_ended, in_words, patiently, refuse_failures
from api.client import Client, Refused, Unreachable
from core.states import State

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 1.0  # seconds
_AROUND_THE_TABLE = 6  # lines of the terminal
_FIRST = (State.RUNNING, State.FAILED, State.PAUSED, State.QUEUED, State.SUCCEEDED, State.CANCELLED)


@app.command(epilog="Example: ballast watch 12")
def watch(
    sweep: Annotated[int, typer.Argument(metavar="SWEEP", min=1, help="The number of a sweep.")],
    as_json: AsJson = False,
) -> None:
    """Follow a sweep to its end; exit code 4 if a member did not succeed."""
    with connected() as client:
        follow(client, sweep, as_json)


def follow(client: Client, sweep_id: int, as_json: bool) -> None:
    """Until every member has ended. Raises NotSucceeded where one failed or was cancelled, Unreachable, Refused."""
    on_terminal = sys.stdout.isatty() and not as_json
    try:
        last = _live(client, sweep_id) if on_terminal else _lines(client, sweep_id, as_json)
    except KeyboardInterrupt:
        note(f"sweep {sweep_id} goes on: `ballast watch {sweep_id}` follows it again, `ballast cancel --sweep` ends it")
        raise
    refuse_failures(last)


def _looks(client: Client, sweep_id: int) -> Iterator[tuple[Json, list[Json]]]:
    """The sweep and its members, again and again; the last time when all have ended."""
    while True:
        since = time.monotonic()
        sweep = patiently(Unreachable, client.sweep, sweep_id)
        members = patiently(Unreachable, lambda: list(client.members(sweep_id)))
        yield sweep, members
        if has_ended(sweep):
            return
        # Ten thousand members take a while to read: look less often.
        time.sleep(max(_LOOK_EVERY, 2 * (time.monotonic() - since)))


def _lines(client: Client, sweep_id: int, as_json: bool) -> Json:
    states: dict[int, str] = {}
    last: Json = {}
    for sweep, members in _looks(client, sweep_id):
        last = sweep
        for member in members:
            if states.get(member["id"]) != member["state"]:
                states[member["id"]] = member["state"]
                print(json.dumps(member) if as_json else _line(member), flush=True)
    return last


def _line(member: Json) -> str:
    error = f"  {member['error']['kind']}: {member['error']['message']}" if member["error"] else ""
    epochs = f"{member['epochs_done']}/{member['epochs_total']}"
    return f"experiment {member['id']}  {member['name']}  {member['state']}  {epochs}{error}"


def _live(client: Client, sweep_id: int) -> Json:
    curves: dict[int, _Curve] = {}
    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for sweep, members in _looks(client, sweep_id):
            room = max(3, console.height - _AROUND_THE_TABLE)
            shown = sorted(members, key=lambda member: (_FIRST.index(member["state"]), member["id"]))[:room]
            for member in shown:
                curves.setdefault(member["id"], _Curve()).go_on(client, member)
            live.update(_picture(sweep, sorted(shown, key=lambda member: member["position"]), curves, len(members)))
            live.refresh()
    return sweep


class _Curve:
    """Base fractions of one member, as far as they have come."""

    def __init__(self) -> None:
        self.in_domain: list[float | None] = []
        self.out_of_domain: list[float | None] = []
        self._after = 0

    def go_on(self, client: Client, member: Json) -> None:
        if member["epochs_done"] <= self._after:
            return
        with suppress(Unreachable, Refused):  # the next look tells; somebody may have deleted it
            tail = client.curve(member["id"], self._after)
            self.in_domain += tail["base_fraction_in_domain"]
            self.out_of_domain += tail["base_fraction_out_of_domain"]
            self._after = tail["next_after"]


def _picture(sweep: Json, shown: list[Json], curves: dict[int, _Curve], count: int) -> Group:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in (
        "id",
        "weight",
        "seed",
        "state",
        "epochs",
        "in-domain",
        "out-of-domain",
        "time left",
        "base fraction",
    ):
        table.add_column(column, no_wrap=True)
    for member in shown:
        curve = curves[member["id"]]
        table.add_row(
            str(member["id"]),
            member["spec"]["importance_weight"],
            str(member["spec"]["seed"]),
            Text("stalled" if member["stalled"] else member["state"], style=STATE_STYLES[member["state"]]),
            f"{member['epochs_done']}/{member['epochs_total']}",
            _fraction(curve.in_domain),
            _fraction(curve.out_of_domain),
            duration(member["eta_seconds"]),
            sparkline(curve.in_domain, 24),
        )
    name = sweep["name"] or sweep["preset"] or ""
    head = f"sweep {sweep['id']} {name}: {in_words(sweep['counts'])}; time left {duration(sweep['eta_seconds'])}"
    hidden = [Text(f"and {count - len(shown)} more", style="dim")] if count > len(shown) else []
    return Group(Text(head, style="bold"), table, *hidden)


def _fraction(fractions: list[float | None]) -> str:
    return f"{fractions[-1]:.3f}" if fractions and fractions[-1] is not None else "–"
