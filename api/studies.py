"""A sweep read whole and studied, for what is said of it to people and programs: its effect, its report. SQL first, in
one snapshot; statistics after it, in no transaction.
"""

from collections.abc import Mapping
from typing import NamedTuple

from core.analysis.groups import Line
from core.analysis.runs import Measured, Run, run_of_counts
from core.analysis.study import Member, Study, study
from core.results import Predictions
from core.states import ENDED
from core.store import experiments, runs, sweeps
from core.store.experiments import Experiment
from core.store.session import Store
from core.store.sweeps import Sweep

MOST_MEMBERS = 1000  # that are read: the first ones


class WholeSweep(NamedTuple):
    sweep: Sweep
    members: list[Experiment]  # in their order, the first `MOST_MEMBERS`
    runs: list[Run]  # theirs
    study: Study

    @property
    def complete(self) -> bool:
        """Whether all its members have ended."""
        return sum(self.sweep.counts[state] for state in ENDED) == sum(self.sweep.counts.values())

    @property
    def left_to_read(self) -> int:
        return sum(self.sweep.counts.values()) - len(self.members)


def studied(store: Store, sweep_id: int) -> WholeSweep:
    """Raises NotFound."""
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
        members = experiments.members(tx, sweep_id, MOST_MEMBERS)
        counts = runs.counts_of_sweep(tx, sweep_id, MOST_MEMBERS)
    own = [
        run_of_counts(member.id, member.spec, counts.pop(member.id, ()), finite=member.diverged_at is None)
        for member in members
    ]

    def predictions_of(ids: list[int]) -> tuple[int | None, Mapping[int, Predictions]]:
        with store.reading() as tx:
            return runs.last_predictions(tx, ids)

    pairs = zip(members, own, strict=True)
    return WholeSweep(sweep, members, own, study([Member(each.spec, run) for each, run in pairs], predictions_of))


def line_of(run: Run) -> Line:
    """As a figure draws it."""
    in_domain, out_of_domain = _fractions(run.in_domain), _fractions(run.out_of_domain)
    return Line(run.importance_weight, run.seed, run.epoch.tolist(), in_domain, out_of_domain, not run.finite)


def _fractions(measured: Measured) -> list[float | None]:
    return (measured.base / measured.n).tolist() if measured.n else [None] * len(measured.base)


def title_of(sweep: Sweep) -> str:
    """What it is called."""
    return sweep.name or sweep.preset or f"sweep {sweep.id}"
