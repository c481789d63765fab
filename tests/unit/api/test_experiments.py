"""Experiments over HTTP: submitted, shown, listed page by page, cancelled in each state; and what happened to them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from core.settings import Settings
from core.spec import Spec
from core.states import ErrorKind, State
from core.store import attempts, leases
from core.store.experiments import ExperimentError
from core.store.session import Store
from core.store.tables import experiments
from tests.unit.api.builders import problem, spec
from tests.unit.store.builders import claimed, result

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def submit(client: TestClient, **fields: Any) -> int:
    response = client.post("/experiments", json=spec(**fields))
    assert response.status_code == 201
    number: int = response.json()["id"]
    return number


def rings(settings: Settings) -> list[Path]:
    return list((settings.queue_dir / "messages").glob("*.msg"))


def test_a_submitted_experiment_has_every_key_of_the_contract(client: TestClient) -> None:
    sent = spec(name="é 16:1", model={"name": "mlp"})
    response = client.post("/experiments", json=sent)
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    experiment = response.json()
    assert response.headers["location"] == f"/experiments/{experiment['id']}"
    assert TIME.fullmatch(experiment.pop("created_at"))
    number = experiment.pop("id")
    assert experiment == {
        "revision": 1,
        "name": "é 16:1",
        "owner": "local",
        "state": "queued",
        "stalled": False,
        "waiting_because": "no worker is alive: start one with `ballast worker`, unless one is starting",
        "spec": Spec.model_validate(sent).model_dump(),
        "digest": Spec.model_validate(sent).digest,
        "sweep_id": None,
        "position": None,
        "device": "any",
        "priority": 0,
        "attempt": 0,
        "failures": 0,
        "epochs_done": 0,
        "epochs_total": 3,
        "eta_seconds": None,
        "last_row": None,
        "fit": None,
        "error": None,
        "requested": None,
        "worker": None,
        "extends": None,
        "provenance": None,
        "started_at": None,
        "ended_at": None,
        "links": {
            "self": f"/experiments/{number}",
            "curve": f"/experiments/{number}/curve",
            "events": f"/experiments/{number}/events",
        },
    }


def test_what_is_shown_is_what_was_answered_and_its_links_lead_somewhere(client: TestClient) -> None:
    response = client.post("/experiments", json=spec())
    assert client.get(response.headers["location"]).json() == response.json()
    assert {client.get(link).status_code for link in response.json()["links"].values()} == {200}


def test_a_shown_spec_runs_again_as_it_is(client: TestClient) -> None:
    first = client.post("/experiments", json=spec()).json()
    again = client.post("/experiments", json=first["spec"]).json()
    assert (again["spec"], again["digest"]) == (first["spec"], first["digest"])
    assert again["id"] > first["id"]


@pytest.mark.parametrize("priority", [-100, 0, 7, 100])
def test_a_priority_is_kept(client: TestClient, priority: int) -> None:
    experiment = client.post(f"/experiments?priority={priority}", json=spec()).json()
    assert experiment["priority"] == priority


def test_the_higher_priority_is_claimed_first(client: TestClient, store: Store) -> None:
    submit(client)
    first = client.post("/experiments?priority=1", json=spec()).json()["id"]
    assert claimed(store).experiment_id == first


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_announced_in_several_ways(client: TestClient, media_type: str) -> None:
    response = client.post("/experiments", content=json.dumps(spec()), headers={"content-type": media_type})
    assert response.status_code == 201


def test_a_submission_rings_once_and_a_refused_one_does_not(client: TestClient, settings: Settings) -> None:
    submit(client)
    assert len(rings(settings)) == 1
    problem(client.post("/experiments", json=spec(epochs=0)), 422)
    assert len(rings(settings)) == 1


def test_a_running_experiment_names_its_worker_and_a_failed_one_its_error(client: TestClient, store: Store) -> None:
    number = submit(client)
    claim = claimed(store)
    running = client.get(f"/experiments/{number}").json()
    assert (running["state"], running["attempt"], running["worker"]) == ("running", 1, "gpu1:42")
    assert TIME.fullmatch(running["started_at"])
    error = ExperimentError(ErrorKind.INTERNAL, "it broke", "Traceback …")
    with store.writing() as tx:
        attempts.finish(tx, claim, result(1), State.FAILED, error)
    failed = client.get(f"/experiments/{number}").json()
    assert (failed["state"], failed["epochs_done"], failed["worker"]) == ("failed", 1, None)
    assert failed["error"] == {"kind": "internal", "message": "it broke", "traceback": "Traceback …"}
    assert TIME.fullmatch(failed["ended_at"])
    assert failed["revision"] > running["revision"]


def test_a_list_is_newest_first(client: TestClient) -> None:
    numbers = [submit(client) for _ in range(3)]
    listed = client.get("/experiments").json()
    assert [item["id"] for item in listed["items"]] == numbers[::-1]
    assert listed["next_cursor"] is None
    assert listed["items"][0] == client.get(f"/experiments/{numbers[-1]}").json()


def test_an_empty_list_is_a_list(client: TestClient) -> None:
    assert client.get("/experiments").json() == {"items": [], "next_cursor": None}


def test_pages_have_no_gap_and_no_duplicate_while_new_experiments_arrive(client: TestClient) -> None:
    numbers = [submit(client) for _ in range(7)]
    seen: list[int] = []
    cursor = None
    pages = 0
    while True:
        page = client.get("/experiments", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        pages += 1
        submit(client)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == numbers[::-1]
    assert pages == 3


def test_a_page_that_ends_with_the_last_experiment_has_no_next(client: TestClient) -> None:
    for _ in range(3):
        submit(client)
    page = client.get("/experiments?limit=3").json()
    assert (len(page["items"]), page["next_cursor"]) == (3, None)
    assert client.get("/experiments?limit=500").status_code == 200
    assert client.get("/experiments?cursor=0").json()["items"] == []


def test_a_list_holds_fifty_unless_said(client: TestClient) -> None:
    for _ in range(51):
        submit(client)
    page = client.get("/experiments").json()
    assert len(page["items"]) == 50
    assert page["next_cursor"] is not None


FILTERS = {
    "state=queued": "dcb",
    "state=cancelled": "a",
    "state=running": "",
    "dataset=digits": "b",
    "model=resnet": "c",
    "importance_weight=1:16": "d",
    "importance_weight=1.0:16": "",  # as it was written
    "dataset=mnist&state=queued": "dc",
}


def test_a_list_can_be_narrowed(client: TestClient) -> None:
    first = submit(client, name="a")
    submit(client, name="b", dataset={"name": "digits"})
    submit(client, name="c", model={"name": "resnet"})
    submit(client, name="d", importance_weight="1:16")
    client.post(f"/experiments/{first}/cancel")
    for query, found in FILTERS.items():
        response = client.get(f"/experiments?{query}")
        assert response.status_code == 200, query
        assert "".join(item["name"] for item in response.json()["items"]) == found, query


@pytest.mark.parametrize("name", ["dataset", "model", "importance_weight"])
def test_a_nul_in_a_query_is_refused_on_every_database(client: TestClient, name: str) -> None:
    """PostgreSQL takes none in a text."""
    refusal = problem(client.get(f"/experiments?{name}=%00"), 422)
    assert refusal["errors"][0]["pointer"] == f"?{name}"


def test_an_experiment_that_a_newer_ballast_wrote_hides_no_other(client: TestClient, store: Store) -> None:
    submit(client)
    newer = submit(client)
    stored = json.dumps({**Spec.model_validate(spec()).model_dump(), "label_noise": 0.1})
    with store.writing() as tx:
        tx.execute(update(experiments).where(experiments.c.id == newer).values(spec=stored))
    items = client.get("/experiments").json()["items"]
    assert len(items) == 2
    assert items[0]["spec"] == json.loads(stored)


def test_a_queued_experiment_is_cancelled_at_once_and_the_same_again_is_202_again(client: TestClient) -> None:
    number = submit(client)
    first = client.post(f"/experiments/{number}/cancel")
    again = client.post(f"/experiments/{number}/cancel")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["state"] == "cancelled"
    assert TIME.fullmatch(first.json()["ended_at"])
    assert again.json() == first.json()


def test_a_running_experiment_is_asked_and_ends_when_its_worker_obeys(client: TestClient, store: Store) -> None:
    number = submit(client)
    claim = claimed(store)
    answer = client.post(f"/experiments/{number}/cancel")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["requested"]) == ("running", "cancel")
    assert client.post(f"/experiments/{number}/cancel").json() == answer.json()
    with store.writing() as tx:
        leases.release(tx, claim)
    experiment = client.get(f"/experiments/{number}").json()
    assert (experiment["state"], experiment["requested"]) == ("cancelled", None)
    assert client.post(f"/experiments/{number}/cancel").status_code == 202


def test_a_paused_experiment_is_cancelled_at_once(client: TestClient, store: Store) -> None:
    number = submit(client)
    with store.writing() as tx:
        tx.execute(update(experiments).values(state=State.PAUSED))
    assert client.get(f"/experiments/{number}").json()["state"] == "paused"
    assert client.post(f"/experiments/{number}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_what_has_ended_cannot_be_cancelled_and_the_problem_names_the_state(
    client: TestClient, store: Store, state: State
) -> None:
    number = submit(client)
    error = ExperimentError(ErrorKind.BAD_DATA, "no image") if state is State.FAILED else None
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), state, error)
    before = client.get(f"/experiments/{number}").json()
    refusal = problem(client.post(f"/experiments/{number}/cancel"), 409)
    has = "has succeeded already" if state is State.SUCCEEDED else "has failed"
    assert refusal["detail"] == f"experiment {number} {has}: it cannot be cancelled"
    assert client.get(f"/experiments/{number}").json() == before


def test_events_tell_what_happened_oldest_first(client: TestClient, store: Store) -> None:
    loss = {"name": "cross_entropy", "normalization": "batch_size"}
    number = submit(client, loss=loss)
    claim = claimed(store)
    client.post(f"/experiments/{number}/cancel")
    with store.writing() as tx:
        leases.release(tx, claim)
    listed = client.get(f"/experiments/{number}/events").json()
    assert list(listed) == ["items"]
    items = listed["items"]
    assert [set(item) for item in items] == [
        {"id", "at", "kind", "from", "to", "attempt", "worker", "actor", "detail"} for _ in items
    ]
    assert all(TIME.fullmatch(item["at"]) for item in items)
    assert [item["id"] for item in items] == sorted(item["id"] for item in items)
    happened = [(item["kind"], item["from"], item["to"], item["attempt"], item["worker"]) for item in items]
    assert happened == [
        ("submitted", None, "queued", 0, None),
        ("warning", None, None, 0, None),
        ("claimed", "queued", "running", 1, "gpu1:42"),
        ("requested", None, None, 1, "gpu1:42"),
        ("cancelled", "running", "cancelled", 1, "gpu1:42"),
    ]
    assert items[3]["detail"] == "cancel"


NO_SUCH_IDS = [
    *("0", "-1", "99", "x", "1.0", "+1", "%201", "1%20", "01", "0_1", "1e0", "%D9%A1", "true", "null"),
    *(str(2**31), str(2**63), str(10**30), "9" * 4299, "9" * 5000),
    *("%00", "%FF", "1%00", "%ED%A0%80", "..%2F1", "1;a"),
]


@pytest.mark.parametrize("path", ["", "/curve", "/events"])
def test_what_is_no_such_id_is_not_found(client: TestClient, path: str) -> None:
    submit(client)
    for number in NO_SUCH_IDS:
        problem(client.get(f"/experiments/{number}{path}"), 404)


def test_what_does_not_exist_cannot_be_cancelled(client: TestClient) -> None:
    first = submit(client)
    for number in NO_SUCH_IDS:
        problem(client.post(f"/experiments/{number}/cancel"), 404)
    assert client.get(f"/experiments/{first}").json()["state"] == "queued"
