"""Points that are drawn, or given in the spec: data sets whose minimisers and margins can be worked out
(core/training/README.md, "Points").
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core import spec
from core.training.seeding import Purpose, seed_of

_Array = np.ndarray[Any, np.dtype[np.float64]]
_Classes = tuple[_Array, _Array]  # points [n, d] of the base class, and of the other


class Labelled(NamedTuple):
    """Points of both classes, those of the base class first."""

    points: Tensor  # float32 [n, d]
    labels: Tensor  # int64 [n]: 0 is the base class


def read(dataset: spec.AnyPoints) -> tuple[Labelled, Labelled]:
    """The training and the test points. What is drawn is drawn twice: test points are fresh ones."""
    counts = spec.point_counts(dataset)
    fresh = seed_of(Purpose.TEST_POINTS, dataset.seed, 0)
    tests = counts.in_domain // 2
    match dataset:
        case spec.TwoGaussians():
            drawn = _two_gaussians(counts.base, dataset.seed), _two_gaussians(tests, fresh)
        case spec.Moons():
            drawn = _moons(counts.base, dataset.seed), _moons(tests, fresh)
        case spec.Blobs():
            drawn = _blobs(counts.base, dataset.seed), _blobs(tests, fresh)
        case spec.Points():
            d = len(dataset.base[0])
            drawn = (
                (_given(dataset.base, d), _given(dataset.other, d)),
                (_given(dataset.test_base, d), _given(dataset.test_other, d)),
            )
    train, test = drawn
    return _labelled(train), _labelled(test)


def _two_gaussians(per_class: int, seed: int) -> _Classes:
    return _mirrored(per_class, seed, mean=1, sd=(0.5, 1), margin=0.7)


def _blobs(per_class: int, seed: int) -> _Classes:
    return _mirrored(per_class, seed, mean=2, sd=(0.7, 0.7), margin=0.5)


def _mirrored(per_class: int, seed: int, mean: float, sd: tuple[float, float], margin: float) -> _Classes:
    """Normal around (mean, 0) and (-mean, 0). What is nearer than `margin` to the axis between, or beyond it, is drawn
    again."""
    rng = np.random.default_rng(seed)

    def points(side: int) -> _Array:
        drawn = rng.normal((side * mean, 0), sd, (per_class, 2))
        while (near := side * drawn[:, 0] < margin).any():
            drawn[near] = rng.normal((side * mean, 0), sd, (near.sum(), 2))
        return drawn

    return points(1), points(-1)


def _moons(per_class: int, seed: int) -> _Classes:
    """In the order in which scikit-learn shuffles them, those of its label 0 as the base class."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(2 * per_class, noise=0.1, random_state=seed)
    return points[labels == 0], points[labels == 1]


def _given(points: tuple[tuple[float, ...], ...], d: int) -> _Array:
    return np.array(points, np.float64).reshape(-1, d)  # none of them too


def _labelled(classes: _Classes) -> Labelled:
    labels = np.repeat([0, 1], [len(points) for points in classes])
    return Labelled(torch.from_numpy(np.concatenate(classes)).float(), torch.from_numpy(labels).long())
