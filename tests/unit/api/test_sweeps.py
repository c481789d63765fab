"""Sweeps over HTTP: whole or not at all, paged, grown, wished for, drawn, deleted; presets; and what else an experiment
has since: priority, deletion, predictions, weights, an outlook."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from core.results import Predictions
from core.states import State
from core.store import attempts, leases
from core.store.session import Store
from tests.unit.api.builders import Json, problem, spec
from tests.unit.store.builders import PROVENANCE, a_worker, claimed, result

BASE = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 3}
AXES = {"importance_weight": ["16:1", "1:16"], "seed": [0, 1]}


def submit_sweep(client: TestClient, **request: Any) -> Json:
    response = client.post("/sweeps", json={"base": BASE, "axes": AXES, **request})
    assert response.status_code == 201, response.text
    body: Json = response.json()
    assert response.headers["location"] == f"/sweeps/{body['id']}"
    return body


def counts(store: Store) -> list[int]:
    with store.reading() as tx:
        return [
            tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in ("sweeps", "experiments", "events")
        ]


def test_a_sweep_has_every_key_of_the_contract(client: TestClient) -> None:
    sweep = submit_sweep(client, name="mine")
    assert list(sweep) == [
        *(
            "id",
            "name",
            "owner",
            "device",
            "preset",
            "counts",
            "epochs_done",
            "epochs_total",
            "eta_seconds",
            "waiting_because",
            "created_at",
            "grids",
            "extends",
            "links",
        ),
        "members",
    ]
    assert sweep["counts"] == dict.fromkeys(map(str, State), 0) | {"queued": 4}
    assert (sweep["epochs_done"], sweep["epochs_total"], sweep["eta_seconds"]) == (0, 12, None)
    assert sweep["grids"] == [{"base": BASE, "axes": AXES, "name": ""}]
    assert [(each["sweep_id"], each["position"]) for each in sweep["members"]["items"]] == [
        (sweep["id"], position) for position in range(4)
    ]
    assert client.get(f"/sweeps/{sweep['id']}").json() == sweep


def test_members_come_page_by_page_in_order(client: TestClient) -> None:
    sweep = submit_sweep(client, axes={"importance_weight": ["1:1"], "seed": list(range(7))})
    seen, cursor = [], "0"
    while cursor is not None:
        page = client.get(f"/sweeps/{sweep['id']}?limit=3&cursor={cursor}").json()["members"]
        seen += [each["position"] for each in page["items"]]
        cursor = page["next_cursor"]
    assert seen == list(range(7))
    assert client.get(f"/sweeps/{sweep['id']}?limit=0").json()["members"] == {"items": [], "next_cursor": "0"}


def test_sweeps_are_listed_newest_first_page_by_page(client: TestClient) -> None:
    numbers = [submit_sweep(client, base={**BASE, "epochs": n})["id"] for n in (1, 2, 3)]
    first = client.get("/sweeps?limit=2").json()
    assert [each["id"] for each in first["items"]] == numbers[:0:-1]
    assert "members" not in first["items"][0]
    last = client.get(f"/sweeps?limit=2&cursor={first['next_cursor']}").json()
    assert ([each["id"] for each in last["items"]], last["next_cursor"]) == (numbers[:1], None)


def test_a_list_can_be_of_one_sweep(client: TestClient) -> None:
    submit_sweep(client)
    sweep = submit_sweep(client, base={**BASE, "epochs": 9})
    found = client.get(f"/experiments?sweep={sweep['id']}&importance_weight=1:16&state=queued&dataset=digits&model=mlp")
    assert [each["position"] for each in found.json()["items"]] == [3, 2]
    assert client.get(f"/experiments?sweep={10**30}").json()["items"] == []


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(client: TestClient, store: Store) -> None:
    response = client.post("/sweeps?dry_run=true", json={"preset": "paper"})
    assert response.status_code == 200
    assert response.json()["count"] == len(response.json()["specs"]) == 60
    assert counts(store) == [0, 0, 0]


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"base": BASE, "axes": {"importance_weight": ["1:1", "x"]}}, "/axes/importance_weight/1"),
        ({"base": BASE, "axes": {"importance_weight": ["1:1"], "sede": [1]}}, "/axes/sede/0"),
        ({"base": BASE, "axes": {"importance_weight": []}}, "/axes/importance_weight"),
        ({"base": BASE, "axes": {"importance_weight": ["1:1"], "seed": list(range(10_001))}}, "/axes"),
        ({"base": BASE, "axes": {"importance_weight": ["1:1", "1.0:1"]}}, "/axes/importance_weight/1"),
        ({"base": {"epochs": 0}, "axes": {}}, "/base/dataset"),
        ({"preset": "figure-9"}, "/preset"),
        ({"preset": "figure-2", "axes": {"epochs": [0]}}, "/axes/epochs/0"),
        ({"bse": {}}, "/bse"),
        ({"axes": []}, "/axes"),
        ({"axes": {"seed": 1}}, "/axes/seed"),
        ({"name": "x" * 201}, "/name"),
        ({"as_drawn": "yes"}, "/as_drawn"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_impossible_sweep_is_refused_at_its_place_and_makes_nothing(
    client: TestClient, store: Store, request_: Json, pointer: str
) -> None:
    faults = problem(client.post("/sweeps", json=request_), 422)["errors"]
    assert pointer in [fault["pointer"] for fault in faults]
    assert counts(store) == [0, 0, 0]


def test_it_grows(client: TestClient) -> None:
    sweep = submit_sweep(client)
    response = client.post(f"/sweeps/{sweep['id']}/members", json={"axes": {"seed": [1, 2]}})
    assert response.status_code == 201
    assert response.json()["counts"]["queued"] == 6
    fault = problem(client.post(f"/sweeps/{sweep['id']}/members", json={"axes": {"seed": [3, -1]}}), 422)["errors"][0]
    assert fault["pointer"] == "/axes/seed/1"
    for wrong in ({}, {"axes": {}}, {"axes": {"seed": [5]}, "base": {}}):
        problem(client.post(f"/sweeps/{sweep['id']}/members", json=wrong), 422)
    assert client.get(f"/sweeps/{sweep['id']}").json()["counts"]["queued"] == 6


def test_growth_can_be_tried(client: TestClient, store: Store) -> None:
    sweep = submit_sweep(client)
    before = counts(store)
    here = f"/sweeps/{sweep['id']}/members?dry_run=true"
    tried = client.post(here, json={"axes": {"seed": [1, 2]}})
    assert (tried.status_code, tried.json()["count"]) == (200, 2)
    assert {spec["seed"] for spec in tried.json()["specs"]} == {2}
    problem(client.post(here, json={"axes": {"seed": [-1]}}), 422)
    problem(client.post("/sweeps/99/members?dry_run=true", json={"axes": {"seed": [1]}}), 404)
    assert counts(store) == before
    assert client.get(f"/sweeps/{sweep['id']}").json()["grids"] == sweep["grids"]


def test_what_an_axis_says_instead_of_the_base_is_neither_kept_nor_shown(client: TestClient) -> None:
    """It was, once, and half a surrogate pair in it made every list of sweeps a 500."""
    body = json.dumps({"base": {**BASE, "seed": "@", "importance_weight": "1:1"}, "axes": {"seed": [2]}})
    response = client.post(
        "/sweeps", content=body.replace("@", "\\ud800"), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 201
    (sweep,) = client.get("/sweeps").json()["items"]
    assert sweep["grids"] == [{"base": {**BASE, "importance_weight": "1:1"}, "axes": {"seed": [2]}, "name": ""}]


def test_a_hundred_faults_are_named_of_however_many(client: TestClient) -> None:
    response = client.post("/sweeps", json={"base": {f"x{i}": 0 for i in range(20_000)}})
    assert len(problem(response, 422)["errors"]) == 100


def test_wishes_and_deletion_of_a_whole_sweep(client: TestClient, store: Store) -> None:
    sweep = submit_sweep(client)
    here = f"/sweeps/{sweep['id']}"
    claim = claimed(store)
    paused = client.post(f"{here}/pause")
    assert (paused.status_code, paused.json()["counts"]["paused"]) == (202, 3)
    assert client.post(f"{here}/resume").json()["counts"]["queued"] == 3
    assert client.post(f"{here}/cancel").json()["counts"]["cancelled"] == 3
    assert client.post(f"{here}/retry").json()["counts"] == dict.fromkeys(map(str, State), 0) | {
        "queued": 3,
        "running": 1,
    }
    client.post(f"{here}/cancel")
    left = client.delete(here)
    assert (left.status_code, sum(left.json()["counts"].values())) == (202, 1)
    with store.writing() as tx:
        leases.release(tx, claim)
    assert sum(client.delete(here).json()["counts"].values()) == 0
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/figure.svg"),
        ("GET", "/figure.png"),
        ("GET", "/figure.pdf"),
    ):
        assert problem(client.request(method, here + path), 404)["detail"] == f"there is no sweep {sweep['id']}"
    problem(client.post(f"{here}/members", json={"axes": {"seed": [7]}}), 404)


@pytest.mark.parametrize("n", [1, 99, 100, 101, 200])
def test_however_many_members_a_sweep_is_deleted_by_one_request(client: TestClient, n: int) -> None:
    here = f"/sweeps/{submit_sweep(client, axes={'importance_weight': ['1:1'], 'seed': list(range(n))})['id']}"
    client.post(f"{here}/cancel")
    left = client.delete(here)
    assert (left.status_code, sum(left.json()["counts"].values())) == (202, 0)
    problem(client.get(here), 404)


def finished_experiment(client: TestClient, store: Store) -> int:
    number: int = client.post("/experiments", json=spec()).json()["id"]
    claim = claimed(store)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1, predictions=Predictions(b"\xf0", b"\x01")), epoch_seconds=2.0)
        attempts.finish(tx, claim, result(3, predictions=Predictions(b"\x0f", b"\x02"), weights=b"WW"), State.SUCCEEDED)
    return number


def test_predictions_and_weights_are_downloaded(client: TestClient, store: Store) -> None:
    number = finished_experiment(client, store)
    found = client.get(f"/experiments/{number}/predictions?epoch=1").json()
    assert found == {
        "epoch": 1,
        "epochs": [1, 3],
        "sets": {
            "in_domain": {"n": 200, "base64": base64.b64encode(b"\xf0").decode()},
            "out_of_domain": {"n": 800, "base64": base64.b64encode(b"\x01").decode()},
        },
    }
    assert client.get(f"/experiments/{number}/predictions").json()["epoch"] == 3
    assert "of epoch 2" in problem(client.get(f"/experiments/{number}/predictions?epoch=2"), 404)["detail"]
    weights = client.get(f"/experiments/{number}/weights")
    assert (weights.content, weights.headers["content-type"]) == (b"WW", "application/octet-stream")
    waiting = client.post("/experiments", json=spec(seed=1)).json()["id"]
    assert "no predictions yet" in problem(client.get(f"/experiments/{waiting}/predictions"), 404)["detail"]
    assert "no weights" in problem(client.get(f"/experiments/{waiting}/weights"), 404)["detail"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", ["experiments", "sweeps"])
def test_the_file_is_smaller_after_a_deletion(client: TestClient, store: Store, database_url: str, what: str) -> None:
    sweep = submit_sweep(client, axes=AXES)
    number = sweep["members"]["items"][0]["id"]
    client.post(f"/sweeps/{sweep['id']}/cancel")
    with store.writing() as tx:
        tx.execute(text(f"INSERT INTO weights VALUES ({number}, zeroblob(20000000))"))
    here = f"/experiments/{number}" if what == "experiments" else f"/sweeps/{sweep['id']}"
    assert client.delete(here).status_code in (202, 204)
    assert Path(database_url.removeprefix("sqlite:///")).stat().st_size < 4_000_000


def test_a_deleted_experiment_is_not_found_anywhere(client: TestClient, store: Store) -> None:
    number = finished_experiment(client, store)
    here = f"/experiments/{number}"
    assert client.delete(here).status_code == 204
    for method, path in (
        *(
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/curve"),
            ("GET", "/events"),
            ("GET", "/predictions"),
            ("GET", "/weights"),
        ),
        *(("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/retry")),
    ):
        assert problem(client.request(method, here + path), 404)["detail"] == f"there is no experiment {number}"
    problem(client.patch(here, json={"priority": 1}), 404)
    assert client.get("/experiments").json()["items"] == []
    assert client.post("/experiments", json=spec()).json()["id"] > number


def test_what_has_not_ended_is_not_deleted(client: TestClient, store: Store) -> None:
    number = client.post("/experiments", json=spec()).json()["id"]
    for state in ("queued", "running"):
        assert f"is {state}: only one that has ended" in problem(client.delete(f"/experiments/{number}"), 409)["detail"]
        if state == "queued":
            claimed(store)


def test_the_priority_can_be_changed_while_it_waits(client: TestClient, store: Store) -> None:
    here = f"/experiments/{client.post('/experiments', json=spec()).json()['id']}"
    assert client.patch(here, json={"priority": 9}).json()["priority"] == 9
    for wrong in ({"priority": 101}, {"priority": "9"}, {"priority": True}, {}, {"priority": 1, "seed": 2}):
        problem(client.patch(here, json=wrong), 422)
    claimed(store)
    assert "is running" in problem(client.patch(here, json={"priority": 1}), 409)["detail"]


def test_an_experiment_says_why_it_waits_and_how_long_it_takes(client: TestClient, store: Store) -> None:
    first, second = (client.post("/experiments", json=spec(seed=seed)).json() for seed in (0, 1))
    assert "ballast worker" in first["waiting_because"]
    a_worker(store)
    assert client.get(f"/experiments/{second['id']}").json()["waiting_because"] == "1 before it in the queue"
    claim = claimed(store)
    with store.writing() as tx:
        attempts.begin(tx, claim, PROVENANCE, None)
        attempts.record(tx, claim, result(1), epoch_seconds=5.0)
    now = client.get(f"/experiments/{first['id']}").json()
    assert (now["waiting_because"], now["eta_seconds"], now["stalled"]) == (None, 10.0, False)
    assert now["provenance"] == json.loads(PROVENANCE.as_json())


def test_presets_are_listed_and_shown(client: TestClient) -> None:
    items = client.get("/presets").json()["items"]
    assert [(each["name"], each["count"]) for each in items] == [
        *(("figure-1", 9), ("figure-2", 5), ("figure-3", 9), ("figure-4", 9), ("figure-5", 5)),
        *(("figure-6", 9), ("figure-7", 5), ("figure-8", 9), ("paper", 60)),
        *(("losses", 30), ("imbalance", 10), ("known-answers", 28)),
    ]
    assert client.get("/presets/figure-3?as_drawn=true").json()["count"] == 4
    shown = client.get("/presets/paper").json()
    assert (len(shown["specs"]), len(shown["grids"])) == (60, 8)
    assert problem(client.get("/presets/figure-9"), 404)["detail"].startswith(
        "there is nothing of the name figure-9: there are figure-1, figure-2,"
    )


def test_a_preset_is_made_of_its_grids(client: TestClient) -> None:
    sweep = submit_sweep(client, preset="figure-2", base={"epochs": 2}, axes={"seed": [0, 1]})
    assert (sweep["preset"], sweep["counts"]["queued"]) == ("figure-2", 10)
    assert sweep["members"]["items"][0]["name"] == "256:1, seed 0"
    assert sweep["grids"][0]["base"]["epochs"] == 2
