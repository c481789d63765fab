"""`POST /experiments/{id}/extend`, that of sweeps, and `ballast extend`; and that a deletion takes its checkpoints
along."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from core.store.session import Store
from tests.unit.api.builders import FILES, Json, problem, spec
from tests.unit.api.typed import Ballast
from tests.unit.store.builders import a_worker, claimed, submitted
from tests.unit.store.test_extensions import succeeded, with_success


def extend(client: TestClient, number: int, **body: object) -> Json:
    response = client.post(f"/experiments/{number}/extend", json=body)
    assert response.status_code == 201, response.text
    answer: Json = response.json()
    assert response.headers["location"] == answer["links"]["self"]
    return answer


def test_a_longer_one_begins_with_the_curve_that_there_is(client: TestClient, store: Store) -> None:
    parent = succeeded(store).experiment_id
    child = extend(client, parent, epochs=5)
    assert child["spec"]["epochs"] == child["epochs_total"] == 5
    assert (child["state"], child["extends"], child["epochs_done"]) == ("queued", parent, 3)
    assert client.get(child["links"]["curve"]).json()["epoch"] == [1, 2, 3]
    assert client.get(f"/experiments/{parent}").json()["state"] == "succeeded"
    kinds = [event["kind"] for event in client.get(child["links"]["events"]).json()["items"]]
    assert kinds == ["submitted", "extends"]


def test_under_one_key_it_is_extended_once(client: TestClient, store: Store) -> None:
    path, key = f"/experiments/{succeeded(store).experiment_id}/extend", {"Idempotency-Key": "longer"}
    first, again = (client.post(path, json={"epochs": 5}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = client.post(path, json={"epochs": 6}, headers=key)
    problem(other, 422)


@pytest.mark.parametrize("epochs", [2, 3])
def test_what_is_not_longer_is_refused_with_the_field(client: TestClient, store: Store, epochs: int) -> None:
    parent = succeeded(store, epochs=3).experiment_id
    body = problem(client.post(f"/experiments/{parent}/extend", json={"epochs": epochs}), 422)
    assert body["detail"] == f"experiment {parent} has 3 epochs already: ask for more"
    assert body["errors"] == [
        {"pointer": "/epochs", "detail": "is not longer", "value": epochs, "allowed": "more than 3"}
    ]


@pytest.mark.parametrize("body", [{}, {"epochs": "5"}, {"epochs": 1_000_001}, {"epochs": 5, "lr": 1}, []])
def test_other_bodies_are_refused(client: TestClient, store: Store, body: object) -> None:
    parent = succeeded(store).experiment_id
    problem(client.post(f"/experiments/{parent}/extend", json=body), 422)


def test_what_has_not_succeeded_or_is_not_there_cannot_be_extended(client: TestClient, store: Store) -> None:
    number = submitted(store)
    refused = problem(client.post(f"/experiments/{number}/extend", json={"epochs": 5}), 409)
    assert "is queued: only one that has succeeded can be extended" in refused["detail"]
    problem(client.post("/experiments/999/extend", json={"epochs": 5}), 404)


def test_the_command_extends_and_says_what_to_do_next(ballast: Ballast, store: Store) -> None:
    parent = succeeded(store).experiment_id
    output = ballast("extend", str(parent), "--epochs", "5")
    assert f"experiment {parent + 1} is queued: `ballast wait {parent + 1}` waits for it" in output
    assert ballast.json("extend", str(parent), "--epochs", "6")["extends"] == parent
    assert "/epochs is not longer" in ballast("extend", str(parent), "--epochs", "3", status=2)
    assert "only one that has succeeded" in ballast("extend", str(parent + 1), "--epochs", "9", status=1)


AXES = {"importance_weight": ["16:1", "1:1"], "seed": [1, 0]}


def a_sweep(client: TestClient, store: Store, succeed: int) -> str:
    """The path of one of four, the first `succeed` of whose queue have succeeded."""
    answer = client.post("/sweeps", json={"name": "mine", "base": {**spec(), "epochs": 3}, "axes": AXES})
    assert answer.status_code == 201, answer.text
    for _ in range(succeed):
        with_success(store, claimed(store))
    return str(answer.headers["location"])


def test_a_longer_sweep_begins_with_the_curves_that_there_are_and_names_the_others(
    client: TestClient, store: Store
) -> None:
    path = a_sweep(client, store, succeed=3)
    answer = client.post(f"{path}/extend?priority=7", json={"epochs": 5})
    sweep = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, "/sweeps/2")
    assert (sweep["name"], sweep["extends"], sweep["counts"]["queued"]) == ("mine", 1, 3)
    assert (sweep["epochs_done"], sweep["epochs_total"]) == (9, 15)
    assert [grid["base"]["epochs"] for grid in sweep["grids"]] == [5]
    items = sweep["members"]["items"]
    assert [(each["position"], each["priority"], each["extends"]) for each in items] == [
        (0, 7, 1),
        (1, 7, 3),
        (2, 7, 2),
    ]
    (left_out,) = sweep.pop("left_out")
    assert left_out == {"id": 4, "state": "queued", "reason": "only one that has succeeded can be extended"}
    assert client.get("/sweeps/2").json() == sweep
    assert client.get(items[0]["links"]["curve"]).json()["epoch"] == [1, 2, 3]
    assert client.get("/sweeps/2/figure.svg").status_code == 200


def test_a_longer_sweep_is_made_as_the_longer_specs_would_be(client: TestClient, store: Store) -> None:
    path = a_sweep(client, store, succeed=4)
    longer = client.post(f"{path}/extend", json={"epochs": 5}).json()
    submitted_whole = {"base": {**spec(), "epochs": 5}, "axes": AXES}
    there = client.post("/sweeps?dedupe=spec", json=submitted_whole)
    assert (there.status_code, there.json()["id"]) == (200, longer["id"])
    grown = client.post("/sweeps/2/members", json={"axes": {"seed": [2]}}).json()
    assert grown["counts"]["queued"] == 6
    assert [each["spec"]["epochs"] for each in grown["members"]["items"]] == [5] * 6


def test_under_one_key_a_sweep_is_extended_once(client: TestClient, store: Store) -> None:
    path, key = f"{a_sweep(client, store, succeed=2)}/extend", {"Idempotency-Key": "longer"}
    first, again = (client.post(path, json={"epochs": 5}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(client.get("/sweeps").json()["items"]) == 2
    problem(client.post(path, json={"epochs": 6}, headers=key), 422)


def test_what_is_no_longer_sweep_is_refused(client: TestClient, store: Store) -> None:
    path = f"{a_sweep(client, store, succeed=0)}/extend"
    refused = problem(client.post(path, json={"epochs": 5}), 409)
    assert "no experiment of sweep 1 can be extended: 4 queued" in refused["detail"]
    with_success(store, claimed(store))
    refused = problem(client.post(path, json={"epochs": 3}), 422)
    assert refused["errors"] == [
        {"pointer": "/epochs", "detail": "is not longer", "value": 3, "allowed": "more than 3"}
    ]
    for body in ({}, {"epochs": "5"}, {"epochs": 5, "seeds": 3}, []):
        problem(client.post(path, json=body), 422)
    problem(client.post("/sweeps/999/extend", json={"epochs": 5}), 404)
    problem(client.post(f"{path}?dry_run=true", json={"epochs": 3}), 422)
    problem(client.post(f"{path}?dedupe=name", json={"epochs": 5}), 422)
    problem(client.post("/sweeps/999/extend?dry_run=true", json={"epochs": 5}), 404)


def test_a_longer_sweep_is_tried_first_with_the_cost_of_what_is_still_to_train(
    client: TestClient, store: Store
) -> None:
    path = f"{a_sweep(client, store, succeed=3)}/extend"
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET epoch_seconds = 10, checkpoint_kind = 'cpu' WHERE state = 'succeeded'"))
    a_worker(store)
    tried = client.post(f"{path}?dry_run=true", json={"epochs": 5})
    assert tried.status_code == 200
    assert "location" not in tried.headers
    answer = tried.json()
    assert (answer["count"], [each["id"] for each in answer["left_out"]]) == (3, [4])
    assert answer["cost"] == {
        "seconds": 20.0,  # two epochs on each of three workers
        "device_seconds": 60.0,
        "workers": 4,
        "known_workers": 4,
        "measured": 3,
        "benchmarked": 0,
        "unknown": 0,
    }
    assert len(client.get("/sweeps").json()["items"]) == 1
    made = client.post(path, json={"epochs": 5}).json()
    assert [each["spec"] for each in made["members"]["items"]] == answer["specs"]
    again = client.post(f"{path}?dry_run=true&dedupe=spec", json={"epochs": 5}).json()
    assert (again["count"], again["specs"], [each["id"] for each in again["left_out"]]) == (0, [], [4])


def test_with_dedupe_a_sweep_is_extended_once_until_that_is_cancelled(client: TestClient, store: Store) -> None:
    path = f"{a_sweep(client, store, succeed=3)}/extend?dedupe=spec"
    made, there = (client.post(path, json={"epochs": 5}) for _ in range(2))
    assert (made.status_code, there.status_code) == (201, 200)
    assert made.json() == there.json()
    assert there.headers["location"] == "/sweeps/2"
    assert [each["id"] for each in there.json()["left_out"]] == [4]
    assert client.post(path, json={"epochs": 6}).json()["id"] == 3
    client.post("/sweeps/2/cancel")
    assert client.post(path, json={"epochs": 5}).json()["id"] == 4
    claim = claimed(store)  # the fourth, which succeeds after all: now there is more to go on with
    assert claim.experiment_id == 4
    with_success(store, claim)
    assert client.post(path, json={"epochs": 5}).json()["counts"]["queued"] == 4


def test_the_command_extends_a_sweep_and_names_what_it_leaves_out(
    ballast: Ballast, client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_sweep(client, store, succeed=2)
    notes: list[str] = []
    monkeypatch.setattr("api.cli.http.submit.print_note", notes.append)
    said = ballast("extend", "--sweep", "1", "--epochs", "5", "--priority", "-1")
    assert said == "sweep 2 is queued with 2 experiments that go on from sweep 1: follow it with `ballast watch 2`\n"
    assert notes == ["left out: experiments 3, 4 (queued): only one that has succeeded can be extended"]
    assert ballast.json("show", "--sweep", "2")["members"]["items"][0]["priority"] == -1
    assert ballast("list", "--sweeps").splitlines()[1].split("\t")[:4] == [
        "2",
        "mine, extends sweep 1",
        "2 queued",
        "6/10",
    ]
    answer = ballast.json("extend", "--sweep", "1", "--epochs", "6")
    assert (answer["extends"], [each["id"] for each in answer["left_out"]]) == (1, [3, 4])
    assert "/epochs is not longer" in ballast("extend", "--sweep", "1", "--epochs", "3", status=2)
    assert "no experiment of sweep 3 can be" in ballast("extend", "--sweep", "3", "--epochs", "9", status=1)
    tried = ballast("extend", "--sweep", "1", "--epochs", "7", "--dry-run")
    assert "2 experiments: " in tried
    assert notes[-1] == "left out: experiments 3, 4 (queued): only one that has succeeded can be extended"
    assert ballast.json("extend", "--sweep", "1", "--epochs", "7", "--dry-run")["count"] == 2
    assert ballast("extend", "--sweep", "1", "--epochs", "6", "--dedupe", "--dry-run").startswith("nothing that is not")
    assert ballast("extend", "--sweep", "1", "--epochs", "6", "--dedupe").startswith("sweep 3 was there already with 2")
    assert ballast.json("extend", "--sweep", "1", "--epochs", "6", "--dedupe")["id"] == 3
    for option in ("--dedupe", "--dry-run"):
        assert "give --sweep" in ballast("extend", "1", "--epochs", "6", option, status=2)
    for words in (("--epochs", "5"), ("1", "--sweep", "1", "--epochs", "5")):
        assert "--sweep" in ballast("extend", *words, status=2)


def test_a_deletion_takes_the_bytes_unless_a_child_needs_them(client: TestClient, store: Store) -> None:
    claim = succeeded(store)
    path = f"{claim.folder}/1-3-0"
    FILES.write(path, b"content")
    child = extend(client, claim.experiment_id, epochs=5)
    assert client.delete(f"/experiments/{claim.experiment_id}").status_code == 204
    assert FILES.paths_in(claim.folder) == [path]
    client.post(f"/experiments/{child['id']}/cancel")
    assert client.delete(f"/experiments/{child['id']}").status_code == 204
    assert FILES.paths_in(claim.folder) == []


def test_one_that_waits_for_a_kind_of_device_says_so(client: TestClient, store: Store) -> None:
    child = extend(client, succeeded(store).experiment_id, epochs=5)  # an H200 has trained its parent
    a_worker(store)
    because = client.get(child["links"]["self"]).json()["waiting_because"]
    assert "it waits for the kind of device that wrote its checkpoint, H200" in because
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requeued_ms = requeued_ms - 600001"))
    assert client.get(child["links"]["self"]).json()["waiting_because"] == "it is the next in the queue"
    assert client.post("/experiments", json=spec()).status_code == 201
