"""Trainers that are wrong on purpose fail the answers that are known (core/training/README.md, "Known answers"); the
right one gives them. (All of them, through the service and of more data: tests/e2e/test_known_answers.py.)"""

from collections.abc import Callable
from typing import Any

import pytest

from core.spec import ImportanceWeight, Optimizer, Spec
from core.training import stepping
from tests.unit.training.answers import (
    FAST_SEEDS,
    on_moons_a_model_that_underfits_keeps_the_effect,
    with_l2_it_ends_at_the_minimiser,
    without_l2_the_weight_is_a_shift_of_the_bias,
)
from tests.unit.training.known import by_the_trainer

Mutation = Callable[[pytest.MonkeyPatch], None]


def changed_weights(change: Callable[[float, float], tuple[float, float]]) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Spec, "loss_weights", property(lambda spec: ImportanceWeight(*change(*spec.weights))))

    return mutate


def changed_decay(factor: float) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        right = stepping._descend

        def wrong(learner: Any, gradients: Any, optimizer: Optimizer) -> None:
            decay = optimizer.weight_decay * factor
            right(learner, gradients, optimizer.model_copy(update={"weight_decay": decay}))

        patch.setattr(stepping, "_descend", wrong)

    return mutate


OF_WEIGHTS = (
    with_l2_it_ends_at_the_minimiser,
    without_l2_the_weight_is_a_shift_of_the_bias,
    on_moons_a_model_that_underfits_keeps_the_effect,
)
OF_DECAY = (with_l2_it_ends_at_the_minimiser,)

MUTATIONS: dict[str, Mutation] = {
    "weights swapped": changed_weights(lambda base, other: (other, base)),
    "weights squared": changed_weights(lambda base, other: (base**2, other**2)),
    "weights square-rooted": changed_weights(lambda base, other: (base**0.5, other**0.5)),
    "weights ignored": changed_weights(lambda _base, _other: (1, 1)),
    "half the decay": changed_decay(0.5),
    "no decay": changed_decay(0),
}


@pytest.mark.parametrize("answer", OF_WEIGHTS, ids=lambda answer: answer.__name__)
def test_the_trainer_is_right(answer: Any) -> None:
    answer(by_the_trainer, FAST_SEEDS[0])


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_trainer_that_is_wrong_gives_another_answer(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[mutation](monkeypatch)
    failed = []
    for answer in OF_WEIGHTS:
        try:
            answer(by_the_trainer, FAST_SEEDS[0])
        except AssertionError:
            failed.append(answer)
    print(mutation, [answer.__name__ for answer in failed])
    assert failed == list(OF_WEIGHTS if mutation.startswith("weights") else OF_DECAY)
