"""The Python client against the application under a real uvicorn; and against what is no Ballast at all."""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import stamina
from sqlalchemy import select

from api.client import BrokenOff, Client, ClientError, Refused, TooSlow, Unreachable
from core.broker.doorbell import Doorbell
from core.results import EpochResult, Predictions
from core.spec import Spec
from core.states import Ask, State
from core.store import attempts, experiments, leases
from core.store.session import Store
from core.store.tables import idempotency_keys
from tests.servers import PATIENCE_S, free_port
from tests.unit.api.builders import spec
from tests.unit.api.serving import serving
from tests.unit.store.builders import a_worker, claimed, result
from tests.unit.store.test_extensions import with_success


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def client(served: str) -> Iterator[Client]:
    client = Client(served)
    yield client
    client.close()


def rows(store: Store, claim: leases.Claim, *rows: EpochResult) -> None:
    for row in rows:
        with store.writing() as tx:
            attempts.record(tx, claim, row)


def test_it_is_the_package_ballast_in_a_project_that_has_such_folders_of_its_own(served: str, tmp_path: Path) -> None:
    for name in ("api", "core", "worker", "migrations"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this one is the project's own')")
    program = f"""
import sys
from ballast import Client, Refused
client = Client({served!r})
try:
    client.experiment(7)
except Refused as refused:
    print(refused)
theirs = {{"api", "core", "worker", "migrations", "pydantic", "sqlalchemy", "fastapi", "typer"}}
print(sorted(theirs & {{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "there is no experiment 7\n[]\n", done.stderr


def test_one_experiment_from_submission_to_its_curve(client: Client, store: Store) -> None:
    assert client.ready()["status"] == "ready"
    number = client.submit(spec(name="é"), priority=5)["id"]
    worker = a_worker(store)
    rows(store, claimed(store, worker_id=worker), result(1), result(2))
    shown = client.experiment(number)
    assert (shown["name"], shown["priority"], shown["state"], shown["epochs_done"]) == ("é", 5, "running", 2)
    assert client.curve(number)["epoch"] == [1, 2]
    assert client.curve(number, after=1)["epoch"] == [2]
    assert [event["kind"] for event in client.events(number)] == ["submitted", "claimed"]
    assert client.ask(number, Ask.CANCEL)["requested"] == "cancel"
    assert [each["id"] for each in client.workers()] == [worker]


def test_one_sweep_from_a_dry_run_to_its_deletion(client: Client) -> None:
    request = {"name": "mine", "base": spec(), "axes": {"seed": [0, 1]}}
    tried = client.try_sweep(request)
    assert (tried["count"], [each["seed"] for each in tried["specs"]]) == (2, [0, 1])
    assert list(client.sweeps()) == []
    number = client.submit_sweep(request, priority=7)["id"]
    assert client.grow(number, {"seed": [2]})["counts"]["queued"] == 3
    assert [member["priority"] for member in client.members(number)] == [7, 7, 0]
    assert len(client.sweep(number, members=2)["members"]["items"]) == 2
    assert [each["id"] for each in client.sweeps()] == [number]
    assert client.figure(number, "png").startswith(b"\x89PNG")
    assert b"<svg" in client.figure(number, "svg")
    assert client.figure(number, "pdf").startswith(b"%PDF")
    other = client.submit_sweep({"base": spec(), "axes": {"optimizer.weight_decay": [0, 0.01]}})["id"]
    drawn = client.figure(number, "svg", [other], bands=True, rows="1,3", scale="log").decode()
    assert [f"sweep {other}: weight_decay {decay}<" in drawn for decay in ("0", "0.01")] == [False, True]
    with pytest.raises(Refused, match=r"\?rows is no row of this figure"):
        client.figure(number, "svg", rows="dropout")
    client.ask_sweep(other, Ask.CANCEL)
    client.delete_sweep(other)
    client.ask(1, Ask.CANCEL)
    assert client.delete_sweep(number)["counts"]["queued"] == 2
    assert client.ask_sweep(number, Ask.CANCEL)["counts"]["cancelled"] == 2
    client.delete_sweep(number)
    assert list(client.sweeps()) == list(client.experiments()) == []


def test_a_sweep_goes_on_as_a_longer_one(client: Client, store: Store) -> None:
    number = client.submit_sweep({"base": {**spec(), "epochs": 3}, "axes": {"seed": [0, 1]}})["id"]
    with_success(store, claimed(store))
    longer = client.extend_sweep(number, 5, priority=3)
    assert (longer["extends"], longer["counts"]["queued"], longer.there) == (number, 1, False)
    assert [each["id"] for each in longer["left_out"]] == [2]
    assert [member["priority"] for member in client.members(longer["id"])] == [3]


def test_members_come_page_by_page_without_a_gap(client: Client) -> None:
    number = client.submit_sweep({"base": spec(), "axes": {"seed": [*range(1003)]}})["id"]
    assert [member["position"] for member in client.members(number)] == [*range(1003)]


def test_presets_are_found_by_their_names(client: Client) -> None:
    assert "paper" in [each["name"] for each in client.presets()]
    assert (client.preset("figure-3")["count"], client.preset("figure-3", as_drawn=True)["count"]) == (9, 4)
    for name, words in {
        "figure-9": "nothing of the name figure-9: there are figure-1",
        "../sweeps": "there is nothing at this path",
    }.items():
        with pytest.raises(Refused, match=words):
            client.preset(name)


def test_what_is_kept_beside_a_curve_and_changed_beside_it(client: Client, store: Store) -> None:
    number = client.submit(spec(epochs=2))["id"]
    assert client.set_priority(number, -5)["priority"] == -5
    claim = claimed(store)
    rows(store, claim, result(1, predictions=Predictions(b"1", b"0")))
    with store.writing() as tx:
        last = result(2, predictions=Predictions(b"1", b"0"), weights=b"safe")
        attempts.finish(tx, claim, last, State.SUCCEEDED)
    assert client.predictions(number)["epoch"] == 2
    assert client.predictions(number, epoch=1)["epoch"] == 1
    assert client.weights(number) == b"safe"
    client.delete(number)
    assert list(client.experiments()) == []


def test_a_list_comes_page_by_page_until_enough_have_come(client: Client) -> None:
    numbers = [client.submit(spec())["id"] for _ in range(4)][::-1]
    client.ask(numbers[0], Ask.CANCEL)
    assert [each["id"] for each in client.experiments()] == numbers
    assert [each["id"] for each in client.experiments(limit=3)] == numbers[:3]
    assert [each["id"] for each in client.experiments(limit=10**6)] == numbers
    assert [each["id"] for each in client.experiments(state="queued", model=None)] == numbers[1:]
    assert list(client.experiments(dataset="cifar10")) == []


def test_a_list_of_more_than_one_page_has_no_gap(client: Client, store: Store) -> None:
    with store.writing() as tx:
        numbers = [experiments.submit(tx, Spec.model_validate(spec())).id for _ in range(503)][::-1]
    assert [each["id"] for each in client.experiments(limit=502)] == numbers[:502]


def test_a_refusal_has_status_problem_and_a_sentence_for_each_fault(client: Client) -> None:
    with pytest.raises(Refused) as caught:
        client.submit(spec(epochs=0, seed=-1))
    assert caught.value.status == 422
    assert len(caught.value.problem["errors"]) == 2
    assert str(caught.value) == (
        "/epochs is out of range: 0 (allowed: an integer from 1 to 1000000); "
        "/seed is out of range: -1 (allowed: an integer from 0 to 4294967295)"
    )


def test_what_is_not_there_is_refused_with_a_sentence(client: Client) -> None:
    for ask in (
        client.experiment,
        client.curve,
        client.events,
        client.delete,
        client.predictions,
    ):
        with pytest.raises(Refused, match=r"^there is no experiment 99$") as caught:
            ask(99)
        assert caught.value.status == 404


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), "\ud800", "\x00", 10**400], ids=ascii)
def test_odd_values_reach_the_service_which_names_their_field(client: Client, odd: Any) -> None:
    with pytest.raises(Refused, match=r"^/name "):
        client.submit(spec(name=odd))


def test_nobody_at_the_address_is_a_sentence_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    client = Client(url)
    for ask in (client.workers, client.ready, lambda: client.submit(spec()), lambda: list(client.experiments())):
        with pytest.raises(Unreachable, match=rf"^no Ballast service answers at {url} \(.*ballast up.*BALLAST_URL$"):
            ask()
    client.close()


@pytest.mark.parametrize(
    "url", ["http://a b", "http://h\x01", "http://[::1", "ftp://h", "nonsense", "http://127.0.0.1:99999"]
)
def test_an_address_that_is_none_is_a_sentence_too(url: str) -> None:
    with pytest.raises(Unreachable, match="BALLAST_URL"):
        Client(url, timeout_seconds=1).ready()


def test_a_service_that_hangs_is_given_up_with_a_sentence_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(url, timeout_seconds=0.2)
        with pytest.raises(TooSlow, match=rf"^the service at {url} took longer than 0.2 s to answer: try again later$"):
            client.workers()
        with pytest.raises(TooSlow, match=r"to answer: it may still do what was asked, so look before you ask again$"):
            client.ask(1, Ask.CANCEL)
        safe = r"look before you ask again; in Python, the same again under key='[0-9a-f-]{36}' makes nothing twice"
        with pytest.raises(TooSlow, match=rf"to answer: it may still do what was asked, so {safe}$"):
            client.submit(spec())
        client.close()


def test_what_takes_long_is_waited_for() -> None:
    with stranger(200, b"{}", seconds=0.5) as url:
        client = Client(url, timeout_seconds=0.1)
        assert client.figure(1, "png") == b"{}"
        with pytest.raises(TooSlow):
            client.experiment(1)
        client.close()


@contextmanager
def stranger(status: int, body: bytes, seconds: float = 0, **headers: str) -> Iterator[str]:
    """Another program on that port, which answers everything in one way, `seconds` later."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"<html>Jupyter</html>", {}),
        (200, b"[]", {}),
        (200, b'"text"', {}),
        (200, b"null", {}),
        (200, b"", {}),
        (200, b"\xff\xfe\xfd", {}),
        (200, b"not gzip", {"Content_Encoding": "gzip"}),
        (302, b"", {"Location": "http://127.0.0.1:1/"}),
        (404, b"not here", {}),
        (500, b"[1]", {}),
    ],
)
def test_what_is_no_ballast_is_said_to_be_none(status: int, body: bytes, headers: dict[str, str]) -> None:
    with stranger(status, body, **headers) as url:
        client = Client(url)
        with pytest.raises(Unreachable, match="BALLAST_URL"):
            client.ready()
        client.close()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"errors": null}', b'{"errors": [{"x": 1}]}', b'{"errors": 5, "detail": "no"}']
)
def test_a_problem_of_another_form_is_refused_all_the_same(body: bytes) -> None:
    with stranger(418, body) as url:
        client = Client(url)
        with pytest.raises(ClientError) as caught:
            client.ready()
        assert str(caught.value)
        client.close()


