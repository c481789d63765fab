"""`ballast watch`: a sweep as it trains. A live table on a terminal, a line a change into a pipe."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.cli.patience import again_and_again
from api.cli.printing import STATE_STYLES, AsJson, duration, in_words, note, on_terminal, sparkline
from api.cli.show import connected
from api.cli.wishes import Reasons, has_ended, refuse_failures
from api.client import Client, Refused, Unreachable
from core.analysis.groups import differences
from core.states import State

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 1.0  # seconds
_AROUND_THE_TABLE = 4  # lines of the terminal: head, columns, what is hidden, the cursor
_BESIDE_THE_SPARKLINE = 70  # columns of the terminal
_WITH_TIME_LEFT, _WITH_SPARKLINE = 66, 80  # as soon as there is room for it
_COLUMNS = ("id", "weight", "seed", "state", "epochs", "base in", "base out", "time left", "base in-domain")


@app.command(epilog="Example: ballast watch 12")
def watch(
    sweep: Annotated[int, typer.Argument(metavar="SWEEP", min=1, help="The number of a sweep.")],
    as_json: AsJson = False,
) -> None:
    """Follow a sweep to its end; exit code 4 if a member did not succeed. Into a pipe: a line a change of state; with
    --json a member a line whenever it has changed at all."""
    with connected() as client:
        follow(client, sweep, as_json)


def follow(client: Client, sweep_id: int, as_json: bool) -> None:
    """Until every member has ended. Raises NotSucceeded where one failed or was cancelled, Unreachable, Refused."""
    try:
        last = _live(client, sweep_id) if on_terminal() and not as_json else _lines(client, sweep_id, as_json)
    except KeyboardInterrupt:
        note(
            f"sweep {sweep_id} goes on: `ballast watch {sweep_id}` follows it again, "
            f"`ballast cancel --sweep {sweep_id}` ends it"
        )
        raise
    refuse_failures(last)


def _looks(client: Client, sweep_id: int) -> Iterator[tuple[Json, list[Json]]]:
    """The sweep and its members, again and again; the last time when all have ended."""
    for sweep, members in again_and_again(lambda: (client.sweep(sweep_id), [*client.members(sweep_id)]), _LOOK_EVERY):
        yield sweep, members
        if has_ended(sweep):
            return


def _lines(client: Client, sweep_id: int, as_json: bool) -> Json:
    seen: dict[int, Any] = {}
    last: Json = {}
    reasons = Reasons()
    for sweep, members in _looks(client, sweep_id):
        last = sweep
        reasons.say(sweep["waiting_because"])
        for member in members:
            now = member["revision"] if as_json else _state(member)
            if seen.get(member["id"]) != now:
                seen[member["id"]] = now
                print(json.dumps(member) if as_json else _line(member), flush=True)
    return last


def _state(member: Json) -> str:
    return "stalled" if member["stalled"] else str(member["state"])


def _line(member: Json) -> str:
    error = f"  {member['error']['kind']}: {member['error']['message']}" if member["error"] else ""
    epochs = f"{member['epochs_done']}/{member['epochs_total']}"
    return f"experiment {member['id']}  {member['name']}  {_state(member)}  {epochs}{error}"


def _live(client: Client, sweep_id: int) -> Json:
    curves: dict[int, _Curve] = {}
    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for sweep, members in _looks(client, sweep_id):
            shown = _most_wanted(members, max(1, console.height - _AROUND_THE_TABLE))
            for member in shown:
                curves.setdefault(member["id"], _Curve()).go_on(client, member)
            live.update(_picture(sweep, shown, curves, len(members) - len(shown), console.width), refresh=True)
    return sweep


def _most_wanted(members: list[Json], room: int) -> list[Json]:
    """As many as there is room for, in the order of the sweep: those that run, the latest to end, the next."""
    latest = sorted(members, key=lambda member: member["ended_at"] or "", reverse=True)
    return sorted(
        sorted(latest, key=lambda member: member["state"] != State.RUNNING)[:room],
        key=lambda member: member["position"],
    )


class _Curve:
    """Base fractions of one member, as far as they have come."""

    def __init__(self) -> None:
        self.in_domain: list[float | None] = []
        self.out_of_domain: list[float | None] = []
        self._after = 0
        self._revision = 0

    def go_on(self, client: Client, member: Json) -> None:
        if member["revision"] == self._revision or member["epochs_done"] <= self._after:
            return
        with suppress(Unreachable, Refused):  # the next look tells; somebody may have deleted it
            tail = client.curve(member["id"], self._after)
            self.in_domain += tail["base_fraction_in_domain"]
            self.out_of_domain += tail["base_fraction_out_of_domain"]
            self._after = tail["next_after"]
            self._revision = member["revision"]


def _picture(sweep: Json, shown: list[Json], curves: dict[int, _Curve], hidden: int, width: int) -> Group:
    room = max(8, min(24, width - _BESIDE_THE_SPARKLINE))
    titles = _COLUMNS[: 7 + (width >= _WITH_TIME_LEFT) + (width >= _WITH_SPARKLINE)]
    rows = [_row(member, curves[member["id"]], room)[: len(titles)] for member in shown]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, cells in zip_longest(titles, zip(*rows, strict=True), fillvalue=()):
        table.add_column(str(title), no_wrap=True, min_width=max(map(len, [str(title), *cells])))
    what_differs = differences([member["spec"] for member in shown])
    if any(what_differs):
        table.add_column("what differs", no_wrap=True, overflow="ellipsis")  # gives way to the others
        rows = [[*row, Text(what)] for row, what in zip(rows, what_differs, strict=True)]
    for row in rows:
        table.add_row(*row)
    name = " ".join(filter(None, ["sweep", str(sweep["id"]), sweep["name"] or sweep["preset"]]))
    left = f"time left {duration(sweep['eta_seconds'])}"
    head = f"{name}: {in_words(sweep['counts'])}; {sweep['waiting_because'] or left}"
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(Text(head, style="bold", no_wrap=True, overflow="ellipsis"), table, *more)


def _row(member: Json, curve: _Curve, room: int) -> list[Text]:
    return [
        Text(str(member["id"])),
        Text(member["spec"]["importance_weight"]),
        Text(str(member["spec"]["seed"])),
        Text(_state(member), style=STATE_STYLES[member["state"]]),
        Text(f"{member['epochs_done']}/{member['epochs_total']}"),
        Text(_fraction(curve.in_domain)),
        Text(_fraction(curve.out_of_domain)),
        Text(duration(member["eta_seconds"])),
        Text(sparkline(curve.in_domain, room)),
    ]


def _fraction(fractions: list[float | None]) -> str:
    return f"{fractions[-1]:.3f}" if fractions and fractions[-1] is not None else "–"
