"""Submitted once: the same request under the same key, and the same spec under `dedupe`."""

import json
import string
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select, update

from core.states import Ask, ErrorKind, State
from core.store import attempts, wishes
from core.store.experiments import ExperimentError
from core.store.idempotency import KEPT_MS
from core.store.session import Store
from core.store.tables import experiments, idempotency_keys
from tests.servers import PATIENCE_S
from tests.unit.api.builders import Json, problem, spec
from tests.unit.store.builders import claimed, result

KEY = {"Idempotency-Key": "abc"}
GRID = {"base": spec(), "axes": {"seed": [0, 1]}}
ROUTES = {"/experiments": spec(), "/sweeps": GRID, "/sweeps/1/members": {"axes": {"seed": [2, 3]}}}


@pytest.fixture
def sweep(client: TestClient) -> int:
    number: int = client.post("/sweeps", json=GRID).json()["id"]
    assert number == 1
    return number


def count(store: Store) -> int:
    with store.reading() as tx:
        return tx.execute(select(func.count()).select_from(experiments)).scalar_one()


def keys(store: Store) -> list[str]:
    with store.reading() as tx:
        return list(tx.execute(select(idempotency_keys.c.key)).scalars())


def is_replay(first: Response, again: Response) -> bool:
    """Whether it is the same answer, said to be one that was given before."""
    assert "idempotency-replayed" not in first.headers
    same = (again.status_code, again.content, again.headers["location"], again.headers["content-type"])
    return again.headers.get("idempotency-replayed") == "true" and same == (
        first.status_code,
        first.content,
        first.headers["location"],
        first.headers["content-type"],
    )


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("path", ROUTES)
def test_the_same_request_under_the_same_key_is_answered_as_the_first_was(
    client: TestClient, store: Store, path: str
) -> None:
    first = client.post(path, json=ROUTES[path], headers=KEY)
    assert first.status_code == 201
    assert first.json()["links"]["self"] == first.headers["location"]
    before = count(store)
    client.post("/sweeps/1/pause")  # what was answered stays as it was
    for _ in range(2):
        assert is_replay(first, client.post(path, json=ROUTES[path], headers=KEY))
    assert count(store) == before
    assert client.post(path, json=ROUTES[path], headers={"Idempotency-Key": "abd"}).status_code == 201


def test_without_a_key_every_request_is_another(client: TestClient, store: Store) -> None:
    numbers = {client.post("/experiments", json=spec()).json()["id"] for _ in range(3)}
    assert (len(numbers), count(store), keys(store)) == (3, 3, [])


SAME_BODIES = [
    '{"dataset": {"name": "digits"}, "importance_weight": "1:1", "optimizer": {"lr": 1.0}, "epochs": 3}',
    '\n{"epochs":3,"optimizer":{"lr":1},"importance_weight":"1:1","dataset":{"name":"digits"}}\n',
    '{"epochs":3,"optimizer":{"lr":1e0},"\\u0069mportance_weight":"1\\u003a1","dataset":{"name":"digits"}}',
]


def test_how_a_body_is_written_does_not_matter(client: TestClient) -> None:
    sent = {**KEY, "Content-Type": "application/json"}
    first, *more = (client.post("/experiments?priority=3", content=body, headers=sent) for body in SAME_BODIES)
    assert all(is_replay(first, again) for again in more)


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("path", ROUTES)
def test_with_a_slash_at_its_end_a_path_is_the_same_route(client: TestClient, path: str) -> None:
    first = client.post(f"{path}/", json=ROUTES[path], headers=KEY, follow_redirects=False)
    again = client.post(path, json=ROUTES[path], headers=KEY)
    assert first.status_code == 201
    assert is_replay(first, again)


def test_the_order_of_a_query_does_not_matter(client: TestClient) -> None:
    first = client.post("/experiments?priority=3&dedupe=spec", json=spec(), headers=KEY)
    assert is_replay(first, client.post("/experiments?dedupe=spec&priority=%33", json=spec(), headers=KEY))


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("path", ROUTES)
def test_another_body_or_query_under_a_key_that_was_used_is_refused(
    client: TestClient, store: Store, path: str
) -> None:
    first = client.post(path, json=ROUTES[path], headers=KEY)
    before = count(store)
    other = {"axes": {"seed": [4]}} if path.endswith("members") else ROUTES[path] | {"name": "another"}
    for response in (
        client.post(path, json=other, headers=KEY),
        client.post(f"{path}?priority=1", json=ROUTES[path], headers=KEY),
    ):
        assert problem(response, 422)["detail"] == (
            "this Idempotency-Key was sent before with another body or query: send a new request under a new key"
        )
    assert count(store) == before
    assert is_replay(first, client.post(path, json=ROUTES[path], headers=KEY))


