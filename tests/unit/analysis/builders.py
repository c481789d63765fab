"""Runs made of fractions, as `ballast effect` gets them from a store."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.analysis.document import read_off
from core.analysis.runs import IN_WORDS, Measured, Run
from core.spec import Spec

MNIST_WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")
CIFAR10_WEIGHTS = ("256:1", "64:1", "16:1", "4:1", "1:1", "1:4", "1:16", "1:64", "1:256")
N_IN, N_OUT = 2000, 8000

Floats = NDArray[np.float64]


def a_run(
    weight: str = "1:1",
    seed: int = 0,
    in_domain: ArrayLike = (0.5,),
    out_of_domain: ArrayLike | None = None,
    *,
    id: int = 1,
    accuracy: float | tuple[float, float] = 1.0,
    epoch: Sequence[int] | None = None,
    epochs: int | None = None,
    finite: bool = True,
    ended: bool = False,
    decays: bool = False,
    drops: bool = False,
    n: tuple[int, int] = (N_IN, N_OUT),
) -> Run:
    """A run with these base fractions, a row each; those out-of-domain are the same where none are given."""
    inside = np.atleast_1d(np.asarray(in_domain, np.float64))
    outside = inside if out_of_domain is None else np.atleast_1d(np.asarray(out_of_domain, np.float64))
    rows = len(inside)
    base, other = accuracy if isinstance(accuracy, tuple) else (accuracy, accuracy)
    return Run(
        id=id,
        importance_weight=weight,
        seed=seed,
        epoch=np.arange(1, rows + 1) if epoch is None else np.asarray(epoch, np.int64),
        in_domain=Measured(np.round(inside * n[0]), n[0]),
        out_of_domain=Measured(np.round(outside * n[1]), n[1]),
        accuracy_base=np.full(rows, base),
        accuracy_other=np.full(rows, other),
        epochs=rows if epochs is None else epochs,
        finite=finite,
        ended=ended,
        decays=decays,
        drops=drops,
    )


def numbered(runs: Sequence[Run]) -> list[Run]:
    return [run._replace(id=id) for id, run in enumerate(runs, start=1)]


def a_group(
    fractions: dict[str, float], seeds: int = 3, rows: int = 200, scatter: float = 0.004, **settings: Any
) -> list[Run]:
    """Of each weight so many seeds, whose fractions lie about the given ones, the same in every row."""
    offsets = np.random.default_rng(0).normal(0, scatter, (len(fractions), seeds))
    return numbered(
        [
            a_run(weight, seed, np.full(rows, np.clip(fraction + offset, 0, 1)), **settings)
            for (weight, fraction), own in zip(fractions.items(), offsets, strict=True)
            for seed, offset in enumerate(own)
        ]
    )


def published(figure: int) -> list[Run]:
    """The final fractions of a figure of the document, as runs of 1000 epochs that stand still; one that ended at
    exactly 0 or 1 once told the classes apart."""
    in_domain, out_of_domain = (read_off()[f"figure-{figure}"][which] for which in IN_WORDS)
    return numbered(
        [
            a_run(weight, 0, [0.5, *[in_domain[weight]] * 999], [0.5, *[out_of_domain[weight]] * 999])
            for weight in in_domain
        ]
    )


def a_spec(**fields: Any) -> dict[str, Any]:
    """With every field filled."""
    base = {"dataset": {"name": "cifar10"}, "importance_weight": "1:1"}
    return Spec.model_validate(base | fields).model_dump(mode="json")
