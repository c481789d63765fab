"""What every route answered before, it answers still: `golden.json`, which BALLAST_TEST_GOLDEN=1 writes anew.

One story, told over HTTP and by a worker that is played. What a clock or a release decides is left out.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import update

from core.results import Predictions
from core.states import ErrorKind, State, WorkerState
from core.store import attempts, workers
from core.store.checkpoints import Saved
from core.store.experiments import ExperimentError
from core.store.session import Store
from core.store.tables import experiments
from tests.unit.store.builders import DIAGNOSTICS, MINUTE, PROVENANCE, a_worker, claimed, expired, result

GOLDEN = Path(__file__).with_name("golden.json")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_OTHERS = ("request_id", "version")  # each request, each release has its own

_FOR_PEOPLE = {
    "image": "a picture",
    "application/pdf": "a picture",
    "text": "a page",
}  # tests of their own look at them

DIGITS = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 3}
ALONE = DIGITS | {"importance_weight": "16:1"}


class Story:
    def __init__(self, client: TestClient, store: Store) -> None:
        self._client, self._store = client, store
        self.answers: list[dict[str, Any]] = []

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        answer = self._client.request(method, path, json=body, headers=headers)
        kind = answer.headers.get("content-type", "")
        content = answer.json() if answer.content and "json" in kind else hashlib.sha256(answer.content).hexdigest()
        self.answers.append(
            {
                "request": f"{method} {path}",
                "status": answer.status_code,
                "type": kind,
                "location": answer.headers.get("location"),
                "body": _FOR_PEOPLE.get(kind) or _FOR_PEOPLE.get(kind.partition("/")[0], _steady(content)),
            }
        )


def _steady(value: Any, key: str = "") -> Any:
    """Without what differs from one day to the next."""
    if isinstance(value, dict):
        return {name: _steady(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_steady(inner) for inner in value]
    if key in _OTHERS or (key == "revision" and isinstance(value, str)):
        return "…"
    if key in ("eta_seconds", "oldest_seconds") and value is not None:
        return "some"
    return _TIME.sub("…", value) if isinstance(value, str) else value


def _play(story: Story, store: Store) -> None:
    for path in ("/", "/livez", "/readyz", "/version", "/openapi.json", "/presets", "/presets/figure-2", "/workers"):
        story.ask("GET", path)
    for method, path in (("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out")):
        story.ask(method, path)
    _submit(story)
    _work_off(store)
    _look_at(story)
    _wish(story)
    _send_what_is_refused(story)
    _extend_a_sweep(story, store)
    _delete(story)


def _submit(story: Story) -> None:
    story.ask("POST", "/experiments?priority=3", ALONE | {"name": "first"}, **{"Idempotency-Key": "one"})
    story.ask("POST", "/experiments?priority=3", ALONE | {"name": "first"}, **{"Idempotency-Key": "one"})
    story.ask("POST", "/experiments?dedupe=spec", ALONE)
    cifar10 = {"dataset": {"name": "cifar10"}, "importance_weight": "1:256", "diagnostics": True}
    story.ask("POST", "/experiments?priority=2", cifar10)
    story.ask("POST", "/experiments?priority=1", {"dataset": {"name": "mnist"}, "importance_weight": "4:1", "seed": 3})
    story.ask("POST", "/experiments?priority=1", ALONE | {"loss": {"normalization": "batch_size"}, "epochs": 5})
    axes = {"importance_weight": ["16:1", "1:1"], "optimizer.weight_decay": [0.0, 0.01], "seed": [0, 1]}
    sweep = {"name": "grid", "base": DIGITS, "axes": axes}
    story.ask("POST", "/sweeps?dry_run=true", sweep)
    story.ask("POST", "/sweeps", sweep)
    story.ask("POST", "/sweeps?dedupe=spec", sweep)
    story.ask("POST", "/sweeps?priority=-1", {"preset": "figure-2", "base": {"epochs": 4}, "as_drawn": True})
    story.ask("POST", "/sweeps/1/members?dry_run=true", {"axes": {"seed": [2]}})
    story.ask("POST", "/sweeps/1/members", {"axes": {"seed": [2]}})


def _work_off(store: Store) -> None:
    """By rank: 1 succeeds, 2 diverges, 3 fails, 4 is lost once and 5, of the sweep, is running."""
    first, second = a_worker(store), a_worker(store, "gpu2", 7)
    claim = claimed(store, worker_id=first)
    with store.writing() as tx:
        numerics = {"engine": "plain", "torch": "2.13.0"}
        attempts.begin(tx, claim, PROVENANCE, None)
        older = {"numerics_key": numerics, "dataset": {"sha256": "d" * 64}}
        tx.execute(
            update(experiments).values(provenance=json.dumps(older)).where(experiments.c.id == claim.experiment_id)
        )
        attempts.record(tx, claim, result(1, predictions=Predictions(b"\xaa" * 25, b"\x55" * 100)), 1.5)
        attempts.record(tx, claim, result(2), 1.5)
        saved = Saved(3, 0, 48, "1-0/3", "c" * 64, json.dumps(numerics), "cpu")
        attempts.finish(tx, claim, result(3, weights=b"weights"), State.SUCCEEDED, epoch_seconds=1.5, saved=saved)
    claim = claimed(store, worker_id=first)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1, diagnostics=DIAGNOSTICS), 1.5)
        nothing = {"train_loss": float("nan"), "finite_in_domain": 3, "finite_out_of_domain": 0}
        row = result(2, **nothing, diagnostics=DIAGNOSTICS)
        error = ExperimentError(ErrorKind.DIVERGED, row.divergence(claim.spec))
        attempts.finish(tx, claim, row, State.FAILED, error)
    claim = claimed(store, worker_id=first)
    with store.writing() as tx:
        attempts.finish(tx, claim, None, State.FAILED, ExperimentError(ErrorKind.INTERNAL, "ours", "Traceback"))
    claimed(store, worker_id=second, lease_ms=-1)
    assert expired(store) == 1
    claim = claimed(store, worker_id=second, lease_ms=10 * MINUTE)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1, loss=()), 1.5)
        workers.report(tx, second, WorkerState.BUSY, claim.experiment_id)


def _look_at(story: Story) -> None:
    story.ask("GET", "/experiments?limit=3")
    story.ask("GET", "/experiments?state=failed")
    story.ask("GET", "/experiments?sweep=1&importance_weight=1:1&model=mlp&dataset=digits")
    for number in range(1, 7):
        story.ask("GET", f"/experiments/{number}")
        story.ask("GET", f"/experiments/{number}/events")
        story.ask("GET", f"/experiments/{number}/curve")
    story.ask("GET", "/experiments/1/curve?after=2")
    story.ask("GET", "/experiments/1/predictions")
    story.ask("GET", "/experiments/1/predictions?epoch=1")
    story.ask("GET", "/experiments/1/weights")
    story.ask("GET", "/workers")
    story.ask("GET", "/queue/stats")
    story.ask("GET", "/metrics")
    story.ask("GET", "/sweeps")
    story.ask("GET", "/sweeps/1?limit=2")
    story.ask("GET", "/sweeps/1?limit=1&cursor=6")
    story.ask("GET", "/sweeps/2?limit=0")
    story.ask("GET", "/sweeps/1/figure.svg")
    story.ask("GET", "/sweeps/1/figure.png")
    story.ask("GET", "/sweeps/1/figure.pdf")
    story.ask("GET", "/sweeps/1/figure.svg?with=2&bands=true&rows=1,3&scale=log")
    story.ask("GET", "/sweeps/1/effect")
    story.ask("GET", "/sweeps/1/effect?against=2")
    story.ask("GET", "/sweeps/1/effect.svg")
    story.ask("GET", "/sweeps/1/report")
    story.ask("GET", "/sweeps/1/report.md")


def _wish(story: Story) -> None:
    story.ask("PATCH", "/experiments/4", {"priority": 9})
    story.ask("PATCH", "/sweeps/2", {"priority": 5})
    story.ask("POST", "/experiments/1/extend", {"epochs": 9})
    for number in (1, 2, 3, 4, 5, 7):
        for wish in ("pause", "resume", "cancel", "retry"):
            story.ask("POST", f"/experiments/{number}/{wish}")
    for wish in ("pause", "resume", "cancel", "retry"):
        story.ask("POST", f"/sweeps/2/{wish}")
    story.ask("GET", "/experiments/5/events")


def _send_what_is_refused(story: Story) -> None:
    wrong = {"dataset": {"name": "mnist", "base_class": "dog"}, "importance_weight": "16", "optimizer": {"lr": -1}}
    story.ask("POST", "/experiments", wrong)
    story.ask("POST", "/experiments", ALONE | {"epoch": 3, "model": {"name": "transformer"}})
    story.ask("POST", "/experiments", ALONE | {"dataset": {"name": "digits", "other_class": "0"}})
    story.ask("POST", "/experiments?priorty=3", ALONE)
    of_a_gpu = {"dataset": {"name": "mnist"}, "importance_weight": "4:1", "precision": "tf32"}
    story.ask("POST", "/experiments?device=cpu", of_a_gpu)
    story.ask("POST", "/experiments?device=tpu", ALONE)
    story.ask("POST", "/sweeps", {"base": DIGITS, "axes": {"importance_weight": ["16:1", "x"], "optimizer.lr": [0.1]}})
    story.ask("POST", "/sweeps", {"base": DIGITS, "axes": {"importance_weight.x": ["16:1"]}})
    story.ask("POST", "/sweeps", {"base": DIGITS, "axes": {"optimiser.lr": [1], "importance_weight": ["1:1", "1:1"]}})
    story.ask("POST", "/sweeps/1/members", {"axes": {"seed": []}})
    story.ask("POST", "/experiments/1/extend", {"epochs": 3})
    for path in (
        "/experiments/999",
        "/experiments/01",
        "/sweeps/999",
        "/sweeps/999/effect",
        "/sweeps/1/figure.svg?with=999",
        "/sweeps/1/figure.svg?with=1",
        "/sweeps/1/figure.svg?with=2&with=3&with=4&with=5&with=6&with=7&with=8&with=9",
        "/sweeps/1/figure.svg?rows=dropout",
        "/sweeps/1/figure.svg?scale=square",
        "/presets/figure-9",
        "/nowhere",
    ):
        story.ask("GET", path)
    for path in (
        "/sweeps/999/effect",
        "/experiments/2/predictions",
        "/experiments/2/weights",
        "/experiments/1/predictions?epoch=2",
    ):
        story.ask("GET", path)
    story.ask("PUT", "/experiments/1")
    story.ask("DELETE", "/experiments/5")
    story.ask("GET", "/livez", Host="evil.example")


def _extend_a_sweep(story: Story, store: Store) -> None:
    """Of the two weights only the first has been trained."""
    sweep = {"name": "short", "base": DIGITS, "axes": {"importance_weight": ["16:1", "1:1"]}}
    story.ask("POST", "/sweeps?priority=100", sweep)
    claim = claimed(store)
    with store.writing() as tx:
        saved = Saved(3, 0, 48, "3-0/3", "c" * 64, "{}", "cpu")
        for epoch in (1, 2):
            attempts.record(tx, claim, result(epoch), 1.5)
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, epoch_seconds=1.5, saved=saved)
    story.ask("POST", "/sweeps/3/extend?dry_run=true", {"epochs": 6})
    story.ask("POST", "/sweeps/3/extend?priority=2", {"epochs": 6})
    story.ask("POST", "/sweeps/3/extend", {"epochs": 3})
    story.ask("POST", "/sweeps/2/extend", {"epochs": 6})
    story.ask("GET", "/sweeps/4?limit=0")


def _delete(story: Story) -> None:
    story.ask("DELETE", "/experiments/1")
    story.ask("GET", "/experiments/1")
    story.ask("POST", "/sweeps/2/cancel")
    story.ask("DELETE", "/sweeps/2")
    story.ask("DELETE", "/sweeps/1")


def test_every_route_answers_as_it_did(client: TestClient, store: Store) -> None:
    story = Story(client, store)
    _play(story, store)
    answers = json.dumps(story.answers, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("BALLAST_TEST_GOLDEN"):
        GOLDEN.write_text(answers)
    before = json.loads(GOLDEN.read_text())
    assert [each["request"] for each in story.answers] == [each["request"] for each in before]
    for now, then in zip(story.answers, before, strict=True):
        assert now == then


def test_every_route_is_in_the_story(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    told = {each["request"].partition("?")[0] for each in json.loads(GOLDEN.read_text())}
    routes = {
        f"{method.upper()} {re.sub('{[a-z]+}', '[^/]+', path)}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    untold = [route for route in routes if not any(re.fullmatch(route, each) for each in told)]
    assert not untold
