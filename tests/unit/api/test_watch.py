"""What is followed while it happens: on a terminal, into a pipe, while the service is away, and until Ctrl-C."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.http.watch import _Curve, _members_that_fit
from api.cli.printing import sparkline
from api.client import Client
from core.broker.doorbell import Doorbell
from core.states import ENDED, State
from core.store import attempts
from core.store.leases import Claim
from core.store.session import Store
from tests.servers import PATIENCE_S, free_port
from tests.unit.api.serving import serving
from tests.unit.api.typed import COMMAND, Ballast, environment
from tests.unit.store.builders import a_worker, claimed, result

SPEC = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "16:1", "epochs": 3}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def client(served: str) -> Iterator[Client]:
    client = Client(served)
    yield client
    client.close()


def sweep(client: Client, seeds: int, **axes: Any) -> int:
    made: int = client.submit_sweep({"name": "mine", "base": SPEC, "axes": {**axes, "seed": [*range(seeds)]}})["id"]
    return made


def finish_one(store: Store, claim: Claim | None = None) -> None:
    claim = claim or claimed(store, worker_id=a_worker(store))
    with store.writing() as tx:
        attempts.record(tx, claim, result(1))
        attempts.record(tx, claim, result(2))
        attempts.finish(tx, claim, result(3), State.SUCCEEDED)


class Terminal:
    """`ballast` with a terminal as its standard output."""

    def __init__(self, url: str, *words: str, lines: int = 30, columns: int = 120) -> None:
        ours, theirs = pty.openpty()
        size = {"LINES": str(lines), "COLUMNS": str(columns), "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [*COMMAND, *words], env=environment(url) | size, stdout=theirs, stderr=subprocess.PIPE, text=True
        )
        os.close(theirs)
        self._ours = ours
        self.seen = ""

    def until(self, words: str) -> None:
        while words not in self.seen:
            assert self._read(), f"{words} never came: {self.seen}"

    def end(self) -> tuple[int, str]:
        """Exit code, standard error."""
        while self._read():
            pass
        os.close(self._ours)
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, err

    def _read(self) -> bool:
        try:
            chunk = os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # Linux says so at the end
            return False
        self.seen = self.seen + re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", chunk)
        return bool(chunk)


class TestOnATerminal:
    def test_a_table_follows_the_sweep_to_its_end(self, served: str, client: Client, store: Store) -> None:
        number = sweep(client, 2, **{"optimizer.weight_decay": [0, 0.001]})
        claim = claimed(store)
        with store.writing() as tx:
            attempts.record(tx, claim, result(1, base_in_domain=200), epoch_seconds=40.0)
        terminal = Terminal(served, "watch", str(number))
        terminal.until("sweep 1 mine: 3 queued, 1 running")
        terminal.until("weight_decay 0.001")
        (running,) = (line for line in terminal.seen.splitlines() if "running" in line and "16:1" in line)
        assert running.split()[:10] == [
            "1",
            "16:1",
            "0",
            "running",
            "1/3",
            "1.000",
            "0.500",
            "under-fit",
            "0:01:20",
            "█",
        ]
        with store.writing() as tx:
            attempts.record(tx, claim, result(2))
            attempts.finish(tx, claim, result(3), State.SUCCEEDED)
        for _ in range(3):
            finish_one(store)
        status, err = terminal.end()
        assert (status, err) == (0, "")
        assert "█▅▅" in terminal.seen
        assert "mine: 4 succeeded" in terminal.seen

    def test_more_members_than_lines_are_said_to_be_there(self, served: str, client: Client, store: Store) -> None:
        number = sweep(client, 40)
        for _ in range(20):
            finish_one(store)
        claimed(store)
        terminal = Terminal(served, "watch", str(number), lines=10)
        terminal.until("and 34 more")
        assert len(re.findall("succeeded *3/3", terminal.seen)) == 5
        assert len(re.findall(r"running *0/3", terminal.seen)) == 1
        client.ask_sweep(number, "cancel")
        terminal.process.send_signal(signal.SIGINT)
        status, err = terminal.end()
        assert status == 130
        assert err.startswith("sweep 1 goes on: `ballast watch 1` follows it again")
        assert "Traceback" not in err

    def test_a_narrow_one_gets_a_line_a_member_all_the_same(self, served: str, client: Client) -> None:
        number = sweep(client, 3, **{"optimizer.weight_decay": [0, 0.001]})
        client.ask_sweep(number, "cancel")
        terminal = Terminal(served, "watch", str(number), columns=50)
        status, _ = terminal.end()
        assert status == 4
        assert all(len(line) <= 50 for line in terminal.seen.splitlines())

    def test_one_of_the_usual_width_tells_members_apart(self, served: str, client: Client) -> None:
        number = sweep(client, 2, **{"optimizer.lr": [0.1, 0.2], "optimizer.weight_decay": [0, 0.001]})
        client.ask_sweep(number, "cancel")
        terminal = Terminal(served, "watch", str(number), columns=80)
        terminal.end()
        for lr in ("0.1", "0.2"):
            for decay in ("0", "0.001"):
                found = rf"\d +16:1 +0 +cancelled +0/3 +– +– +lr {lr}, weight_decay {decay}\b"
                assert re.search(found, terminal.seen), (found, terminal.seen)
        assert "base in-domain" not in terminal.seen

    def test_curve_and_list_have_tables_and_no_tabs(self, served: str, client: Client, store: Store) -> None:
        sweep(client, 1)
        finish_one(store)
        for words in (("curve", "1"), ("list",), ("list", "--sweeps"), ("show", "1"), ("show", "--sweep", "1")):
            terminal = Terminal(served, *words)
            assert terminal.end() == (0, "")
            assert "\t" not in terminal.seen
            assert ("base fraction in-domain      ▅▅▅" in terminal.seen) == (words[0] == "curve")

    def test_json_is_json_there_too(self, served: str, client: Client) -> None:
        client.ask_sweep(sweep(client, 2), "cancel")
        terminal = Terminal(served, "watch", "1", "--json")
        status, _ = terminal.end()
        assert status == 4
        assert [json.loads(line)["state"] for line in terminal.seen.splitlines()] == ["cancelled"] * 2

    def test_a_picture_is_refused(self, served: str, client: Client) -> None:
        sweep(client, 1)
        terminal = Terminal(served, "figure", "1", "--out", "-")
        status, err = terminal.end()
        assert status == 2
        assert "a terminal shows no such file" in err


def start(url: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words], env=environment(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "words",
    [
        ("wait", "1"),
        *(pytest.param(words, marks=pytest.mark.slow) for words in (("wait", "--sweep", "1"), ("watch", "1"))),
    ],
)
def test_a_service_that_is_away_for_a_while_ends_nothing(
    store: Store, doorbell: Doorbell, words: tuple[str, ...]
) -> None:
    port = free_port()
    with serving(store, doorbell, port) as url:
        client = Client(url)
        sweep(client, 1)
        client.close()
        process = start(url, *words, "--json")
        assert process.stderr is not None
        waits = "waiting: no worker is alive: start one with `ballast worker`, unless one is starting\n"
        assert process.stderr.readline() == waits
    away = process.stderr.readline()
    assert away.startswith(f"no Ballast service answers at {url}")
    assert away.endswith("; trying again for a minute\n")
    finish_one(store)
    with serving(store, doorbell, port):
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()] if words[0] == "watch" else [json.loads(out)]
    assert found[-1].get("state", "succeeded") == "succeeded"
    assert found[-1]["epochs_done"] == 3


@pytest.mark.parametrize("words", [("wait", "1"), ("watch", "1")])
def test_a_service_that_was_never_there_is_not_waited_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    ballast = Ballast(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert "no Ballast service answers" in ballast(*words, status=3)


def test_ctrl_c_says_that_the_sweep_goes_on(served: str, client: Client) -> None:
    sweep(client, 1)
    process = start(served, "watch", "1")
    assert process.stdout is not None
    assert process.stdout.readline() == "experiment 1  seed 0  queued  0/3\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert err == ("sweep 1 goes on: `ballast watch 1` follows it again, `ballast cancel --sweep 1` ends it\n")


def test_json_has_a_line_whenever_a_member_has_changed(served: str, client: Client, store: Store) -> None:
    sweep(client, 1)
    process = start(served, "watch", "1", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["state"] == "queued"
    claim = claimed(store)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1))
    assert json.loads(process.stdout.readline())["epochs_done"] == 1
    with store.writing() as tx:
        attempts.record(tx, claim, result(2))
        attempts.finish(tx, claim, result(3), State.SUCCEEDED)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["succeeded"]


class Counting(Client):
    """A client that remembers which tails it was asked for."""

    asked: list[int]

    def curve(self, id: int, after: int = 0) -> dict[str, Any]:
        self.asked.append(after)
        return super().curve(id, after)


def test_a_curve_is_read_on_from_where_it_was_and_only_after_a_change(
    served: str, client: Client, store: Store
) -> None:
    counting, curve = Counting(served), _Curve()
    counting.asked = []
    sweep(client, 1)
    curve.fetch_new(counting, client.experiment(1))
    claim = claimed(store)
    for epoch in (1, 2):
        with store.writing() as tx:
            attempts.record(tx, claim, result(epoch, base_in_domain=100 * epoch))
        for _ in range(2):
            curve.fetch_new(counting, client.experiment(1))
    assert counting.asked == [0, 1]
    assert curve.in_domain == [0.5, 1.0]
    assert curve.out_of_domain == [0.5, 0.5]
    counting.close()


MEMBERS = st.lists(st.tuples(st.sampled_from(State), st.integers(0, 5)), max_size=20).map(
    lambda found: [
        {"position": i, "state": state, "ended_at": f"2026-11-24T10:00:0{at}.000Z" if state in ENDED else None}
        for i, (state, at) in enumerate(found)
    ]
)


@given(members=MEMBERS, room=st.integers(1, 25))
def test_there_is_room_first_for_what_runs_then_for_what_ended_last(members: list[dict[str, Any]], room: int) -> None:
    shown = _members_that_fit(members, room)
    assert len(shown) == min(room, len(members))
    assert shown == [member for member in members if member in shown]
    hidden = [member for member in members if member not in shown]
    if any(member["state"] == State.RUNNING for member in hidden):
        assert all(member["state"] == State.RUNNING for member in shown)
    latest_hidden = max((member["ended_at"] or "" for member in hidden), default="")
    assert all((member["ended_at"] or "") >= latest_hidden for member in shown if member["state"] != State.RUNNING)


@given(st.lists(st.none() | st.floats(0, 1), max_size=300), st.integers(1, 60))
def test_a_sparkline_fits_and_has_gaps_where_nothing_was_measured(values: list[float | None], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) <= width
    if len(values) <= width:
        assert [char == " " for char in line] == [value is None for value in values]


def test_a_sparkline_goes_from_the_lowest_bar_to_the_highest() -> None:
    assert sparkline([0.0, 0.5, None, 1.0]) == "▁▅ █"
