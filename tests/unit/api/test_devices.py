"""`device` beside `priority`: over HTTP, and on the command line; and how full GPUs are."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.store import workers
from core.store.session import Store
from core.store.workers import GpuUse
from tests.unit.api.builders import Json, problem, spec
from tests.unit.api.typed import Ballast
from tests.unit.store.builders import a_worker
from tests.unit.store.test_extensions import succeeded

TF32 = spec(precision="tf32")
REFUSED = [{"pointer": "?device", "detail": "is none that computes in tf32", "value": "cpu", "allowed": "any or gpu"}]


def members(client: TestClient, sweep: Json) -> list[str]:
    return [each["device"] for each in client.get(f"/sweeps/{sweep['id']}").json()["members"]["items"]]


def test_an_experiment_says_on_what_it_may_train(client: TestClient) -> None:
    answers = [client.post(f"/experiments?device={device}", json=spec()).json() for device in ("any", "cpu", "gpu")]
    assert [each["device"] for each in answers] == ["any", "cpu", "gpu"]
    assert len({each["digest"] for each in answers}) == 1
    assert client.post("/experiments", json=TF32).json()["device"] == "gpu"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/experiments?device=cpu", TF32),
        ("/sweeps?device=cpu", {"base": spec(), "axes": {"precision": ["fp32", "tf32"]}}),
        ("/sweeps?device=cpu&dry_run=true", {"base": spec(), "axes": {"precision": ["fp32", "tf32"]}}),
    ],
)
def test_what_no_cpu_computes_is_refused_for_one_by_the_name_of_the_parameter(
    client: TestClient, path: str, body: Json
) -> None:
    refused = problem(client.post(path, json=body), 422)
    assert refused["detail"] == "no CPU computes in tf32: submit it for any device, or for a GPU"
    assert refused["errors"] == REFUSED
    assert client.get("/experiments").json()["items"] == []


def test_another_device_is_refused_with_those_that_there_are(client: TestClient) -> None:
    (fault,) = problem(client.post("/experiments?device=tpu", json=spec()), 422)["errors"]
    assert (fault["pointer"], fault["value"]) == ("?device", "tpu")
    assert all(each in fault["allowed"] for each in ("any", "cpu", "gpu"))


def test_dedupe_leaves_the_device_as_it_is(client: TestClient) -> None:
    client.post("/experiments?device=gpu", json=spec())
    again = client.post("/experiments?device=cpu&dedupe=spec", json=spec())
    assert (again.status_code, again.json()["device"]) == (200, "gpu")


def test_a_sweep_and_what_is_added_to_it(client: TestClient) -> None:
    sweep = client.post("/sweeps?device=gpu", json={"base": spec(), "axes": {"seed": [0]}}).json()
    assert sweep["device"] == "gpu"
    path = f"/sweeps/{sweep['id']}/members"
    client.post(path, json={"axes": {"seed": [1]}})
    client.post(f"{path}?device=any", json={"axes": {"seed": [2]}})
    assert members(client, sweep) == ["gpu", "gpu", "any"]


def test_an_extension_takes_over_what_its_parent_has(client: TestClient, store: Store) -> None:
    parent = succeeded(store).experiment_id
    path = f"/experiments/{parent}/extend"
    assert client.post(path, json={"epochs": 5}).json()["device"] == "any"
    child = client.post(f"{path}?device=cpu", json={"epochs": 6}).json()
    assert child["device"] == "cpu"


def test_the_commands_take_a_device(ballast: Ballast) -> None:
    file = ballast.file(json.dumps(spec()))
    assert ballast.json("submit", file, "--device", "gpu")["device"] == "gpu"
    assert ballast.json("sweep", file, "--seeds", "2", "--device", "cpu")["device"] == "cpu"
    assert ballast.json("sweep", "--into", "1", "--seeds", "3", "--device", "gpu")["device"] == "cpu"
    assert ballast.json("sweep", file, "--seeds", "2", "--device", "gpu", "--dry-run")["count"] == 2
    assert "gpu" in ballast("show", "1")
    refused = ballast("submit", ballast.file(json.dumps(TF32)), "--device", "cpu", status=2)
    assert "computes in tf32" in refused
    assert "Usage:" in ballast("submit", file, "--device", "tpu", status=2)


def test_workers_with_gpus_are_listed_with_how_full_they_are_and_others_without(ballast: Ballast, store: Store) -> None:
    a_worker(store)
    assert "memory" not in ballast("workers")
    with store.writing() as tx:
        gpu = workers.register(tx, "h", 1, "cuda:0", "NVIDIA H100")
        workers.report_gpu(tx, gpu, GpuUse(61440, 81920, 97))
    listed: Any = ballast.json("workers")
    assert [(each["memory_used_mib"], each["memory_total_mib"], each["utilisation"]) for each in listed] == [
        (61440, 81920, 97),
        (None, None, None),
    ]
    printed = ballast("workers")
    assert "60.0/80.0 GiB" in printed
    assert "97 %" in printed
