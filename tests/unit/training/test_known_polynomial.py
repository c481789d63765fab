"""The loss whose effect stays: its limit is worked out by scipy (core/training/README.md, "Known answers")."""

import pytest

from tests.unit.training.known import FAST_SEEDS, SLOW_SEEDS, Separable, sides
from tests.unit.training.solutions import Array, degrees, polynomial_limit

POLYNOMIAL = {"name": "polynomial", "alpha": 1}
HEAVY, LIGHT = "256:1", "1:256"


def limit(case: Separable, weight: str) -> Array:
    return polynomial_limit(case.points, case.base, sides(weight), alpha=1)


@pytest.mark.parametrize(
    "seed", [*FAST_SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW_SEEDS[len(FAST_SEEDS) :])]
)
def test_the_polynomial_loss_comes_to_the_boundary_of_its_own_weights(seed: int) -> None:
    case = Separable(name="two_gaussians", seed=seed)
    for weight, swapped in ((HEAVY, LIGHT), (LIGHT, HEAVY)):
        (d,) = case.differences(weight, [10_000], loss=POLYNOMIAL)
        assert degrees(d, limit(case, weight)) < 1.5
        assert degrees(d, limit(case, swapped)) > 45


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW_SEEDS)
def test_under_the_polynomial_loss_the_effect_stays(seed: int) -> None:
    case = Separable(name="two_gaussians", seed=seed)
    heavy, light = (case.differences(weight, [10_000, 100_000], loss=POLYNOMIAL) for weight in (HEAVY, LIGHT))
    early, late = (degrees(*pair) for pair in zip(heavy, light, strict=True))
    assert late == pytest.approx(early, rel=0.02)
