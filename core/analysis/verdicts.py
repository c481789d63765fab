"""What a verdict is made of: the group that is judged, the claim with its numbers, and how an interval decides. Which
claim is judged by what: judgements.py.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from core.analysis.disagreement import Disagreement
from core.analysis.effect import FEWEST_WEIGHTS, Effect, Verdict, reach
from core.analysis.groups import SpecJson
from core.analysis.intervals import Difference, Estimate, t_quantile
from core.analysis.runs import IN_WORDS, Left, Run, Which, abreast, left_of, octaves
from core.analysis.words import with_interval
from core.fit import Fit
from core.paths import value_at

ENOUGH_EPOCHS = 800  # after these, says the document, all weights agree; of fewer it says nothing
MORE_SEEDS = "five seeds would, nearly always; three half of the time"  # of those that scatter by 0.008
_MOST_SEEDS = 30  # nobody trains more


class Answer(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


class Studied(NamedTuple):
    """A group of a sweep: what differs only in weight and seed."""

    title: str
    spec: SpecJson  # of any of its runs
    runs: Sequence[Run]
    disagreements: Mapping[Which, Sequence[Disagreement]]  # of its fit runs; empty where predictions were not compared

    @property
    def kind(self) -> "Kind":
        return kind_of(self.spec)

    @property
    def epochs(self) -> int:
        return int(self.spec["epochs"])

    @property
    def abreast(self) -> list[Run]:
        """Of which statistics at the end are made; those that are behind are left out."""
        return abreast(self.runs)


class Kind(NamedTuple):
    """What decides which claims a spec can speak to."""

    dataset: str
    model: str
    weight_decay: float
    dropout: float
    batch_norm: bool
    documented: bool  # plain cross-entropy of weighted losses, of labels as they are: what the document trains
    classes: tuple[str, str]  # base, other; empty where there are none


class Claim(NamedTuple):
    """A claim of the document and what a sweep says of it."""

    claim: str  # "C2"
    groups: list[str]  # titles of those that it was judged by
    verdict: Answer
    sentence: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int  # seeds
    left_out: list[Left]
    would_decide: str | None  # None where it is decided


class Judged(NamedTuple):
    """A verdict, before it is known of which claim."""

    verdict: Answer
    sentence: str
    number: Estimate | Difference | None = None
    left_out: Sequence[Left] = ()
    would_decide: str | None = None


def kind_of(spec: SpecJson) -> Kind:
    dataset, model = spec["dataset"], spec["model"]
    return Kind(
        dataset=dataset["name"],
        model=model["name"],
        weight_decay=spec["optimizer"]["weight_decay"],
        dropout=model.get("dropout", 0.0),
        batch_norm=model.get("batch_norm", False),
        documented=(
            value_at(spec, ("loss", "name")) == "cross_entropy"
            and spec.get("resample") is None
            and not dataset.get("label_noise")
        ),
        classes=(str(dataset.get("base_class", "")), str(dataset.get("other_class", ""))),
    )


def claim_of(name: str, groups: Iterable[Studied], judged: Judged) -> Claim:
    number = judged.number
    seeds = 0 if number is None else number.n if isinstance(number, Estimate) else min(number.n_first, number.n_second)
    return Claim(
        claim=name,
        groups=[group.title for group in groups],
        verdict=judged.verdict,
        sentence=judged.sentence,
        estimate=number and number.estimate,
        low=number and number.low,
        high=number and number.high,
        n=seeds,
        left_out=list(judged.left_out),
        would_decide=judged.would_decide,
    )


def inside(estimate: Estimate, lowest: float, highest: float, grain: float) -> bool | None:
    """Whether its interval lies inside these limits (True) or wholly outside (False); None where it reaches across one,
    or is none. `grain`: what one image makes of it (`effect.reach`)."""
    if estimate.n < 2:
        return None
    low, high = reach(estimate, grain)
    if lowest < low and high < highest:
        return True
    return False if high < lowest or low > highest else None


def what_would(group: Studied, runs: Collection[Run], seeds: int) -> str | None:
    """What these runs of a group lack for deciding anything, the first to be mended; None: nothing but scatter."""
    short = [run for run in group.runs if not len(run.epoch) or run.epoch[-1] < group.epochs]
    on_their_way = sum(run.finite and not run.ended for run in short)
    if on_their_way:
        have = "has" if on_their_way == 1 else "have"
        return f"the end of its runs would: {on_their_way} of {len(group.runs)} {have} not come to epoch {group.epochs}"
    if not runs:
        return f"runs that have learned would: go on beyond {group.epochs} epochs, or look at why they do not"
    if len({run.importance_weight for run in runs}) < FEWEST_WEIGHTS:
        several = len({run.importance_weight for run in group.runs}) >= FEWEST_WEIGHTS
        few = "three weights would, or more: a line through two says nothing"
        return weights_without(group, runs) if several else few
    return MORE_SEEDS if seeds < 2 else None


def weights_without(group: Studied, used: Collection[Run]) -> str | None:
    """What would decide it, where no run of some weight is among those used."""
    measured = {run.importance_weight for run in used}
    missing = sorted({run.importance_weight for run in group.runs} - measured, key=lambda each: (-octaves(each), each))
    return f"runs of {', '.join(missing)} that have learned would: there are none" if missing else None


def seeds_that_would(estimates: Collection[Estimate], lowest: float, highest: float) -> str:
    """The least n with t(n - 1) · s / √n < the way from the mean to the nearer limit; of what needs most."""
    if any(each.all_equal for each in estimates):
        return "a larger test set would: all seeds gave the same number, and one image decides"
    needed = max(
        _seeds_needed(each, min(abs(each.estimate - lowest), abs(each.estimate - highest))) for each in estimates
    )
    if needed > _MOST_SEEDS:
        return f"even {_MOST_SEEDS} seeds would not: it lies on the edge of what the claim allows"
    return f"{needed:.0f} seeds would, if they scatter as these do"


def _seeds_needed(estimate: Estimate, margin: float) -> float:
    scatter = float(np.std(estimate.seeds, ddof=1))
    enough = (n for n in range(3, _MOST_SEEDS + 1) if t_quantile(n - 1) * scatter / math.sqrt(n) < margin)
    return next(enough, math.inf)


def in_words(number: Estimate | Difference | None, decimals: int = 3) -> str:
    """ "0.131 (0.123 to 0.139)"."""
    if number is None:
        return "not known"
    if number.low is not None and number.high is not None:
        return with_interval(number.estimate, number.low, number.high, decimals)
    estimate = f"{number.estimate:z.{decimals}f}"
    if isinstance(number, Difference):
        return f"{estimate} (without an interval)"
    return f"{estimate} (the same for {number.n} seeds)" if number.all_equal else f"{estimate} (one seed)"


def seeds_in_words(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def effects_in_words(effects: Mapping[Which, Effect]) -> str:
    """ "in-domain faded (slope …; bend …; spread …), out-of-domain undecided (…)"."""
    return ", ".join(f"{IN_WORDS[which]} {_effect_in_words(effect)}" for which, effect in effects.items())


def _effect_in_words(effect: Effect) -> str:
    numbers = [f"slope {in_words(effect.slope)}", f"bend {in_words(effect.bend)}"] if effect.slope else []
    numbers += [f"spread {effect.spread:z.3f}"] if effect.spread is not None else []
    numbers += [effect.reason] if effect.reason else []
    return f"{_VERDICTS[effect.verdict]} ({'; '.join(numbers)})"


def left_in_words(left: Collection[Left], runs: int) -> str:
    """ "; 4 of 15 runs left out: 2 collapsed, 1 under-fit, 1 behind (at epoch 3)"; empty where none is."""
    if not left:
        return ""
    behind = sorted(each.behind_at for each in left if each.behind_at is not None)
    counts = {fit: sum(each.fit is fit and each.behind_at is None for each in left) for fit in (*Fit, None)}
    named = [f"{count} {_FITS[fit]}" for fit, count in counts.items() if count]
    if behind:
        at = f"epoch {behind[0]}" if behind[0] == behind[-1] else f"epochs {behind[0]} to {behind[-1]}"
        named.append(f"{len(behind)} behind (at {at})")
    return f"; {len(left)} of {runs} runs left out: {', '.join(named)}"


def left_out(group: Studied, used: Collection[Run]) -> tuple[list[Left], str]:
    """And in words."""
    left = left_of(group.runs, used)
    return left, left_in_words(left, len(group.runs))


_VERDICTS = {Verdict.FADED: "faded", Verdict.NOT_FADED: "not faded", Verdict.UNDECIDED: "undecided"}
_FITS: Mapping[Fit | None, str] = {
    Fit.FIT: "without this test set",
    Fit.UNDER_FIT: "under-fit",
    Fit.UNCLEAR: "unclear (below 99 % in training, with dropout on)",
    Fit.COLLAPSED: "collapsed",
    Fit.NOT_STARTED: "not started",
    Fit.NOT_FINITE: "not finite",
    None: "without rows",
}