def test_the_same_key_on_another_route_is_another_request(client: TestClient, store: Store) -> None:
    for path, experiments_then in {"/sweeps": 2, "/experiments": 3, "/sweeps/1/members": 5}.items():
        assert client.post(path, json=ROUTES[path], headers=KEY).status_code == 201
        assert count(store) == experiments_then
    second = client.post("/sweeps", json=GRID, headers={"Idempotency-Key": "abd"}).json()["id"]
    grown = client.post(f"/sweeps/{second}/members", json={"axes": {"seed": [9]}}, headers=KEY)
    assert (grown.json()["id"], grown.headers["location"]) == (second, f"/sweeps/{second}")
    assert count(store) == 8


@pytest.mark.parametrize(
    "key",
    [
        *("a", "~", "a" * 255, "5f0c1c0e-6d0f-4a57-9d3b-2f6a1f9f1b52", "null", "1", "a,b;c=d", "%00", "a\\", 'a"b'),
        "".join(sorted(set(string.printable) - set(string.whitespace))),
    ],
)
def test_a_key_is_any_visible_ascii(client: TestClient, store: Store, key: str) -> None:
    first = client.post("/experiments", json=spec(), headers={"Idempotency-Key": key})
    assert first.status_code == 201, first.text
    assert keys(store) == [key]
    assert is_replay(first, client.post("/experiments", json=spec(), headers={"Idempotency-Key": key}))


def test_a_quoted_key_is_the_same_as_the_bare_one(client: TestClient, store: Store) -> None:
    for key in ("abc", "a" * 255):
        first = client.post("/experiments", json=spec(), headers={"Idempotency-Key": f'"{key}"'})
        assert is_replay(first, client.post("/experiments", json=spec(), headers={"Idempotency-Key": key}))
    assert sorted(keys(store)) == ["a" * 255, "abc"]


BAD_KEYS = ["", '""', '"', '"abc', '"a"b"', '"a\\"b"', "a b", "a\tb", "é", "\x7f", "a" * 256, f'"{"a" * 256}"', "\x01"]


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("path", ROUTES)
def test_anything_else_is_refused_and_the_header_named(client: TestClient, store: Store, path: str) -> None:
    before = count(store)
    for key in BAD_KEYS:
        sent = {b"Idempotency-Key": key.encode("latin-1")}
        refusal = problem(client.post(path, json=ROUTES[path], headers=sent), 422)
        (fault,) = refusal["errors"]
        assert (fault["pointer"], fault["detail"]) == ("Idempotency-Key", "is no key")
        assert fault["value"] == key[:100] or not key.isascii()
        assert fault["allowed"].startswith("1 to 255 visible ASCII characters")
        assert refusal["detail"].startswith("Idempotency-Key is no key: ")
    assert (count(store), keys(store)) == (before, [])


def test_two_keys_are_one_too_many(client: TestClient, store: Store) -> None:
    headers = [("Idempotency-Key", "a"), ("idempotency-key", "b")]
    refusal = problem(client.post("/experiments", json=spec(), headers=headers), 422)
    assert refusal["detail"] == 'Idempotency-Key is there more than once: "a"'
    assert count(store) == 0


@pytest.mark.parametrize("content", ["", "{", "null", '{"a": 1, "a": 2}', "[" * 10_000])
def test_a_key_makes_no_bad_body_any_better(client: TestClient, store: Store, content: str) -> None:
    sent = {**KEY, "Content-Type": "application/json"}
    response = client.post("/experiments", content=content, headers=sent)
    problem(response, response.status_code)
    assert response.status_code in (400, 422)
    assert keys(store) == []


