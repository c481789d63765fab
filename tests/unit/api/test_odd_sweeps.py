"""Sweeps that can say little: each says so in sentences, as JSON, on a command line, as Markdown and as a page; never a
number that is none, a band of no width, or a traceback.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pytest
from fastapi.testclient import TestClient

from core.results import EpochResult
from core.states import ErrorKind, State
from core.store import attempts
from core.store.attempts import ExperimentError
from core.store.session import Store
from tests.unit.analysis.test_any_sweep import UNREADABLE
from tests.unit.api.builders import Json, problem
from tests.unit.api.typed import Ballast
from tests.unit.store.builders import DIAGNOSTICS, claimed, recorded, result

WEIGHTS = ("16:1", "1:1", "1:16")
EPOCHS = 12
DIVERGED = ExperimentError(ErrorKind.DIVERGED, "the training loss became nan")


class Odd(NamedTuple):
    """A sweep of digits by an mlp, and what its runs say; each run by its place in the queue, seed by seed."""

    fraction: Callable[[int, int], float] = lambda run, epoch: 0.4 + 0.01 * ((7 * run + epoch) % 5)  # of run and epoch
    weights: Sequence[str] = WEIGHTS
    seeds: int = 2
    n: tuple[int, int] = (200, 800)  # images in-domain and out-of-domain
    rows: Callable[[int], int] = lambda _: EPOCHS  # how far a run has come
    diverges: Sequence[int] = ()
    ends: bool = True
    spec: Mapping[str, object] = MappingProxyType({})  # of all, beside what they are by default


SITUATIONS = {
    "one weight": Odd(weights=["16:1"]),
    "one weight, one seed": Odd(weights=["1:1"], seeds=1),
    "two weights": Odd(weights=["16:1", "1:1"]),
    "one seed": Odd(seeds=1),
    "nothing yet": Odd(rows=lambda _: 0),
    "nothing ended": Odd(ends=False, rows=lambda _: 5),
    "one row": Odd(ends=False, rows=lambda run: int(run == 0)),
    "other lengths": Odd(ends=False, rows=lambda run: run),
    "the first run diverged": Odd(diverges=[0]),
    "a whole weight diverged": Odd(diverges=[0, 3]),
    "all diverged": Odd(diverges=range(6)),
    "three images": Odd(n=(3, 3), fraction=lambda run, epoch: (run + epoch) % 4 / 3),
    "one image": Odd(n=(1, 1), fraction=lambda run, epoch: (run + epoch) % 2),
    "all alike": Odd(fraction=lambda *_: 0.5),
    "all alike, three images": Odd(n=(3, 3), fraction=lambda *_: 1 / 3),
    "all 0": Odd(fraction=lambda *_: 0),
    "all 1": Odd(fraction=lambda *_: 1),
    "0 or 1 by weight": Odd(fraction=lambda run, _: (1, 0.5, 0)[run % 3]),
    "0 or 1 by seed": Odd(fraction=lambda run, _: run // 3),
    "0 at last": Odd(fraction=lambda _, epoch: 0.5 if epoch < 8 else 0),
    "by weight alone": Odd(fraction=lambda run, _: (0.6, 0.5, 0.4)[run % 3]),
    "nothing out-of-domain": Odd(n=(200, 0), spec={"dataset": {"name": "two_gaussians"}}),
    "no test set": Odd(n=(0, 0), spec={"dataset": {"name": "two_gaussians"}}),
    "few seeds of many": Odd(seeds=5, rows=lambda run: EPOCHS if run < 7 else 0, ends=False),
}


def made(client: TestClient, store: Store, odd: Odd) -> int:
    """Its number. Runs that have no row stay in the queue."""
    base = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": EPOCHS} | odd.spec
    axes = {"importance_weight": list(odd.weights), "seed": list(range(odd.seeds))}
    answer = client.post("/sweeps", json={"base": base, "axes": axes})
    assert answer.status_code == 201, answer.text
    for run in range(len(odd.weights) * odd.seeds):
        last = odd.rows(run)
        if not last:
            continue
        claim = claimed(store)
        for epoch in range(1, last):
            recorded(store, claim, row(odd, run, epoch))
        diverges, ended = run in odd.diverges, odd.ends and last == EPOCHS
        final = row(odd, run, last)
        if diverges:
            final = final._replace(train_loss=math.nan, finite_in_domain=0, finite_out_of_domain=0)
        if not ended:
            recorded(store, claim, final)
            continue
        with store.writing() as tx:
            state, error = (State.FAILED, DIVERGED) if diverges else (State.SUCCEEDED, None)
            attempts.finish(tx, claim, final, state, error)
    return int(answer.json()["id"])


def row(odd: Odd, run: int, epoch: int) -> EpochResult:
    fraction, (inside, outside) = odd.fraction(run, epoch), odd.n
    return result(
        epoch,
        loss=(),
        n_in_domain=inside,
        finite_in_domain=inside,
        base_in_domain=round(fraction * inside),
        correct_in_domain=inside,
        n_out_of_domain=outside,
        finite_out_of_domain=outside,
        base_out_of_domain=round(fraction * outside),
        train_correct_base=50,
        train_correct_other=50,
    )


def estimates(value: object) -> Iterator[Json]:
    """Whatever has an interval, deep inside."""
    if isinstance(value, dict):
        yield from [value] if "low" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from estimates(each)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # no statement differs
@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_can_say_little_says_so(situation: str, client: TestClient, store: Store, ballast: Ballast) -> None:
    odd = SITUATIONS[situation]
    sweep = made(client, store, odd)
    said = client.get(f"/sweeps/{sweep}/effect")
    assert said.status_code == 200, said.text
    answer = json.loads(said.content, parse_constant=lambda name: pytest.fail(f"{name} is no number"))
    (group,) = answer["groups"]
    for each in estimates(answer):
        assert (each["low"] is None) == (each["high"] is None)
        assert each["low"] is None or each["low"] < each["estimate"] < each["high"]
    for effect in (group[which][of] for which in ("in_domain", "out_of_domain") for of in ("fit_runs", "all_runs")):
        assert effect["verdict"] in ("faded", "not_faded", "undecided")
        assert effect["reason"] or (effect["slope"]["low"] and effect["verdict"] != "undecided")
    assert bool(answer["claims"]) is (odd.n != (0, 0))
    for claim in answer["claims"]:
        assert re.fullmatch(r"[A-Z].*\.", claim["sentence"])
        assert (claim["verdict"] == "undecided") == bool(claim["would_decide"])
    if len(odd.weights) < 3 or odd.seeds == 1:  # too few for all but the spread of two weights
        assert {claim["verdict"] for claim in answer["claims"] if claim["claim"] != "C1"} <= {"undecided"}

    page = client.get(f"/sweeps/{sweep}/report.md").text.partition("## Where it comes from")[0]
    told = {"effect": ballast("effect", str(sweep)), "report.md": page}
    for where, text in told.items():
        for pattern in UNREADABLE:
            found = re.search(f".{{0,99}}(?:{pattern}).{{0,99}}", re.sub(r"\\(.)", r"\1", text))
            assert not found, (where, pattern, found[0])
    for claim in answer["claims"]:
        assert claim["sentence"] in re.sub(r"\\(.)", r"\1", page)
        assert claim["sentence"] in told["effect"]
    assert client.get(f"/sweeps/{sweep}/report").status_code == 200  # its pictures too


def test_weights_that_resampling_leaves_none_of_are_refused_with_their_field(shared_client: TestClient) -> None:
    spec = {"dataset": {"name": "digits"}, "importance_weight": "4:1", "resample": "drop"}
    wrong = spec | {"loss": {"normalization": "batch_size"}}
    (fault,) = problem(shared_client.post("/experiments", json=wrong), 422)["errors"]
    assert (fault["pointer"], fault["value"]) == ("/resample", "drop")
    body = {"base": spec, "axes": {"loss.normalization": ["weight_sum", "batch_size"]}}
    (fault,) = problem(shared_client.post("/sweeps", json=body), 422)["errors"]
    assert fault["detail"] == "leaves no weights for batch_size"


def test_points_have_no_images_of_noise_and_say_null(client: TestClient, store: Store) -> None:
    fields = {"dataset": {"name": "moons"}, "model": {"name": "mlp"}, "importance_weight": "4:1", "diagnostics": True}
    made = client.post("/experiments", json=fields)
    assert made.status_code == 201, made.text
    recorded(
        store,
        claimed(store),
        result(1)._replace(diagnostics=DIAGNOSTICS._replace(n_noise=0, base_noise=0, finite_noise=0)),
    )
    curve = client.get(f"/experiments/{made.json()['id']}/curve").json()
    assert curve["diagnostics"]["base_fraction_noise"] == [None]
