"""Weighted cross-entropy in its three normalisations."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.spec import CrossEntropy, ImportanceWeight
from core.training.losses import class_weights, loss_of_batch

positive = st.floats(1e-3, 1e3)
logit = st.floats(-20, 20)
batches = st.lists(st.tuples(logit, logit, st.integers(0, 1)), min_size=1, max_size=20)


def of(normalization: Any) -> CrossEntropy:
    return CrossEntropy(name="cross_entropy", normalization=normalization)


def by_hand(batch: list[tuple[float, float, int]], weights: list[float]) -> tuple[float, float, int]:
    """Σwℓ, Σw, n."""
    each = [math.log1p(math.exp(a - b if y else b - a)) for a, b, y in batch]
    return (
        sum(weights[y] * loss for loss, (_, _, y) in zip(each, batch, strict=True)),
        sum(weights[y] for _, _, y in batch),
        len(batch),
    )


@given(batches, positive, positive, st.integers(0, 1), st.integers(1, 50), st.integers(1, 50))
def test_each_normalisation_is_its_formula(
    batch: list[tuple[float, float, int]], base: float, other: float, base_index: int, size0: int, size1: int
) -> None:
    logits = torch.tensor([[a, b] for a, b, _ in batch], dtype=torch.float64)
    labels = torch.tensor([y for _, _, y in batch])
    weights = [base, other] if base_index == 0 else [other, base]
    weighted, total, n = by_hand(batch, weights)
    mean_weight = (weights[0] * size0 + weights[1] * size1) / (size0 + size1)

    def loss(normalization: str) -> float:
        part = of(normalization)
        by_output = class_weights(part, ImportanceWeight(base, other), base_index, (size0, size1))
        return loss_of_batch(part, logits, labels, by_output).item()

    assert loss("weight_sum") == pytest.approx(weighted / total)
    assert loss("batch_size") == pytest.approx(weighted / n)
    assert loss("dataset_mean") == pytest.approx(weighted / mean_weight / n)


@given(batches, positive, positive, st.floats(0.1, 10))
def test_weight_sum_knows_only_the_ratio(
    batch: list[tuple[float, float, int]], base: float, other: float, scale: float
) -> None:
    logits = torch.tensor([[a, b] for a, b, _ in batch], dtype=torch.float64)
    labels = torch.tensor([y for _, _, y in batch])
    one, two = (
        loss_of_batch(of("weight_sum"), logits, labels, torch.tensor([base * s, other * s]).double()).item()
        for s in (1, scale)
    )
    assert one == pytest.approx(two, rel=1e-5)


def test_the_base_class_gets_the_base_weight_wherever_it_stands() -> None:
    pair = ImportanceWeight(256, 1)
    assert class_weights(of("weight_sum"), pair, 0, (5, 5)).tolist() == [256, 1]
    assert class_weights(of("weight_sum"), pair, 1, (5, 5)).tolist() == [1, 256]
