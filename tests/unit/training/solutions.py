"""Where a linear network of two outputs must end, worked out by numpy and scipy alone: minimisers, margins, angles.

Points are [n, 2] with `base` saying which are of the base class; everything is said of the augmented vector (w, b), and
of two outputs of d = θ_base - θ_other.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import expit

Array = np.ndarray[Any, np.dtype[np.float64]]


def augmented(points: Array) -> Array:
    return np.column_stack([points, np.ones(len(points))])


def longest_stable_step(points: Array) -> float:
    """4 / max‖(x, 1)‖²: the learning rate of these tests."""
    return float(4 / (augmented(points) ** 2).sum(1).max())


def minimiser(
    points: Array, base: Array, weights: tuple[float, float], decay: float, bias_decay: float | None = None
) -> Array:
    """θ [2, 3], a row an output (base first), that minimises Σwℓ / Σw + λ/2·‖θ‖², ℓ the cross-entropy; the biases may
    decay otherwise."""
    x, y = augmented(points), np.where(base, 1.0, -1.0)
    w = np.where(base, *weights) / np.where(base, *weights).sum()
    decays = np.array([decay, decay, decay if bias_decay is None else bias_decay]) * np.ones((2, 1))

    def value(flat: Array) -> float:
        theta = flat.reshape(2, 3)
        z = y * (x @ (theta[0] - theta[1]))
        return float(w @ np.logaddexp(0, -z) + (decays * theta**2).sum() / 2)

    def gradient(flat: Array) -> Array:
        theta = flat.reshape(2, 3)
        z = y * (x @ (theta[0] - theta[1]))
        of_d = x.T @ (-w * y * expit(-z))
        return (np.stack([of_d, -of_d]) + decays * theta).ravel()

    found = minimize(value, np.zeros(6), jac=gradient, method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000})
    assert np.abs(gradient(found.x)).max() < 1e-7
    return np.asarray(found.x).reshape(2, 3)


def augmented_margin(points: Array, base: Array) -> Array:
    """argmin ‖w‖² + b² with y(w·x + b) ≥ 1, by least distance (Lawson and Hanson 1974, chapter 23)."""
    a = np.where(base, 1.0, -1.0)[:, None] * augmented(points)
    e = np.vstack([a.T, np.ones(len(a))])
    unit = np.array([0.0, 0, 0, 1])
    residual = e @ nnls(e, unit)[0] - unit
    u = -residual[:3] / residual[3]
    assert (a @ u).min() > 1 - 1e-9
    return np.asarray(u)


def polynomial_limit(points: Array, base: Array, weights: tuple[float, float], alpha: float) -> Array:
    """The direction that minimises Σ w (y u·x)^-α on the unit sphere: of the minimiser of Σ w z^-α + ‖u‖² / 2."""
    a = np.where(base, 1.0, -1.0)[:, None] * augmented(points)
    w = np.where(base, *weights)

    def value(u: Array) -> float:
        z = a @ u
        return np.inf if z.min() <= 0 else float(w @ z**-alpha + u @ u / 2)

    start = augmented_margin(points, base)
    found = minimize(value, start * 5, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000})
    z = a @ found.x
    assert np.abs(a.T @ (-alpha * w * z ** (-alpha - 1)) + found.x).max() < 1e-4 * np.abs(found.x).max()
    return np.asarray(found.x)


def degrees(one: Array, other: Array) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other / np.linalg.norm(one) / np.linalg.norm(other), -1, 1))))


def distance(one: Array, other: Array) -> float:
    """Relative to `other`."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
