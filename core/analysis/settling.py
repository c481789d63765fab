"""When a run came to rest."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from core.analysis.runs import Measured, Run, Which, measuring
from core.fit import last_rows

AT_REST = 0.05  # as near to where it ends as a reader of the paper's figures can tell


class Settling(NamedTuple):
    id: int
    importance_weight: str
    seed: int
    epoch: int | None  # None: not yet at rest
    last_epoch: int  # how far it has come


def settling_epochs(runs: Collection[Run], which: Which) -> list[Settling]:
    """Of each run that has measured the test set, the heaviest base first."""
    return [
        Settling(run.id, run.importance_weight, run.seed, _settling_epoch(run, run.measured(which)), int(run.epoch[-1]))
        for run in measuring(runs, which)
    ]


def _settling_epoch(run: Run, measured: Measured) -> int | None:
    """The last epoch t with |f(t) - median of the last rows| > 0.05, 0 where there is none; None where it is one of
    these last rows: whether it has come to rest is not known then."""
    fractions, last = measured.base / measured.n, last_rows(len(run.epoch))
    away = np.flatnonzero(np.abs(fractions - np.median(fractions[-last:])) > AT_REST)
    if not len(away):
        return 0
    return None if away[-1] >= len(fractions) - last else int(run.epoch[away[-1]])
