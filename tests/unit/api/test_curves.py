"""The curve over HTTP: whole, in tails, diverged, while it grows. The claims that a worker makes play the worker."""

import json
import math

import pytest
from fastapi.testclient import TestClient

from api.schemas import CurveOut
from core.results import EpochResult, LossPoint
from core.states import ErrorKind, State
from core.store import attempts
from core.store.experiments import ExperimentError
from core.store.leases import Claim
from core.store.session import Store
from tests.unit.api.builders import Json, problem, spec
from tests.unit.core.builders import COLUMNS
from tests.unit.store.builders import DIAGNOSTICS, claimed, result


def running_claim(client: TestClient, store: Store, epochs: int = 3, **fields: object) -> Claim:
    assert client.post("/experiments", json=spec(epochs=epochs, **fields)).status_code == 201
    return claimed(store)


def record(store: Store, claim: Claim, *rows: EpochResult) -> None:
    for row in rows:
        with store.writing() as tx:
            attempts.record(tx, claim, row)


def curve(client: TestClient, claim: Claim, **query: int) -> Json:
    response = client.get(f"/experiments/{claim.experiment_id}/curve", params=query)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body: Json = json.loads(response.text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert {len(body[column]) for column in COLUMNS} == {len(body["epoch"])}
    return body


def test_a_curve_has_the_keys_of_the_contract_and_no_other(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    record(store, claim, result(1, loss=()), result(2))
    assert curve(client, claim) == {
        "id": claim.experiment_id,
        "state": "running",
        "attempt": 1,
        "epochs_done": 2,
        "epochs_total": 3,
        "epoch": [1, 2],
        "base_fraction_in_domain": [0.5, 0.5],
        "base_fraction_out_of_domain": [0.5, 0.5],
        "train_loss": [0.5, 0.25],
        "accuracy_in_domain": [0.95, 0.95],
        "train_accuracy_base": [0.8, 0.8],
        "train_accuracy_other": [0.82, 0.82],
        "finite_logits": [1.0, 1.0],
        "seconds": [1.5, 1.5],
        "loss": {"iteration": [200], "value": [0.25]},
        "nonfinite": {},
        "diverged_at": None,
        "replay_mismatch_from": None,
        "next_after": 2,
        "complete": False,
    }


def test_diagnostics_are_in_the_curve_of_who_asked_for_them(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store, diagnostics=True)
    assert curve(client, claim)["diagnostics"]["norm"] == []
    seen = DIAGNOSTICS._replace(margin_low_other=0.5, norm_last_layer=2.0, finite_noise=1000)
    record(store, claim, result(1, diagnostics=seen), result(2, diagnostics=seen, train_correct_base=50))
    assert curve(client, claim, after=1)["diagnostics"] == {
        "loss_base": [0.5],
        "loss_other": [0.25],
        "margin_base": [1.5],
        "margin_other": [-1.5],
        "margin_low_base": [0.125],
        "margin_low_other": [0.5],
        "norm": [7.0],
        "norm_last_layer": [2.0],
        "bias_difference": [-0.0],
        "base_fraction_noise": [0.512],
        "dead_units": [[0.0, 0.25, 1.0]],
        "learned_at": {"base": 2, "other": None},
    }


def test_the_document_says_of_diagnostics_what_is_served_and_that_they_may_be_absent(
    client: TestClient, store: Store
) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert "diagnostics" not in schemas["CurveOut"]["required"]
    claim = running_claim(client, store, diagnostics=True)
    record(store, claim, result(1, diagnostics=DIAGNOSTICS))
    seen = curve(client, claim)
    assert set(schemas["DiagnosticsOut"]["required"]) == set(seen["diagnostics"])
    assert CurveOut.model_validate(seen).model_dump(exclude_unset=True) == seen


def test_a_queued_experiment_has_an_empty_curve(client: TestClient) -> None:
    number = client.post("/experiments", json=spec()).json()["id"]
    empty = client.get(f"/experiments/{number}/curve", params={"after": 2}).json()
    assert (empty["epoch"], empty["next_after"], empty["complete"], empty["state"]) == ([], 2, False, "queued")


def test_asking_after_next_after_gives_exactly_what_is_new_loss_points_included(
    client: TestClient, store: Store
) -> None:
    claim = running_claim(client, store, epochs=6)
    together: Json = {column: [] for column in ("epoch", *COLUMNS)}
    points: Json = {"iteration": [], "value": []}
    after = 0
    rows = [result(epoch, loss=(LossPoint(100 * epoch, epoch / 4),) if epoch % 2 else ()) for epoch in range(1, 7)]
    for arrived in ([1, 2], [], [3], [4, 5, 6]):
        record(store, claim, *(rows[epoch - 1] for epoch in arrived))
        tail = curve(client, claim, after=after)
        assert tail["epoch"] == arrived
        after = tail["next_after"]
        assert after == max([0, *together["epoch"], *arrived])
        for column, values in together.items():
            values += tail[column]
        for key, values in points.items():
            values += tail["loss"][key]
    whole = curve(client, claim)
    assert together == {column: whole[column] for column in together}
    assert points == whole["loss"] == {"iteration": [100, 300, 500], "value": [0.25, 0.75, 1.25]}


def test_after_the_end_there_is_nothing_new(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    record(store, claim, result(1), result(2))
    for after in (2, 3, 10**6, 2**31, 2**53):
        tail = curve(client, claim, after=after)
        assert (tail["epoch"], tail["loss"]["iteration"], tail["next_after"]) == ([], [], after)


def test_after_is_a_whole_number(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    for after in ("-1", "x", "1.5", str(2**53 + 1), "nan", ""):
        refusal = problem(client.get(f"/experiments/{claim.experiment_id}/curve?after={after}"), 422)
        assert refusal["errors"][0]["pointer"] == "?after"
        assert refusal["errors"][0]["allowed"] == f"an integer from 0 to {2**53}"


def test_a_succeeded_experiments_curve_is_complete(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    record(store, claim, result(1), result(2))
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED)
    whole = curve(client, claim)
    assert (whole["state"], whole["complete"], whole["epoch"]) == ("succeeded", True, [1, 2, 3])
    assert (whole["epochs_done"], whole["epochs_total"]) == (3, 3)


def test_an_epoch_that_diverged_has_its_row_and_ends_the_experiment(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    record(store, claim, result(1))
    row = result(
        2,
        train_loss=math.inf,
        finite_in_domain=100,
        finite_out_of_domain=0,
        loss=(LossPoint(200, math.nan), LossPoint(300, -math.inf)),
    )
    with store.writing() as tx:
        attempts.finish(tx, claim, row, State.FAILED, ExperimentError(ErrorKind.DIVERGED, "it diverged"))
    whole = curve(client, claim)
    assert (whole["state"], whole["complete"], whole["diverged_at"]) == ("failed", True, 2)
    assert whole["epoch"] == [1, 2]
    measured = [column for column in COLUMNS if column not in ("finite_logits", "seconds")]
    assert {column: whole[column][1] for column in measured} == dict.fromkeys(measured)
    assert whole["finite_logits"] == [1.0, 0.1]
    assert whole["loss"] == {"iteration": [100, 200, 300], "value": [0.25, None, None]}
    assert whole["nonfinite"] == {
        **{column: {"2": "nan"} for column in measured},
        "train_loss": {"2": "inf"},
        "loss": {"200": "nan", "300": "-inf"},
    }
    assert client.get(f"/experiments/{claim.experiment_id}").json()["error"]["kind"] == "diverged"


def test_a_replay_that_differs_is_told_and_the_row_stands(client: TestClient, store: Store) -> None:
    claim = running_claim(client, store)
    record(store, claim, result(1), result(1, base_in_domain=7))
    whole = curve(client, claim)
    assert (whole["replay_mismatch_from"], whole["base_fraction_in_domain"]) == (1, [0.5])
