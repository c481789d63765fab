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

from api.cli.http.connection import service_client
from api.cli.http.polling import WaitingReasons, poll
from api.cli.http.tables import displayed_state, fit_in_words, sweep_name
from api.cli.http.waiting import has_ended, raise_on_failures
from api.cli.printing import (
    STATE_STYLES,
    AsJson,
    counts_in_words,
    duration,
    fraction,
    on_terminal,
    print_note,
    sparkline,
)
from api.client import Client, Refused, Unreachable
from core.states import State
from core.streams import printable

app = typer.Typer()

Json = dict[str, Any]

_LOOK_EVERY = 1.0  # seconds
_AROUND_THE_TABLE = 4  # lines of the terminal: head, columns, what is hidden, the cursor
_NARROW, _LONGEST_SPARKLINE = 100, 24  # columns of the terminal
_DIFFERENCES = "what differs"


@app.command(epilog="Example: ballast watch 12")
def watch(
    sweep: Annotated[int, typer.Argument(metavar="SWEEP", min=1, help="The number of a sweep.")],
    as_json: AsJson = False,
) -> None:
    """Follow a sweep to its end; exit code 4 if a member did not succeed. Into a pipe: a line a change of state; with
    --json a member a line whenever it has changed at all."""
    with service_client() as client:
        follow_sweep(client, sweep, as_json)


def follow_sweep(client: Client, sweep_id: int, as_json: bool) -> None:
    """Until every member has ended. Raises NotSucceeded where one failed or was cancelled, Unreachable, Refused."""
    try:
        if on_terminal() and not as_json:
            last = _follow_live(client, sweep_id)
        else:
            last = _follow_in_lines(client, sweep_id, as_json)
    except KeyboardInterrupt:
        print_note(
            f"sweep {sweep_id} goes on: `ballast watch {sweep_id}` follows it again, "
            f"`ballast cancel --sweep {sweep_id}` ends it"
        )
        raise
    if not any(last["counts"].values()):
        print_note(f"sweep {sweep_id} has no experiments")
    raise_on_failures(last)


def _sweep_until_its_end(client: Client, sweep_id: int) -> Iterator[tuple[Json, list[Json]]]:
    """The sweep and its members, again and again; the last time when all have ended."""
    for sweep, members in poll(lambda: (client.sweep(sweep_id), [*client.members(sweep_id)]), _LOOK_EVERY):
        yield sweep, members
        if has_ended(sweep):
            return


def _follow_in_lines(client: Client, sweep_id: int, as_json: bool) -> Json:
    seen: dict[int, Any] = {}
    last: Json = {}
    reasons = WaitingReasons()
    for sweep, members in _sweep_until_its_end(client, sweep_id):
        last = sweep
        reasons.print_new(sweep["waiting_because"])
        for member in members:
            now = member["revision"] if as_json else displayed_state(member)
            if seen.get(member["id"]) != now:
                seen[member["id"]] = now
                print(json.dumps(member) if as_json else printable(_line(member)), flush=True)
    return last


def _line(member: Json) -> str:
    error = f"  {member['error']['kind']}: {member['error']['message']}" if member["error"] else ""
    epochs = f"{member['epochs_done']}/{member['epochs_total']}"
    network = fit_in_words(member) if member["ended_at"] else ""
    words = (member["name"], displayed_state(member), epochs, network)
    return "  ".join([f"experiment {member['id']}", *filter(None, words)]) + error


def _follow_live(client: Client, sweep_id: int) -> Json:
    curves: dict[int, _Curve] = {}
    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for sweep, members in _sweep_until_its_end(client, sweep_id):
            visible = _members_that_fit(members, max(1, console.height - _AROUND_THE_TABLE))
            for member in visible:
                curves.setdefault(member["id"], _Curve()).fetch_new(client, member)
            live.update(_picture(sweep, visible, curves, len(members) - len(visible), console.width), refresh=True)
    return sweep


def _members_that_fit(members: list[Json], room: int) -> list[Json]:
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

    def fetch_new(self, client: Client, member: Json) -> None:
        if member["revision"] == self._revision or member["epochs_done"] <= self._after:
            return
        with suppress(Unreachable, Refused):  # the next look tells; somebody may have deleted it
            tail = client.curve(member["id"], self._after)
            self.in_domain += tail["base_fraction_in_domain"]
            self.out_of_domain += tail["base_fraction_out_of_domain"]
            self._after = tail["next_after"]
            self._revision = member["revision"]


def _picture(sweep: Json, visible: list[Json], curves: dict[int, _Curve], hidden: int, width: int) -> Group:
    between = 1 if width < _NARROW else 2
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=between == 1)
    columns = _columns(visible, curves, width, between)
    for title, cells in columns.items():
        least = 0 if title == _DIFFERENCES else _width(title, cells)  # that one gives way to the others
        table.add_column(title, no_wrap=True, min_width=least, overflow="ellipsis")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    left = f"time left {duration(sweep['eta_seconds'])}" if sweep["eta_seconds"] is not None else None
    head = Text(f": {'; '.join(filter(None, [counts_in_words(sweep['counts']), left, sweep['waiting_because']]))}")
    name = Text(" ".join(filter(None, ["sweep", str(sweep["id"]), sweep_name(sweep)])))
    name.truncate(max(20, width - len(head)), overflow="ellipsis")
    head = Text.assemble(name, head, style="bold", no_wrap=True, overflow="ellipsis")
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    return Group(head, table, *more)


def _columns(visible: list[Json], curves: dict[int, _Curve], width: int, between: int) -> dict[str, list[Text]]:
    """Those that there is room for: what tells members apart comes before how they go on."""
    from core.analysis.groups import differences_in_words  # the spec's models take a while to build

    its_curves = [curves[member["id"]] for member in visible]
    columns = {
        "id": [Text(str(member["id"])) for member in visible],
        "weight": [Text(member["spec"]["importance_weight"]) for member in visible],
        "seed": [Text(str(member["spec"]["seed"])) for member in visible],
        "state": [Text(displayed_state(member), style=STATE_STYLES[member["state"]]) for member in visible],
        "epochs": [Text(f"{member['epochs_done']}/{member['epochs_total']}") for member in visible],
        "base in": [Text(fraction(next(iter(curve.in_domain[-1:]), None))) for curve in its_curves],
        "base out": [Text(fraction(next(iter(curve.out_of_domain[-1:]), None))) for curve in its_curves],
    }
    time_left = [Text(duration(member["eta_seconds"])) for member in visible]
    differing = [Text(what) for what in differences_in_words([member["spec"] for member in visible])]
    room = width - sum(_width(*column) + between for column in columns.items())
    if any(differing):
        room -= _width(_DIFFERENCES, differing) + between
    network = [Text(fit_in_words(member)) for member in visible]
    for title, cells in (("network", network), ("time left", time_left)):
        if room >= _width(title, cells):
            columns[title] = cells
            room -= _width(title, cells) + between
    if room >= len("base in-domain"):
        longest = min(room, _LONGEST_SPARKLINE)
        columns["base in-domain"] = [Text(sparkline(curve.in_domain, longest)) for curve in its_curves]
    return columns | ({_DIFFERENCES: differing} if any(differing) else {})


def _width(title: str, cells: list[Text]) -> int:
    return max(len(title), *map(len, cells))
