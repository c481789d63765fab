"""The Python client against the application under a real uvicorn; and against what is no Ballast at all."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from api.client import Client, ClientError, Refused, TooSlow, Unreachable
from core.results import EpochResult, Predictions
from core.spec import Spec
from core.states import Ask, State
from core.store import claims, experiments
from core.store.session import Store
from tests.servers import free_port
from tests.unit.api.builders import spec
from tests.unit.store.builders import a_worker, claimed, result


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def client(served: str) -> Iterator[Client]:
    client = Client(served)
    yield client
    client.close()


def rows(store: Store, claim: claims.Claim, *rows: EpochResult) -> None:
    for row in rows:
        with store.writing() as tx:
            claims.record(tx, claim, row)


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
    client.ask(1, Ask.CANCEL)
    assert client.delete_sweep(number)["counts"]["queued"] == 2
    assert client.ask_sweep(number, Ask.CANCEL)["counts"]["cancelled"] == 2
    client.delete_sweep(number)
    assert list(client.sweeps()) == list(client.experiments()) == []


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
        claims.finish(tx, claim, last, State.SUCCEEDED)
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
