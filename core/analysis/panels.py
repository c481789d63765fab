"""What the panels of a figure show: the groups of one sweep or of several, each with its lines, its bands and what was
published of it; and which of them are asked for. How it is drawn is the concern of figures.py, on top of this.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.analysis.bands import BandOverEpochs, bands_over_epochs
from core.analysis.document import NOTHING_PUBLISHED, published_fractions
from core.analysis.groups import Line, SpecJson, differences_in_words
from core.analysis.runs import IN_WORDS, Measured, Run, Which, fit_of_run, fit_runs
from core.fit import Fit

_MOST_NAMED = 24  # rows, where one is not found


class Group(NamedTuple):
    """Experiments that differ only in weight and seed: one row of two panels."""

    title: str  # may be empty
    lines: Sequence[Line]
    published: Mapping[Which, Mapping[str, float]] = NOTHING_PUBLISHED  # final fractions, by weight
    bands: Mapping[Which, Mapping[str, BandOverEpochs]] | None = None  # of the fit runs; None: not asked for

    def is_apart(self, line: Line) -> bool:
        """It enters neither mean nor band of its weight."""
        return line.apart if self.bands is None else line.fit is not Fit.FIT


class SweepToDraw(NamedTuple):
    title: str  # of its groups, before what tells them apart; may be empty
    preset: str | None
    members: Sequence[tuple[SpecJson, Run]]


class NoSuchRow(Exception):
    """`wanted` is no row of the figure; `there` are, in words."""

    def __init__(self, wanted: str, there: str) -> None:
        super().__init__(wanted, there)
        self.wanted, self.there = wanted, there


def groups_of(sweeps: Sequence[SweepToDraw], *, bands: bool = False) -> list[Group]:
    """Of each sweep its groups, in the order in which each first appears, titled by what tells it from all others."""
    titles = iter(differences_in_words([spec for sweep in sweeps for spec, _ in sweep.members]))
    groups = []
    for sweep in sweeps:
        own: dict[str, list[tuple[SpecJson, Run]]] = {}
        for member in sweep.members:
            own.setdefault(next(titles), []).append(member)
        for title, members in own.items():
            groups.append(_group(": ".join(filter(None, (sweep.title, title))), sweep.preset, members, bands=bands))
    return groups


def _group(title: str, preset: str | None, members: Sequence[tuple[SpecJson, Run]], *, bands: bool) -> Group:
    runs = [run for _, run in members]
    weights = {run.importance_weight for run in runs}
    published = {
        which: {weight: fraction for weight, fraction in final.items() if weight in weights}
        for which, final in published_fractions(preset, members[0][0]).items()
    }
    fit = fit_runs(runs)
    over_epochs = {which: bands_over_epochs(fit, which) for which in IN_WORDS} if bands else None
    return Group(title, [line_of_run(run) for run in runs], published, over_epochs)


def line_of_run(run: Run) -> Line:
    in_domain, out_of_domain = _fractions(run.in_domain), _fractions(run.out_of_domain)
    epoch, fit = run.epoch.tolist(), fit_of_run(run)
    return Line(run.importance_weight, run.seed, epoch, in_domain, out_of_domain, not run.finite, fit)


def _fractions(measured: Measured) -> list[float | None]:
    return (measured.base / measured.n).tolist() if measured.n else [None] * len(measured.base)


def chosen(groups: Sequence[Group], rows: str) -> list[Group]:
    """Those that `rows` names, in their order: by their numbers from the top ("1,3"), or by a part of their titles, in
    capitals or not. Raises NoSuchRow."""
    numbers = dict(enumerate(groups, start=1))
    if re.fullmatch(r" *\d+ *(, *\d+ *)*", rows, re.ASCII):
        wanted = {int(number): number for number in rows.split(",")}
        missing = [text for number, text in wanted.items() if number not in numbers]
        if missing:
            raise NoSuchRow(missing[0], _in_words(groups))
        return [group for number, group in numbers.items() if number in wanted]
    found = [group for group in groups if rows.casefold() in group.title.casefold()]
    if not found:
        raise NoSuchRow(rows, _in_words(groups))
    return found


def _in_words(groups: Sequence[Group]) -> str:
    """ "1 (weight_decay 0), 2 (weight_decay 0.01)"."""
    words = [f"{number} ({group.title})" if group.title else f"{number}" for number, group in enumerate(groups, 1)]
    more = [f"… {len(words)}"] if len(words) > _MOST_NAMED else []
    return ", ".join(words[:_MOST_NAMED] + more) or "none"
