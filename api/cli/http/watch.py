"""`ballast watch`: a sweep as it trains. A live table on a terminal, a line a change into a pipe."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.cli.http.common import connected
from api.cli.http.patience import again_and_again
from api.cli.http.rows import state_of
from api.cli.http.wishes import Reasons, has_ended, refuse_failures
from api.cli.printing import STATE_STYLES, AsJson, duration, fraction, in_words, note, on_terminal, sparkline
from api.client import Client, Refused, Unreachable
from core.states import State
from core.streams import plain

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 1.0  # seconds
_AROUND_THE_TABLE = 4  # lines of the terminal: head, columns, what is hidden, the cursor
_NARROW, _LONGEST_SPARKLINE = 100, 24  # columns of the terminal
_DIFFERING = "what differs"


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
    if not any(last["counts"].values()):
        note(f"sweep {sweep_id} has no experiments")
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
            now = member["revision"] if as_json else state_of(member)
            if seen.get(member["id"]) != now:
                seen[member["id"]] = now
                print(json.dumps(member) if as_json else plain(_line(member)), flush=True)
    return last


def _line(member: Json) -> str:
    error = f"  {member['error']['kind']}: {member['error']['message']}" if member["error"] else ""
    epochs = f"{member['epochs_done']}/{member['epochs_total']}"
    return f"experiment {member['id']}  {member['name']}  {state_of(member)}  {epochs}{error}"


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
    between = 1 if width < _NARROW else 2
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=between == 1)
    columns = _columns(shown, curves, width, between)
    for title, cells in columns.items():
        least = 0 if title == _DIFFERING else _wide(title, cells)  # that one gives way to the others
        table.add_column(title, no_wrap=True, min_width=least, overflow="ellipsis")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    left = f"time left {duration(sweep['eta_seconds'])}" if sweep["eta_seconds"] is not None else None
    head = Text(f": {'; '.join(filter(None, [in_words(sweep['counts']), left, sweep['waiting_because']]))}")
    name = Text(" ".join(filter(None, ["sweep", str(sweep["id"]), sweep["name"] or sweep["preset"]])))
    name.truncate(max(20, width - len(head)), overflow="ellipsis")
    head = Text.assemble(name, head, style="bold", no_wrap=True, overflow="ellipsis")
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(head, table, *more)


def _columns(shown: list[Json], curves: dict[int, _Curve], width: int, between: int) -> dict[str, list[Text]]:
    """Those that there is room for: what tells members apart comes before how they go on."""
    from core.analysis.groups import differences  # the spec's models take a while to build

    own = [curves[member["id"]] for member in shown]
    columns = {
        "id": [Text(str(member["id"])) for member in shown],
        "weight": [Text(member["spec"]["importance_weight"]) for member in shown],
        "seed": [Text(str(member["spec"]["seed"])) for member in shown],
        "state": [Text(state_of(member), style=STATE_STYLES[member["state"]]) for member in shown],
        "epochs": [Text(f"{member['epochs_done']}/{member['epochs_total']}") for member in shown],
        "base in": [Text(fraction(next(iter(curve.in_domain[-1:]), None))) for curve in own],
        "base out": [Text(fraction(next(iter(curve.out_of_domain[-1:]), None))) for curve in own],
    }
    time_left = [Text(duration(member["eta_seconds"])) for member in shown]
    differing = [Text(what) for what in differences([member["spec"] for member in shown])]
    room = width - sum(_wide(*column) + between for column in columns.items())
    if any(differing):
        room -= _wide(_DIFFERING, differing) + between
    if room >= _wide("time left", time_left):
        columns["time left"] = time_left
        room -= _wide("time left", time_left) + between
    if room >= len("base in-domain"):
        longest = min(room, _LONGEST_SPARKLINE)
        columns["base in-domain"] = [Text(sparkline(curve.in_domain, longest)) for curve in own]
    return columns | ({_DIFFERING: differing} if any(differing) else {})


def _wide(title: str, cells: list[Text]) -> int:
    return max(len(title), *map(len, cells))
