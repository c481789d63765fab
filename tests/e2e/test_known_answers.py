"""Cases whose answer is known (core/training/README.md, "Known answers"), through the service: posted over HTTP,
trained by two worker processes, judged by the weights and the curve that the API serves. Two data seeds; in slow tests
ten, and 10⁵ steps on two of them: `BALLAST_TEST_LONG=1` tries these on ten as well, a quarter of an hour of a core
more.
"""

import os
from collections.abc import Iterator, Sequence

import pytest

from core.spec import Spec
from core.states import ENDED
from tests.e2e.processes import Up, running
from tests.servers import wait_until
from tests.unit.training import answers
from tests.unit.training.answers import FAST_SEEDS, LONG, SHORT, SLOW_SEEDS, Answer
from tests.unit.training.known import Ended, Way

LONG_SEEDS = SLOW_SEEDS if os.environ.get("BALLAST_TEST_LONG") else SLOW_SEEDS[:2]  # of 10⁵ steps
LONGEST_S = 850  # of 10⁵ steps, however busy the machine is


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with running(Up(tmp_path_factory.mktemp("home"), "--workers", "2")) as up:
        yield through(up)


def through(up: Up) -> Way:
    """The way of training that a user has."""

    def trained(specs: Sequence[Spec], lengths: Sequence[int]) -> list[list[Ended]]:
        first, *later = lengths
        ids = [up.client.submit(spec.model_dump(mode="json") | {"epochs": first})["id"] for spec in specs]
        ends = [[_ended(up, id)] for id in ids]
        for epochs in later:
            ids = [up.client.extend(id, epochs)["id"] for id in ids]
            for id, own in zip(ids, ends, strict=True):
                own.append(_ended(up, id))
        return ends

    return trained


def _ended(up: Up, experiment_id: int) -> Ended:
    wait_until(lambda: up.client.experiment(experiment_id)["state"] in ENDED, LONGEST_S)
    experiment, curve = up.client.experiment(experiment_id), up.client.curve(experiment_id)
    assert experiment["state"] == "succeeded", experiment["error"]
    in_domain = dict(zip(curve["epoch"], curve["base_fraction_in_domain"], strict=True))
    return Ended(Spec.model_validate(experiment["spec"]), up.client.weights(experiment_id), in_domain)


def on_seeds(answer: Answer) -> list[object]:
    seeds = LONG_SEEDS if answer in LONG else SLOW_SEEDS
    marks = [() if answer in SHORT and seed in FAST_SEEDS else (pytest.mark.slow,) for seed in seeds]
    return [
        pytest.param(answer, seed, marks=own, id=f"{answer.__name__}-{seed}")
        for seed, own in zip(seeds, marks, strict=True)
    ]


@pytest.mark.parametrize(("answer", "seed"), [each for answer in (*SHORT, *LONG) for each in on_seeds(answer)])
def test_the_service_comes_to_the_known_answer(service: Way, answer: Answer, seed: int) -> None:
    answer(service, seed)


def test_six_points_tend_to_the_margin_with_the_bias_and_not_to_that_of_svc(service: Way) -> None:
    answers.six_points_tend_to_the_margin_with_the_bias_and_not_to_that_of_svc(service)


@pytest.mark.parametrize("seeds", [FAST_SEEDS, pytest.param(SLOW_SEEDS, marks=pytest.mark.slow)])
def test_on_moons_a_model_that_interpolates_loses_the_effect(service: Way, seeds: range) -> None:
    answers.on_moons_a_model_that_interpolates_loses_the_effect(service, seeds)
