"""The answer of a sweep over HTTP: numbers that are known, words for all that cannot be said, and a report that asks
nothing of anybody.
"""

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.results import EpochResult
from core.states import State
from core.store import attempts
from core.store.session import Store
from tests.unit.api.builders import Json, problem
from tests.unit.store.builders import claimed, recorded, released, result

WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")
N_IN, N_OUT = 100_000, 400_000
DIGITS: Json = {"dataset": {"name": "mnist"}, "model": {"name": "mlp"}}


def octaves(weight: str) -> float:
    base, other = weight.split(":")
    return math.log2(float(base) / float(other))


def sweep(client: TestClient, epochs: int = 4, seeds: int = 3, name: str = "", **base: Any) -> int:
    body = {
        "name": name,
        "base": {**DIGITS, "epochs": epochs, **base},
        "axes": {"importance_weight": list(WEIGHTS), "seed": list(range(seeds))},
    }
    made = client.post("/sweeps", json=body)
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def row(weight: str, seed: int, epoch: int, slope: float, **fields: Any) -> EpochResult:
    """Out-of-domain logit f is `slope` an octave, seed by seed a hundredth more; in-domain a half."""
    logit = (slope + 0.01 * seed) * octaves(weight)
    learned = {"train_correct_base": 50, "train_correct_other": 50}
    numbers = {
        "n_in_domain": N_IN,
        "finite_in_domain": N_IN,
        "base_in_domain": N_IN // 2,
        "n_out_of_domain": N_OUT,
        "finite_out_of_domain": N_OUT,
        "base_out_of_domain": round(N_OUT / (1 + math.exp(-logit))),
    }
    return result(epoch, loss=(), **(numbers | learned | fields))


def train(
    client: TestClient, store: Store, sweep_id: int, slope: float = 0.1, epochs: int = 4, most: int = 500
) -> None:
    """The first `most` members of a sweep that is first in the queue, to their end."""
    members = client.get(f"/sweeps/{sweep_id}?limit=500").json()["members"]["items"]
    specs = {member["id"]: member["spec"] for member in members}
    for _ in members[:most]:
        claim = claimed(store)
        spec = specs[claim.experiment_id]
        for epoch in range(1, epochs):
            recorded(store, claim, row(spec["importance_weight"], spec["seed"], epoch, slope))
        with store.writing() as tx:
            last = row(spec["importance_weight"], spec["seed"], epochs, slope)
            attempts.finish(tx, claim, last, State.SUCCEEDED)


def effect(client: TestClient, sweep_id: int, query: str = "") -> Json:
    answer = client.get(f"/sweeps/{sweep_id}/effect{query}")
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def test_the_slope_is_the_one_that_was_put_in(client: TestClient, store: Store) -> None:
    number = sweep(client)
    train(client, store, number, slope=0.1)
    answer = effect(client, number)
    assert (answer["complete"], answer["epochs"], answer["members"]) == (True, 4, 15)
    (group,) = answer["groups"]
    assert {run["fit"] for run in group["runs"]} == {"fit"}
    slope = group["out_of_domain"]["fit_runs"]["slope"]
    assert slope["seeds"] == pytest.approx([0.10, 0.11, 0.12], abs=1e-4)
    assert (slope["estimate"], slope["n"]) == (pytest.approx(0.11, abs=1e-4), 3)
    half = 4.302653 * 0.01 / math.sqrt(3)  # Student's t with two degrees of freedom
    assert (slope["low"], slope["high"]) == (pytest.approx(0.11 - half, abs=1e-4), pytest.approx(0.11 + half, abs=1e-4))
    assert group["out_of_domain"]["fit_runs"]["verdict"] == "not_faded"
    assert group["in_domain"]["fit_runs"]["verdict"] == "faded"
    assert group["out_of_domain"]["over_epochs"]["epoch"] == [1, 2, 3, 4]
    assert [claim["claim"] for claim in answer["claims"]] == ["C1", "C2", "C3", "C4"]
    assert all(claim["verdict"] == "undecided" for claim in answer["claims"][1:3])  # four epochs are none
    assert "epochs would" in answer["claims"][1]["would_decide"]


