"""Randomness is a pure function of purpose, seed and epoch (core/training/README.md, "Randomness")."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.models import build
from core.training.seeding import (
    Purpose,
    dropout_bits,
    keep_mask,
    label_noise_order,
    noise,
    permutation,
    resampling_order,
    seed_of,
    subset_order,
)
from tests.unit.training.builders import spec_of
from tests.unit.training.reference import network

seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(1, 1_000_000)


@pytest.mark.parametrize(
    ("purpose", "seed", "epoch", "drawn"),
    [(0, 0, 1, 3831201730), (0, 1, 0, 3964924996), (1, 0, 1, 1501029259)],
)
def test_seeds_are_frozen(purpose: int, seed: int, epoch: int, drawn: int) -> None:
    assert seed_of(Purpose(purpose), seed, epoch) == drawn


def test_draws_are_frozen() -> None:
    assert permutation(0, 1, 8).tolist() == [7, 1, 4, 5, 2, 3, 0, 6]
    assert seed_of(Purpose.TEST_POINTS, 0, 0) == 16823399
    assert label_noise_order(0, 8).tolist() == [4, 3, 7, 2, 6, 0, 5, 1]
    assert resampling_order(0, 1, 8).tolist() == [5, 0, 2, 4, 6, 7, 1, 3]
    assert subset_order(0, 1, 8).tolist() == [7, 4, 3, 2, 0, 5, 6, 1]
    assert noise(2, (1, 2, 2)).flatten().tolist() == [18, 201, 158, 39, 94, 172, 213, 35]
    assert dropout_bits(0, 1, 1, 2, 16, 0.5).flatten().tolist() == [55, 78, 176, 139]
    assert dropout_bits(0, 1, 1, 2, 16, 0.2).flatten().tolist() == [223, 247, 243, 249]
    weights = build(spec_of(model={"name": "linear"}).model, (1, 32, 32), seed=0).output.weight
    assert [round(value, 6) for value in weights.flatten()[:3].tolist()] == [-0.02416, 0.025389, -0.006312]


@given(seeds, epochs, st.integers(1, 300))
def test_a_permutation_meets_every_image_once(seed: int, epoch: int, n: int) -> None:
    order = permutation(seed, epoch, n)
    assert sorted(order.tolist()) == list(range(n))
    assert torch.equal(order, permutation(seed, epoch, n))


def test_epochs_seeds_and_purposes_share_no_order() -> None:
    orders = [permutation(seed, epoch, 50) for seed in (0, 1) for epoch in (1, 2)] + [subset_order(0, 1, 50)]
    assert len({tuple(order.tolist()) for order in orders}) == 5


@given(
    seeds,
    epochs,
    st.integers(1, 5),
    st.integers(1, 20),
    st.integers(1, 40),
    st.sampled_from([0.1, 0.5, 0.9, 1 - 1e-12]),
)
def test_masks_are_a_pure_function(seed: int, epoch: int, steps: int, batch: int, units: int, p: float) -> None:
    bits = dropout_bits(seed, epoch, steps, batch, units, p)
    assert bits.shape == (steps, batch, -(-units // 8))
    assert bits.dtype == torch.uint8
    assert keep_mask(bits[0], units).shape == (batch, units)
    assert torch.equal(bits, dropout_bits(seed, epoch, steps, batch, units, p))


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.8])
def test_a_unit_is_dropped_with_its_probability(p: float) -> None:
    bits = dropout_bits(3, 1, 50, 16, 100, p)
    share = torch.stack([keep_mask(step, 100) for step in bits]).double().mean()
    assert share.item() == pytest.approx(1 - p, abs=0.01)  # six standard deviations of 80 000 draws


def test_no_draw_touches_the_generator_of_the_process() -> None:
    before = torch.random.get_rng_state()
    build(spec_of(model={"name": "cnn", "width": 4}).model, (3, 32, 32), seed=5)
    permutation(0, 1, 10)
    dropout_bits(0, 1, 2, 2, 8, 0.5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "model",
    [
        {"name": "cnn", "width": 4},
        {"name": "resnet", "width": 4},
        {"name": "resnet", "width": 4, "batch_norm": False},
        {"name": "mlp", "hidden": 8},
        {"name": "linear"},
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_initial_weights_are_pytorchs_default(model: dict[str, object]) -> None:
    spec = spec_of(model=model, seed=11)
    torch.manual_seed(seed_of(Purpose.INITIAL_WEIGHTS, 11, 0))
    default = list(network(spec, 3).state_dict().values())
    ours = list(build(spec.model, (3, 32, 32), seed=11).state_dict().values())
    assert len(ours) == len(default)
    assert all(torch.equal(a, b) for a, b in zip(ours, default, strict=True))
