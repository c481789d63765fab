"""A sweep studied: of each group what its runs say at the end and over epochs, what that says of each claim, and how it
compares with another sweep. It joins what the files of this room compute, and has no formula of its own.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from core.analysis.bands import Band, bands_at_end
from core.analysis.claims import claims_of
from core.analysis.disagreement import Disagreement, Predicted, disagreements
from core.analysis.effect import Effect, EffectOverEpochs, effect_at_end, effect_over_epochs
from core.analysis.groups import SpecJson, differences_in_words, grouped
from core.analysis.intervals import Difference, Estimate, difference
from core.analysis.runs import IN_WORDS, Run, Which, abreast, fit_of_run, fit_runs
from core.analysis.settling import Settling, settling_epochs
from core.analysis.verdicts import Claim, Studied
from core.fit import Fit
from core.results import Predictions

# Of these experiments: the last epoch whose predictions all have kept, and these, by id.
PredictionsOf = Callable[[list[int]], tuple[int | None, Mapping[int, Predictions]]]


class Member(NamedTuple):
    spec: SpecJson  # every field filled
    run: Run


class OfSet(NamedTuple):
    """What the runs of a group say of a test set."""

    fit_runs: Effect
    all_runs: Effect  # as all else, but for those that are behind
    over_epochs: EffectOverEpochs  # of the fit runs
    by_weight: dict[str, Band]  # the fractions of the fit runs, at the end
    settling: list[Settling]  # of all runs
    disagreement: list[Disagreement]  # of the fit runs, at `GroupStudy.disagreement_epoch`


class RunFit(NamedTuple):
    id: int
    importance_weight: str
    seed: int
    epoch: int  # how far it has come
    fit: Fit | None
    behind: bool  # so far behind the others that no statistic at the end has it


class GroupStudy(NamedTuple):
    title: str  # what tells it from the other groups; may be empty
    spec: SpecJson  # of its first member
    runs: list[RunFit]
    in_domain: OfSet
    out_of_domain: OfSet
    disagreement_epoch: int | None  # the last whose predictions all fit runs have kept

    def of(self, which: Which) -> OfSet:
        return self.in_domain if which == "in_domain" else self.out_of_domain


class Study(NamedTuple):
    groups: list[GroupStudy]
    claims: list[Claim]

    @property
    def epochs(self) -> tuple[int, int]:
        """To which the runs have come that it rests on, at least and at most; 0 where there are none."""
        runs = [run for group in self.groups for run in group.runs if run.epoch and not run.behind]
        epochs = [run.epoch for run in runs if run.fit is not Fit.NOT_FINITE] or [0]
        return min(epochs), max(epochs)


class Comparison(NamedTuple):
    """Of the fit runs of two groups, the first less the second; None where one of them has no slope."""

    title: str
    against: str
    differs: list[str]  # what each is, as far as they differ
    in_domain_slope: Difference | None
    in_domain_bend: Difference | None
    out_of_domain_slope: Difference | None
    out_of_domain_bend: Difference | None


def study(members: Sequence[Member], predictions_of: PredictionsOf) -> Study:
    """Of the members of a sweep, in their order."""
    groups, studied = [], []
    for title, own in grouped([(member.spec, member) for member in members]):
        runs = [member.run for member in own]
        level = abreast(runs)
        epoch, found = _disagreements(level, predictions_of)
        sets = {which: _of_set(runs, level, which, found[which]) for which in IN_WORDS}
        fits = _fits(runs, {run.id for run in level})
        groups.append(GroupStudy(title, own[0].spec, fits, sets["in_domain"], sets["out_of_domain"], epoch))
        studied.append(Studied(title, own[0].spec, runs, found))
    return Study(groups, claims_of(studied))


def comparisons(first: Study, second: Study) -> list[Comparison]:
    """Of the groups that belong together: those of the same title, or where one of the two has a single group, that one
    and each of the other's."""
    pairs = [(one, two) for one in first.groups for two in second.groups]
    if len(first.groups) > 1 and len(second.groups) > 1:
        pairs = [(one, two) for one, two in pairs if one.title == two.title]
    return [_comparison(one, two) for one, two in pairs]


def _comparison(first: GroupStudy, second: GroupStudy) -> Comparison:
    def differences(which: Which) -> list[Difference | None]:
        one, two = first.of(which).fit_runs, second.of(which).fit_runs
        return [_difference(one.slope, two.slope), _difference(one.bend, two.bend)]

    differs = differences_in_words([first.spec, second.spec])
    return Comparison(first.title, second.title, differs, *differences("in_domain"), *differences("out_of_domain"))


def _difference(first: Estimate | None, second: Estimate | None) -> Difference | None:
    return difference(first, second) if first and second else None


def _fits(runs: Sequence[Run], level: Collection[int]) -> list[RunFit]:
    return [
        RunFit(run.id, run.importance_weight, run.seed, _last(run), fit_of_run(run), run.id not in level)
        for run in runs
    ]


def _of_set(runs: Sequence[Run], level: Sequence[Run], which: Which, disagreement: Sequence[Disagreement]) -> OfSet:
    """`level`: those of `runs` that are not behind."""
    fit = fit_runs(level)
    of_fit = effect_at_end(fit, which)
    return OfSet(
        fit_runs=of_fit if fit or not level else of_fit._replace(reason="no run is fit"),
        all_runs=effect_at_end(level, which),
        over_epochs=effect_over_epochs(fit, which),
        by_weight=bands_at_end(fit, which),
        settling=settling_epochs(runs, which),
        disagreement=list(disagreement),
    )


def _disagreements(
    runs: Sequence[Run], predictions_of: PredictionsOf
) -> tuple[int | None, dict[Which, list[Disagreement]]]:
    fit = fit_runs(runs)
    epoch, kept = predictions_of([run.id for run in fit])

    def found(which: Which) -> list[Disagreement]:
        return disagreements(
            [
                Predicted(run.importance_weight, run.seed, getattr(kept[run.id], which), run.measured(which).n)
                for run in fit
                if run.id in kept and run.measured(which).n
            ]
        )

    return epoch, {which: found(which) for which in IN_WORDS}


def _last(run: Run) -> int:
    return int(run.epoch[-1]) if len(run.epoch) else 0