def test_two_sweeps_are_compared(client: TestClient, store: Store) -> None:
    first, second = sweep(client), sweep(client, optimizer={"weight_decay": 0.01})
    train(client, store, first, slope=0.3)
    train(client, store, second, slope=0.1)
    (pair,) = effect(client, first, f"?against={second}")["against"]["comparisons"]
    assert pair["out_of_domain_slope"]["estimate"] == pytest.approx(0.2, abs=1e-4)
    assert pair["out_of_domain_slope"]["low"] < 0.2 < pair["out_of_domain_slope"]["high"]
    assert pair["in_domain_slope"]["estimate"] == 0
    assert pair["differs"] == ["weight_decay 0", "weight_decay 0.01"]
    back = effect(client, second, f"?against={first}")["against"]["comparisons"][0]
    assert back["out_of_domain_slope"]["estimate"] == pytest.approx(-0.2, abs=1e-4)


def test_where_nothing_can_be_compared_it_is_said_why(client: TestClient, store: Store) -> None:
    first, second = sweep(client), sweep(client, optimizer={"weight_decay": 0.01})
    train(client, store, first, slope=0.3)
    against = effect(client, first, f"?against={second}")["against"]
    assert (
        against["reason"] == "one of the two has no slope, or neither: it takes a seed that has 3 weights with fit runs"
    )
    assert [pair["in_domain_slope"] for pair in against["comparisons"]] == [None]


def test_what_has_not_learned_is_named_and_left_out(client: TestClient, store: Store) -> None:
    number = sweep(client, seeds=1)
    claim = claimed(store)
    constant = {"base_in_domain": N_IN, "base_out_of_domain": N_OUT}
    with store.writing() as tx:
        attempts.finish(tx, claim, row("256:1", 0, 4, 0.1, **constant), State.SUCCEEDED)
    for weight in WEIGHTS[1:]:
        claim = claimed(store)
        with store.writing() as tx:
            attempts.finish(tx, claim, row(weight, 0, 4, 0.1), State.SUCCEEDED)
    (group,) = effect(client, number)["groups"]
    assert [run["fit"] for run in group["runs"]] == ["not_started", "fit", "fit", "fit", "fit"]
    assert group["out_of_domain"]["fit_runs"]["runs"] == 4
    assert list(group["out_of_domain"]["by_weight"]) == list(WEIGHTS[1:])
    page = client.get(f"/sweeps/{number}/report.md").text
    assert "| 1 | 256:1 | 0 | 4 | not started |" in page
    assert client.get("/experiments/1").json()["fit"] == "not_started"


def test_a_run_that_is_behind_holds_nobody_back_and_is_named(client: TestClient, store: Store) -> None:
    number = sweep(client, epochs=8)
    train(client, store, number, epochs=8, most=14)
    late = claimed(store)
    recorded(store, late, row(late.spec.importance_weight, late.spec.seed, 1, 0.1))
    answer = effect(client, number)
    assert (answer["complete"], answer["epochs"]) == (False, 8)
    (group,) = answer["groups"]
    assert {run["id"]: run["epoch"] for run in group["runs"] if run["behind"]} == {late.experiment_id: 1}
    for of in ("fit_runs", "all_runs"):
        assert (group["out_of_domain"][of]["epoch"], group["out_of_domain"][of]["runs"]) == (8, 14)
    fades = answer["claims"][1]
    assert fades["left_out"] == [{"id": late.experiment_id, "fit": "fit", "behind_at": 1}]
    assert "1 of 15 runs left out: 1 behind (at epoch 1)" in fades["sentence"]
    client.post(f"/experiments/{late.experiment_id}/cancel")
    assert released(store, late) is State.CANCELLED
    done = effect(client, number)
    assert done["complete"]
    assert (done["epochs"], done["claims"][1]["left_out"]) == (8, fades["left_out"])
    page = client.get(f"/sweeps/{number}/report.md").text
    assert f"| {late.experiment_id} | 1:256 | 2 | 1 | behind |" in page
    assert "How the networks came out: 14 fit, 1 behind." in page