@pytest.mark.parametrize("depth", [100, 500, 900, 950, 975, 990, 1000])
def test_depth_that_can_be_read_can_be_recognized(client: TestClient, depth: int) -> None:
    """An axis takes the place of what lies so deep."""
    body = json.dumps({"base": spec(seed="@"), "axes": {"seed": [1]}}).replace('"@"', "[" * depth + "]" * depth)
    sent = {**KEY, "Content-Type": "application/json"}
    first, again = (client.post("/sweeps", content=body, headers=sent) for _ in range(2))
    assert first.status_code in ((201,) if depth < 900 else (201, 400, 422))
    assert again.status_code == first.status_code
    assert first.status_code != 201 or is_replay(first, again)


def test_odd_values_that_an_axis_replaces_can_be_recognized(client: TestClient) -> None:
    for number, odd in enumerate(('"\\ud800"', "NaN", "-Infinity", "1e400", "1e308", "9" * 4000)):
        body = json.dumps({"base": spec(seed="@"), "axes": {"seed": [number]}}).replace('"@"', odd)
        sent = {"Idempotency-Key": str(number), "Content-Type": "application/json"}
        first, again = (client.post("/sweeps", content=body, headers=sent) for _ in range(2))
        assert first.status_code in (201, 422)
        assert first.status_code == again.status_code


def test_a_refused_request_leaves_its_key_unused(client: TestClient, store: Store) -> None:
    problem(client.post("/experiments", json=spec(epochs=0), headers=KEY), 422)
    problem(client.post("/sweeps/99/members", json={"axes": {"seed": [1]}}, headers=KEY), 404)
    assert keys(store) == []
    first = client.post("/experiments", json=spec(), headers=KEY)
    assert is_replay(first, client.post("/experiments", json=spec(), headers=KEY))


def test_a_key_is_forgotten_after_a_day(client: TestClient, store: Store) -> None:
    first = client.post("/experiments", json=spec(), headers=KEY).json()["id"]
    with store.writing() as tx:
        tx.execute(update(idempotency_keys).values(created_ms=idempotency_keys.c.created_ms - KEPT_MS))
    again = client.post("/experiments", json=spec(seed=7), headers=KEY)
    assert again.status_code == 201
    assert again.json()["id"] > first
    assert len(keys(store)) == 1


def test_a_dry_run_neither_uses_a_key_nor_is_answered_by_it(client: TestClient, store: Store) -> None:
    for path, body in {"/sweeps": GRID, "/sweeps/1/members": {"axes": {"seed": [2]}}}.items():
        tried = client.post(f"{path}?dry_run=true", json=body, headers=KEY)
        made = client.post(path, json=body, headers=KEY)
        again = client.post(f"{path}?dry_run=true", json=body, headers=KEY)
        assert (tried.status_code, made.status_code, again.status_code) == (200, 201, 200)
        assert "idempotency-replayed" not in again.headers
    assert keys(store) == ["abc", "abc"]


def test_growth_is_answered_again_even_when_the_sweep_is_gone(client: TestClient, sweep: int) -> None:
    here = f"/sweeps/{sweep}"
    first = client.post(f"{here}/members", json={"axes": {"seed": [2]}}, headers=KEY)
    client.post(f"{here}/cancel")
    client.delete(here)
    problem(client.get(here), 404)
    assert is_replay(first, client.post(f"{here}/members", json={"axes": {"seed": [2]}}, headers=KEY))
    problem(client.post(f"{here}/members", json={"axes": {"seed": [3]}}, headers=KEY), 422)


def answers_at_once(n: int, post: Callable[[int], Response]) -> list[Response]:
    answers: list[Response] = []
    barrier = threading.Barrier(n)

    def send(number: int) -> None:
        barrier.wait(PATIENCE_S)
        answers.append(post(number))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == n
    return answers


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("path", ROUTES)
def test_ten_at_once_under_one_key_make_one(client: TestClient, store: Store, path: str) -> None:
    before = count(store)
    answers = answers_at_once(10, lambda _: client.post(path, json=ROUTES[path], headers=KEY))
    (first,) = (each for each in answers if "idempotency-replayed" not in each.headers)
    assert sum(is_replay(first, each) for each in answers) == 9
    assert count(store) == before + (1 if path == "/experiments" else 2)