class Middleman:
    """Between a client and a service: hands one request on and breaks the connection, as often as it should, before the
    service has it or after. It remembers the keys that it has seen."""

    def __init__(self, url: str, breaks: int, *, before: bool) -> None:
        self._service = httpx2.URL(url)
        self._breaks = breaks
        self._before = before
        self.keys: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                self._hand_on(link)

    def _hand_on(self, link: socket.socket) -> None:
        request = received(link)
        self.keys += re.findall(rb"idempotency-key: (\S+)", request, re.IGNORECASE)
        self._breaks -= 1
        if self._breaks >= 0 and self._before:
            return
        with socket.create_connection((self._service.host, self._service.port)) as service:
            service.sendall(re.sub(rb"(?i)connection: keep-alive", b"Connection: close", request))
            answer = b"".join(iter(lambda: service.recv(65_536), b""))
        if self._breaks < 0:
            link.sendall(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def received(link: socket.socket) -> bytes:
    """One whole request."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += link.recv(65_536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += link.recv(65_536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("breaks", [1, 3])
def test_what_broke_off_is_sent_again_under_the_same_key_and_makes_one(
    served: str, store: Store, breaks: int, before: bool
) -> None:
    for number, make in enumerate(
        (
            lambda client: client.submit(spec()),
            lambda client: client.submit_sweep({"base": spec(), "axes": {"seed": [1, 2]}}),
            lambda client: client.grow(1, {"seed": [3]}),
        )
    ):
        between = Middleman(served, breaks, before=before)
        client = Client(between.url)
        made = make(client)
        client.close()
        between.close()
        assert (len(between.keys), len(set(between.keys))) == (breaks + 1, 1)
        with store.reading() as tx:
            assert len(experiments.list_newest(tx, limit=10)) == [1, 3, 4][number]
        assert made["links"]


def test_a_service_that_starts_anew_meanwhile_is_waited_for(store: Store, doorbell: Doorbell) -> None:
    port = free_port()
    broken = threading.Event()

    def break_one() -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            link, _ = listener.accept()
            received(link)
            link.close()
        broken.set()

    thread = threading.Thread(target=break_one)
    thread.start()
    client = Client(f"http://127.0.0.1:{port}")
    made: list[Any] = []
    submission = threading.Thread(target=lambda: made.append(client.submit(spec())))
    submission.start()
    assert broken.wait(PATIENCE_S)
    thread.join()
    time.sleep(1)
    with serving(store, doorbell, port):
        submission.join()
    client.close()
    assert made[0]["id"] == 1


def test_what_is_never_reached_is_not_sent_again() -> None:
    client = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match="no Ballast service answers"):
        client.submit(spec())
    client.close()


def test_what_stays_broken_is_given_up_with_its_key() -> None:
    between = Middleman("http://127.0.0.1:1", 10**6, before=True)
    client = Client(between.url)
    words = rf"^the connection to the service at {between.url} broke off \(.+\): it may still do what was asked, so "
    with (
        stamina.set_testing(True, attempts=3),
        pytest.raises(BrokenOff, match=words + r"look before .* under key='mine' makes nothing twice$"),
    ):
        client.submit(spec(), key="mine")
    assert between.keys == [b"mine"] * 4
    with pytest.raises(BrokenOff, match=r"so look before you ask again$"):
        client.ask(1, Ask.CANCEL)
    client.close()
    between.close()


def test_each_call_has_a_key_of_its_own_unless_one_is_given(client: Client, store: Store) -> None:
    assert client.submit(spec())["id"] != client.submit(spec())["id"]
    for make in (
        lambda: client.submit(spec(), key="mine"),
        lambda: client.submit_sweep({"base": spec()}, key="mine"),
        lambda: client.grow(1, {"seed": [4]}, key="mine"),
    ):
        assert make() == make()
    with pytest.raises(Refused, match="another body or query"):
        client.submit(spec(seed=1), key="mine")
    with pytest.raises(Refused, match=r"^Idempotency-Key is no key"):
        client.submit(spec(), key="m i n e")
    with store.reading() as tx:
        kept = list(tx.execute(select(idempotency_keys.c.key)).scalars())
    assert (len(kept), len(set(kept)), kept.count("mine")) == (5, 3, 3)


def test_the_same_spec_is_found_with_dedupe(client: Client) -> None:
    first, again, other = (client.submit(spec(seed=seed), dedupe=True) for seed in (0, 0, 1))
    assert (first["id"], again["id"], other["id"]) == (1, 1, 2)
    assert (first.there, again.there, other.there) == (False, True, False)