@pytest.mark.parametrize("trained", [0, 1, 2])
def test_half_a_sweep_is_preliminary_and_all_it_says_is_json(client: TestClient, store: Store, trained: int) -> None:
    number = sweep(client, seeds=1)
    for weight in WEIGHTS[:trained]:
        recorded(store, claimed(store), row(weight, 0, 1, 0.1))
    answer = effect(client, number)
    assert not answer["complete"]
    assert "NaN" not in json.dumps(answer)
    assert answer["groups"][0]["out_of_domain"]["fit_runs"]["slope"] is None
    assert answer["groups"][0]["out_of_domain"]["fit_runs"]["reason"]
    for path in ("report", "report.md", "effect.svg", "figure.svg"):
        assert client.get(f"/sweeps/{number}/{path}").status_code == 200
    assert "**Preliminary**" in client.get(f"/sweeps/{number}/report.md").text


def test_a_sweep_without_rows_says_so(client: TestClient) -> None:
    number = sweep(client, seeds=1)
    client.post(f"/sweeps/{number}/cancel")
    assert effect(client, number)["complete"]
    assert client.get(f"/sweeps/{number}/report").status_code == 200


def test_no_such_sweep_is_404(client: TestClient) -> None:
    number = sweep(client, seeds=1)
    for path in ("99/effect", "99/report", "99/report.md", "99/effect.svg", f"{number}/effect?against=99"):
        problem(client.get(f"/sweeps/{path}"), 404)
    problem(client.get(f"/sweeps/{number}/effect?against=0"), 422)


class Page(HTMLParser):
    """What a page would fetch, and the tags that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


HOSTILE = '<script>alert(1)</script> | ![x](http://evil.example/x.png) [y](javascript:0) `# *"&'


def test_a_report_asks_nothing_of_anybody_whatever_the_sweep_is_called(client: TestClient, store: Store) -> None:
    number = sweep(client, name=HOSTILE)
    train(client, store, number)
    answer = client.get(f"/sweeps/{number}/report")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = Page(answer.text)
    assert len(page.addresses) == 2
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "&lt;script&gt;" in answer.text
    markdown = client.get(f"/sweeps/{number}/report.md").text
    assert markdown.startswith("# \\<script\\>")
    widths = {line.count(" | ") for line in markdown.splitlines() if line.startswith("| weight")}
    assert len(widths) == 1


def test_every_number_of_the_report_is_one_of_the_effects(client: TestClient, store: Store) -> None:
    number = sweep(client)
    train(client, store, number, slope=0.1)
    said = effect(client, number)
    known = {f"{value:.3f}" for value in _numbers(said)}
    table = client.get(f"/sweeps/{number}/report.md").text.partition("## Where it comes from")[0]
    found = set(re.findall(r"-?\b\d\.\d{3}\b", table))
    assert found
    unknown = found - known
    assert not unknown


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in _numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in _numbers(inner)]
    if isinstance(value, str):
        return [float(found) for found in re.findall(r"-?\d\.\d{3}\b", value)]
    return [float(value)] if isinstance(value, float) else []


def test_published_fractions_stand_beside_the_same_networks_only(client: TestClient) -> None:
    def published(**base: Any) -> bool:
        request = {"preset": "figure-2", "base": base}
        number = client.post("/sweeps", json=request).json()["id"]
        return "published in-domain" in client.get(f"/sweeps/{number}/report.md").text

    assert published(epochs=3)
    assert not published(dataset={"name": "digits"})
    assert not published(model={"name": "mlp"})