def test_ten_at_once_that_differ_in_key_grow_a_sweep_by_each_member_once(client: TestClient, sweep: int) -> None:
    def grow(number: int) -> Response:
        axes = {"seed": [100 + number, 200]}
        return client.post(f"/sweeps/{sweep}/members", json={"axes": axes}, headers={"Idempotency-Key": str(number)})

    assert {response.status_code for response in answers_at_once(10, grow)} == {201}
    assert client.get(f"/sweeps/{sweep}").json()["counts"]["queued"] == 2 + 11


def submit_with_dedupe(client: TestClient, **fields: Any) -> Response:
    return client.post("/experiments?dedupe=spec", json=spec(**fields))


def test_the_same_spec_again_is_the_same_experiment(client: TestClient, store: Store) -> None:
    first = submit_with_dedupe(client, name="one")
    assert (first.status_code, first.headers["location"]) == (201, "/experiments/1")
    again = client.post("/experiments?dedupe=spec&priority=9", json=spec(name="another", seed=0))
    assert (again.status_code, again.headers["location"]) == (200, "/experiments/1")
    assert again.json() == first.json()
    assert submit_with_dedupe(client, seed=1).status_code == client.post("/experiments", json=spec()).status_code == 201
    assert submit_with_dedupe(client).json()["id"] == 3  # the newest
    assert count(store) == 3


def test_a_member_of_a_sweep_is_found_too(client: TestClient) -> None:
    member = client.post("/sweeps", json=GRID).json()["members"]["items"][1]
    found = submit_with_dedupe(client, seed=1)
    assert (found.status_code, found.json()) == (200, member)


def bring_into(store: Store, state: State) -> None:
    """The one experiment that there is."""
    with store.writing() as tx:
        match state:
            case State.PAUSED:
                wishes.ask(tx, 1, Ask.PAUSE)
            case State.CANCELLED:
                wishes.ask(tx, 1, Ask.CANCEL)
    if state in (State.RUNNING, State.SUCCEEDED, State.FAILED):
        claim = claimed(store)
        error = ExperimentError(ErrorKind.BAD_DATA, "no image") if state is State.FAILED else None
        with store.writing() as tx:
            if state is not State.RUNNING:
                attempts.finish(tx, claim, result(3), state, error)


@pytest.mark.parametrize("state", State)
def test_only_what_has_neither_failed_nor_been_cancelled_is_found(
    client: TestClient, store: Store, state: State
) -> None:
    submit_with_dedupe(client)
    bring_into(store, state)
    again = submit_with_dedupe(client)
    is_new = state in (State.FAILED, State.CANCELLED)
    assert (again.status_code, again.json()["id"]) == ((201, 2) if is_new else (200, 1))
    assert again.json()["state"] == ("queued" if is_new else state)


def test_what_is_about_to_be_cancelled_is_not_found(client: TestClient, store: Store) -> None:
    submit_with_dedupe(client)
    bring_into(store, State.RUNNING)
    client.post("/experiments/1/pause")
    assert submit_with_dedupe(client).status_code == 200
    client.post("/experiments/1/cancel")
    assert submit_with_dedupe(client).status_code == 201


def test_ten_at_once_of_the_same_spec_make_one(client: TestClient, store: Store) -> None:
    answers = answers_at_once(10, lambda _: submit_with_dedupe(client))
    assert sorted(each.status_code for each in answers) == [200] * 9 + [201]
    assert (len({each.json()["id"] for each in answers}), count(store)) == (1, 1)


def test_what_was_found_is_answered_again_under_its_key(client: TestClient, store: Store) -> None:
    submit_with_dedupe(client)
    first = client.post("/experiments?dedupe=spec", json=spec(), headers=KEY)
    client.post("/experiments/1/cancel")
    again = client.post("/experiments?dedupe=spec", json=spec(), headers=KEY)
    assert again.status_code == 200
    assert is_replay(first, again)
    assert count(store) == 1


@pytest.mark.parametrize("value", ["", "true", "Spec", "name", "%00", "spec&dedupe=spec"])
def test_there_is_one_way_to_dedupe(client: TestClient, store: Store, value: str) -> None:
    fault: Json = problem(client.post(f"/experiments?dedupe={value}", json=spec()), 422)["errors"][0]
    assert fault["pointer"] == "?dedupe"
    assert fault["allowed"] == ("spec" if "&" not in value else None)
    assert count(store) == 0
