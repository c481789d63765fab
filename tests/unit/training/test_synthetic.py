"""Points: drawn as core/training/README.md, "Points" says, apart from the test points, and trained like images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons

from core.curve import CurveHead, curve_json
from core.training import Data, load, provenance
from core.training.programs import train as program
from tests.unit.training.builders import locks_dir, rows_of, same, spec_of

SIX_POINTS = {"name": "points", "base": [[1, 5], [0, 1], [3, 5]], "other": [[4, 1], [5, 5], [4, -1]]}
DRAWN = ("two_gaussians", "moons", "blobs")


def points(**dataset: Any) -> Data:
    return load(spec_of(dataset=dataset, batch_size=None).dataset, Path("unused"), locks_dir())


def train_classes(data: Data) -> list[torch.Tensor]:
    return [data.train.stored[data.train_labels == label] for label in (0, 1)]


@pytest.mark.parametrize(("name", "n"), [("two_gaussians", 20), ("moons", 100), ("blobs", 100)])
def test_every_set_has_its_counts_the_base_class_first(name: str, n: int) -> None:
    data = points(name=name)
    assert data.train.stored.shape == (2 * n, 2)
    assert data.train.stored.dtype == torch.float32
    assert data.train_labels.tolist() == [0] * n + [1] * n
    assert (data.class_sizes, data.base_index) == ((n, n), 0)
    assert torch.bincount(data.in_domain_labels).tolist() == [500, 500]
    assert data.out_of_domain.stored.shape == (0, 2)
    assert data.input_shape == (2,)


@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_of_the_data_set_draws_the_points_and_the_test_points_are_others(name: str) -> None:
    one, again, other = points(name=name, seed=3), points(name=name, seed=3), points(name=name, seed=4)
    assert torch.equal(one.train.stored, again.train.stored)
    assert torch.equal(one.in_domain.stored, again.in_domain.stored)
    drawn = [each.stored.tolist() for data in (one, other) for each in (data.train, data.in_domain)]
    coordinates = [x for each in drawn for point in each for x in point]
    assert len(set(coordinates)) > 0.99 * len(coordinates)


@pytest.mark.parametrize("seed", range(200))
def test_two_gaussians_can_be_separated_whatever_the_seed(seed: int) -> None:
    base, other = train_classes(points(name="two_gaussians", seed=seed))
    assert base[:, 0].min() >= 0.7
    assert other[:, 0].max() <= -0.7


@pytest.mark.parametrize(("name", "margin", "mean"), [("two_gaussians", 0.7, 1.2296), ("blobs", 0.5, 2.0286)])
def test_gaussians_are_those_that_the_protocol_draws(name: str, margin: float, mean: float) -> None:
    """Against a plain loop of the tests' own, and the mean of the cut normal distribution."""
    rng = np.random.default_rng(7)
    centre, sd = ((1, 0), (0.5, 1)) if name == "two_gaussians" else ((2, 0), (0.7, 0.7))
    n = 20 if name == "two_gaussians" else 100
    expected = []
    for side in (1, -1):
        of_class = rng.normal((side * centre[0], 0), sd, (n, 2))
        while True:
            wrong = [i for i, point in enumerate(of_class) if side * point[0] < margin]
            if not wrong:
                break
            of_class[wrong] = rng.normal((side * centre[0], 0), sd, (len(wrong), 2))
        expected.append(of_class)
    for drawn, each in zip(train_classes(points(name=name, seed=7)), expected, strict=True):
        np.testing.assert_allclose(drawn, each, rtol=1e-6)
    tests = torch.cat([points(name=name, seed=seed).in_domain.stored[:500] for seed in range(20)])
    assert tests[:, 0].min() >= margin
    assert tests[:, 0].mean().item() == pytest.approx(mean, abs=0.02)  # four standard errors and more
    assert tests[:, 1].std().item() == pytest.approx(sd[1], rel=0.03)


def test_moons_are_those_of_scikit_learn() -> None:
    expected, labels = make_moons(200, noise=0.1, random_state=5)
    for label, drawn in enumerate(train_classes(points(name="moons", seed=5))):
        np.testing.assert_allclose(drawn, expected[labels == label], rtol=1e-6)


def test_points_of_a_spec_are_taken_as_they_are_given() -> None:
    data = points(**SIX_POINTS, test_other=[[9, 9.5]])
    assert data.train.stored.tolist() == SIX_POINTS["base"] + SIX_POINTS["other"]
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.in_domain.stored.tolist(), data.in_domain_labels.tolist()) == ([[9, 9.5]], [1])
    assert len(points(**SIX_POINTS).in_domain) == 0


@pytest.mark.parametrize("dataset", [{"name": "moons"}, SIX_POINTS], ids=["moons", "points"])
def test_what_lies_nowhere_is_null_in_the_curve_and_no_divergence(dataset: dict[str, Any]) -> None:
    spec = spec_of(dataset=dataset, batch_size=None)
    rows = rows_of(spec, points(**dataset))
    assert [row.diverged for row in rows] == [False, False]
    assert rows[-1].predictions is not None
    assert rows[-1].predictions.out_of_domain == b""
    curve = curve_json(CurveHead(1, "succeeded", 1, 2, 2, None, None, True), rows)
    assert curve["base_fraction_out_of_domain"] == [None, None]
    assert curve["nonfinite"] == {}
    tested = dataset["name"] == "moons"
    assert (curve["base_fraction_in_domain"][0] is not None) is tested
    assert curve["finite_logits"] == ([1.0, 1.0] if tested else [None, None])
    assert "out-of-domain -" in program._progress(spec, rows[-1])


@pytest.mark.parametrize("dataset", [{"name": "moons"}, SIX_POINTS], ids=["moons", "points"])
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_points_train_with_the_same_bits_again(model: str, dataset: dict[str, Any]) -> None:
    spec = spec_of(dataset=dataset, model={"name": model}, batch_size=4)
    assert same(rows_of(spec, points(**dataset)), rows_of(spec, points(**dataset)))


def test_the_checksum_of_the_data_sees_every_point() -> None:
    spec = spec_of(dataset=SIX_POINTS, batch_size=None)
    moved = SIX_POINTS | {"other": [[4, 1], [5, 5], [4, -1.5]]}
    data = [points(**SIX_POINTS), points(**SIX_POINTS), points(**moved), points(**SIX_POINTS, test_base=[[0, 0]])]
    first, again, *others = [provenance(spec, each, "cpu").dataset.sha256 for each in data]
    assert first == again
    assert len({first, *others}) == 3
