"""How each claim of the document is judged, a short function each: of one group, or of two that differ in one thing.
Which group is asked what: claims.py.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from core.analysis.effect import FADED, MOST_SPREAD, Effect, Verdict, effect_at_end
from core.analysis.intervals import (
    SHARE,
    Difference,
    Estimate,
    difference,
    estimate_over,
    fraction_of,
    logit,
    number_or_none,
    t_interval,
)
from core.analysis.runs import (
    IN_WORDS,
    Floats,
    Ints,
    Run,
    Which,
    common_epochs,
    fit_of_run,
    fit_runs,
    fractions_at,
    is_constant,
    left_of,
    measuring,
    octaves,
    settled_accuracies,
    settled_fractions,
    until,
)
from core.analysis.settling import Settling, settling_epochs
from core.analysis.verdicts import (
    ENOUGH_EPOCHS,
    MORE_SEEDS,
    Answer,
    Judged,
    Studied,
    effects_in_words,
    in_words,
    inside,
    left_out,
    seeds_in_words,
    seeds_that_would,
    weights_without,
    what_would,
)
from core.fit import Fit

EARLY = 10  # epochs, in which heavy weights are said to move the boundary
TARGETS = {("cifar10", "dog", "cat"): 0.3, ("mnist", "0", "1"): 0.5}  # out-of-domain, as the document names them
NEAR = 0.05  # of such a fraction, and of predictions that agree: what a reader of its figures would call the same
_OPPOSITE = {Answer.HOLDS: Answer.FAILS, Answer.FAILS: Answer.HOLDS, Answer.UNDECIDED: Answer.UNDECIDED}


def heavy_weights_move_early(group: Studied) -> Judged:
    """The spread over weights at epochs up to 10, seed by seed, on the test set that shows more of it."""
    used = _that_measured(group.abreast)
    left, words = left_out(group, used)
    spreads = {which: spread for which in IN_WORDS if (spread := _early_spread(used, which))}
    early = [int(epoch) for epoch in common_epochs(used) if epoch <= EARLY]
    if not spreads or not early:
        sentence = f"No seed has two weights to compare up to epoch {EARLY}{words}."
        several = len({run.importance_weight for run in group.runs}) > 1
        would = "rows of these epochs would" if several else "two weights would, or more"
        return Judged(Answer.UNDECIDED, sentence, None, left, would)
    most = max(spreads.values(), key=lambda each: each.estimate)
    constant = sum(bool(is_constant(until(run, early[-1])).all()) for run in used)
    means = " and ".join(f"by {in_words(each)} {IN_WORDS[which]}" for which, each in spreads.items())
    sentence = (
        f"Up to epoch {early[-1]} the base fractions of the weights lie apart {means}, over {seeds_in_words(most.n)}; "
        f"{constant} of {len(used)} runs {'predicts' if constant == 1 else 'predict'} one class for every image until "
        f"then{words}."
    )
    answers = [inside(each, -math.inf, MOST_SPREAD, _image(used, which)) for which, each in spreads.items()]
    if 2 * constant > len(used):
        return Judged(Answer.UNDECIDED, sentence, most, left, "runs that start earlier would: most are constant")
    if False in answers:
        return Judged(Answer.HOLDS, sentence, most, left)
    if all(answers):
        missing = weights_without(group, used)
        if any(run.epoch[-1] < EARLY for run in used):
            missing = f"rows up to epoch {EARLY} would"
        return Judged(Answer.UNDECIDED if missing else Answer.FAILS, sentence, most, left, missing)
    more = MORE_SEEDS if most.n < 2 else seeds_that_would([most], -math.inf, MOST_SPREAD)
    return Judged(Answer.UNDECIDED, sentence, most, left, more)


def fades(group: Studied) -> Judged:
    return _faded(group, fit_runs(group.abreast))


def fades_with_dropout(group: Studied) -> Judged:
    """Where fit runs do not tell, over those too of which it is unclear whether they have learned: one that has not
    keeps the effect, so that it fades over all of these is no less true. That it does not may be their doing."""
    fit = fit_runs(group.abreast)
    unclear = [run for run in group.abreast if fit_of_run(run) is Fit.UNCLEAR]
    certain, judged = _faded(group, fit), _faded(group, [*fit, *unclear])
    if not unclear or certain.verdict is not Answer.UNDECIDED or judged.verdict is Answer.FAILS:
        return certain
    words = f" Of {len(unclear)} of {len(group.runs)} runs it is unclear whether they have learned: with dropout on, in"
    return judged._replace(sentence=f"{judged.sentence}{words} training, they get fewer than 99 % of a class right.")


def does_not_converge(group: Studied) -> Judged:
    """Of all runs: under weight decay one that does not learn is no accident."""
    judged = _faded(group, group.abreast)
    accuracies = [accuracy for run in group.abreast if (accuracy := _light_class_accuracy(run)) is not None]
    light = f" The lighter class is {100 * np.mean(accuracies):.1f} % right in training." if accuracies else ""
    return judged._replace(verdict=_OPPOSITE[judged.verdict], sentence=judged.sentence + light)


def _faded(group: Studied, runs: Sequence[Run]) -> Judged:
    """Whether the effect of the weight has faded on every test set, of all weights."""
    used = _that_measured(runs)
    left, words = left_out(group, used)
    effects = {which: effect_at_end(used, which) for which in IN_WORDS if any(run.measured(which).n for run in used)}
    epoch = min((effect.epoch for effect in effects.values() if effect.epoch), default=None)
    if epoch is None:
        would = what_would(group, used, 0)
        return Judged(Answer.UNDECIDED, f"No run can be judged yet{words}.", None, left, would)
    estimates = [each for effect in effects.values() for each in (effect.slope, effect.bend) if each]
    most = max(estimates, key=lambda each: abs(each.estimate), default=None)
    seeds = most.n if most else 0
    over = f", over {seeds_in_words(seeds)}" if seeds else ""
    sentence = f"At epoch {epoch}{over}: {effects_in_words(effects)}{words}."
    verdicts = {effect.verdict for effect in effects.values()}
    if verdicts == {Verdict.FADED}:
        against = _against_all_weights(group, used, effects)
        return Judged(Answer.UNDECIDED if against else Answer.HOLDS, sentence, most, left, against)
    if Verdict.NOT_FADED in verdicts:
        return _at_the_end(Judged(Answer.FAILS, sentence, most, left), epoch)
    would = what_would(group, used, seeds) or _what_else(effects)
    return Judged(Answer.UNDECIDED, sentence, most, left, would)


def tends_to_its_target(group: Studied) -> Judged:
    """The out-of-domain fraction, mean over weights, seed by seed; t on the logit."""
    target = TARGETS[group.kind.dataset, *group.kind.classes]
    used = measuring(fit_runs(group.abreast), "out_of_domain")
    left, words = left_out(group, used)
    epochs = common_epochs(used)
    if not len(epochs):
        would = what_would(group, used, 0)
        return Judged(Answer.UNDECIDED, f"No run can be judged yet{words}.", None, left, would)
    epoch = int(epochs[-1])
    mean = _mean_fraction(used, epoch)
    sentence = (
        f"The out-of-domain fraction is {in_words(mean)} at epoch {epoch}, and is said to tend to {target}{words}."
    )
    near = inside(mean, target - NEAR, target + NEAR, _image(used, "out_of_domain"))
    if near is None:
        would = what_would(group, used, mean.n) or seeds_that_would([mean], target - NEAR, target + NEAR)
        return Judged(Answer.UNDECIDED, sentence, mean, left, would)
    return _at_the_end(Judged(Answer.HOLDS if near else Answer.FAILS, sentence, mean, left), epoch)


def boundaries_agree(group: Studied) -> Judged:
    """The weight whose predictions differ most from those of 1:1, less what differs between seeds of 1:1."""
    used = fit_runs(group.abreast)
    left, words = left_out(group, used)
    found = [(which, each) for which, all_weights in group.disagreements.items() for each in all_weights]
    known = [(which, each, each.excess) for which, each in found if each.excess is not None]
    epochs = common_epochs(used)
    if not known or not len(epochs):
        sentence = f"Nothing can be compared with 1:1 of another seed{words}."
        return Judged(Answer.UNDECIDED, sentence, None, left, "fit runs of 1:1 with two seeds would, or more")
    which, most, excess = max(known, key=lambda each: each[2].estimate)
    sentence = (
        f"Of the {IN_WORDS[which]} images {most.importance_weight} predicts a share of {in_words(most.share)} "
        f"otherwise than 1:1 of the same seed, and two seeds of 1:1 differ in {most.between_seeds:z.3f}: the weight "
        f"adds {in_words(excess)}, no other adds more{words}."
    )
    answers = [inside(each, -math.inf, NEAR, _image(used, where)) for where, _, each in known]
    if False in answers:
        return _at_the_end(Judged(Answer.FAILS, sentence, excess, left), int(epochs[-1]))
    missing = weights_without(group, used)
    if all(answers):
        return Judged(Answer.UNDECIDED if missing else Answer.HOLDS, sentence, excess, left, missing)
    would = what_would(group, used, excess.n) or seeds_that_would([excess], -math.inf, NEAR)
    return Judged(Answer.UNDECIDED, sentence, excess, left, would)


def no_effect_at_all(group: Studied) -> Judged:
    """The largest spread over weights of any epoch from the first, in-domain, seed by seed."""
    used = measuring(fit_runs(group.abreast), "in_domain")
    left, words = left_out(group, used)
    epochs = common_epochs(used)
    spread = estimate_over([float(own.max()) for own in _spreads_by_seed(used, "in_domain", epochs)], SHARE)
    if spread is None:
        would = what_would(group, used, 0)
        return Judged(Answer.UNDECIDED, f"No seed has two weights to compare yet{words}.", None, left, would)
    sentence = (
        f"In-domain the base fractions of the weights lie apart by at most {in_words(spread)}, from epoch {epochs[0]} "
        f"to {epochs[-1]}, over {seeds_in_words(spread.n)}{words}."
    )
    none = inside(spread, -math.inf, MOST_SPREAD, _image(used, "in_domain"))
    if none is None:
        would = what_would(group, used, spread.n) or seeds_that_would([spread], -math.inf, MOST_SPREAD)
        return Judged(Answer.UNDECIDED, sentence, spread, left, would)
    missing = weights_without(group, used) if none else None
    answer = Answer.FAILS if not none else Answer.UNDECIDED if missing else Answer.HOLDS
    return Judged(answer, sentence, spread, left, missing)


def mnist_settles_sooner(mnist: Studied, cifar10: Studied) -> Judged:
    """Settling epochs, the later of both test sets, mean over the weights that both have, seed by seed."""
    common = {run.importance_weight for run in mnist.runs} & {run.importance_weight for run in cifar10.runs}
    settled = [_settled(group, common) for group in (mnist, cifar10)]
    left = [each for group in (mnist, cifar10) for each in left_of(group.runs, fit_runs(group.abreast))]
    means = [estimate_over(seeds) for seeds, _ in settled]
    if means[0] is None or means[1] is None:
        return Judged(
            Answer.UNDECIDED, "Not both have runs to judge.", None, left, "runs that have learned would, of both"
        )
    apart, (_, unsettled), (_, late) = difference(means[0], means[1]), *settled
    sentence = (
        f"MNIST settles at epoch {means[0].estimate:.0f}, CIFAR-10 at {means[1].estimate:.0f}: {in_words(apart, 0)} "
        f"apart; {unsettled} and {late} of their runs have not settled, and count as if they did at their end."
    )
    if unsettled:
        return Judged(Answer.UNDECIDED, sentence, apart, left, "more epochs of MNIST would")
    if apart.low is None or apart.high is None or apart.low <= 0 <= apart.high:
        return Judged(Answer.UNDECIDED, sentence, apart, left, _more_seeds(apart))
    if apart.low > 0 and late:
        return Judged(Answer.UNDECIDED, sentence, apart, left, "more epochs of CIFAR-10 would")
    return Judged(Answer.HOLDS if apart.high < 0 else Answer.FAILS, sentence, apart, left)


def without_batch_norm_more(without: Studied, normed: Studied) -> Judged:
    """The slope of the fit runs without batch norm less that with it; `fails`: less, as Byrd and Lipton say."""
    left = [each for group in (without, normed) for each in left_of(group.runs, fit_runs(group.abreast))]
    apart, ends = [], []
    for which in IN_WORDS:
        one, two = (effect_at_end(fit_runs(group.abreast), which) for group in (without, normed))
        if one.slope and two.slope:
            apart.append(difference(one.slope, two.slope))
            ends.append((one.epoch, two.epoch))
    sentence = f"Without batch norm {_slopes_in_words(without)} With batch norm {_slopes_in_words(normed)}"
    most = max(apart, key=lambda each: abs(each.estimate), default=None)
    if most is not None:
        sentence += f" They differ by up to {in_words(most)}."
    for own, other in ends:
        if own != other:  # a slope fades with time, so the one that has come farther would seem to have less of it
            would = f"the end of both would: without it they have come to epoch {own}, with it to {other}"
            return Judged(Answer.UNDECIDED, sentence, most, left, would)
    more = any(each.low is not None and each.low > 0 for each in apart)
    less = any(each.high is not None and each.high < 0 for each in apart)
    if more == less:
        lacking = (what_would(group, fit_runs(group.abreast), _fewest(most)) for group in (without, normed))
        return Judged(Answer.UNDECIDED, sentence, most, left, next(filter(None, lacking), _more_seeds(most)))
    return Judged(Answer.HOLDS if more else Answer.FAILS, sentence, most, left)


def without_batch_norm_alone(without: Studied) -> Judged:
    left, would = left_of(without.runs, fit_runs(without.abreast)), "the same with batch norm beside it would"
    return Judged(Answer.UNDECIDED, f"Without batch norm {_slopes_in_words(without)}", None, left, would)


def _more_seeds(apart: Difference | None) -> str:
    return MORE_SEEDS if _fewest(apart) < 5 else f"more than {_fewest(apart)} seeds would"


def _fewest(apart: Difference | None) -> int:
    """Seeds."""
    return min(apart.n_first, apart.n_second) if apart else 0


def _slopes_in_words(group: Studied) -> str:
    """With and without the runs that are not fit."""
    parts = []
    for which in IN_WORDS:
        fit, every = effect_at_end(fit_runs(group.abreast), which), effect_at_end(group.abreast, which)
        clipped = f", of whose fractions {every.clipped} of {every.runs} are 0 or 1" if every.clipped else ""
        parts.append(
            f"{IN_WORDS[which]} {in_words(fit.slope)} over fit runs, {in_words(every.slope)} over all{clipped}"
        )
    _, words = left_out(group, fit_runs(group.abreast))
    return f"the slope is {'; '.join(parts)}{words}."


def _against_all_weights(group: Studied, used: Sequence[Run], effects: Mapping[Which, Effect]) -> str | None:
    """What is missing for "all weights agree", where slope and bend have faded."""
    if missing := weights_without(group, used):
        return missing
    if any(effect.spread is not None and effect.spread > MOST_SPREAD for effect in effects.values()):
        return f"more seeds would: slope and bend are flat, yet means of weights lie further apart than {MOST_SPREAD}"
    return None


def _what_else(effects: Mapping[Which, Effect]) -> str:
    """Where there are seeds, weights and epochs enough to decide: which of them are too few after all."""
    undecided = [effect for effect in effects.values() if effect.verdict is Verdict.UNDECIDED]
    estimates = [each for effect in undecided for each in (effect.slope, effect.bend) if each]
    across = [each for each in estimates if inside(each, -FADED, FADED, grain=0) is None]
    if any(each.n < 2 for each in across):
        return MORE_SEEDS
    if across:
        return seeds_that_would(across, -FADED, FADED)
    larger = "a larger test set" if estimates else "runs of more weights, or of more epochs,"
    return f"{larger} would: {undecided[0].reason}"


def _at_the_end(judged: Judged, epoch: int) -> Judged:
    """Before its time has come, nothing is held against the document, or for it."""
    if epoch >= ENOUGH_EPOCHS:
        return judged
    return judged._replace(
        verdict=Answer.UNDECIDED, would_decide=f"{ENOUGH_EPOCHS} epochs would: of fewer the document says nothing"
    )


def _early_spread(runs: Sequence[Run], which: Which) -> Estimate | None:
    used = measuring(runs, which)
    epochs = common_epochs(used)
    spreads = _spreads_by_seed(used, which, epochs[epochs <= EARLY])
    return estimate_over([float(own.mean()) for own in spreads], SHARE)


def _spreads_by_seed(runs: Sequence[Run], which: Which, epochs: Ints) -> list[Floats]:
    """Of each seed with two weights, its largest less its smallest fraction at each of `epochs`."""
    if not len(epochs):
        return []
    fractions, seeds = fractions_at(runs, which, epochs), np.array([run.seed for run in runs])
    return [np.ptp(fractions[seeds == seed], axis=0) for seed in np.unique(seeds) if np.sum(seeds == seed) > 1]


def _mean_fraction(runs: Sequence[Run], epoch: int) -> Estimate:
    """Out-of-domain, over weights; the interval over seeds on the logit, mapped back."""
    fractions, seeds = settled_fractions(runs, "out_of_domain", epoch), np.array([run.seed for run in runs])
    means = np.array([fractions[seeds == seed].mean() for seed in np.unique(seeds)])
    interval = t_interval(logit(means, runs[0].out_of_domain.n)[:, None])
    low, high = (number_or_none(fraction_of(bound)[0]) for bound in (interval.low, interval.high))
    estimate = float(means.mean() if low is None else fraction_of(interval.mean)[0])
    return Estimate(estimate, low, high, len(means), means.tolist())


def _settled(group: Studied, weights: Collection[str]) -> tuple[list[float], int]:
    """The mean settling epoch of each seed, and how many runs have not settled."""
    by_run: dict[int, list[Settling]] = {}
    for which in IN_WORDS:
        for settling in settling_epochs(fit_runs(group.abreast), which):
            if settling.importance_weight in weights:
                by_run.setdefault(settling.id, []).append(settling)
    by_seed: dict[int, list[int]] = {}
    for own in by_run.values():
        latest = max(each.last_epoch if each.epoch is None else each.epoch for each in own)
        by_seed.setdefault(own[0].seed, []).append(latest)
    unsettled = sum(any(each.epoch is None for each in own) for own in by_run.values())
    return [float(np.mean(own)) for _, own in sorted(by_seed.items())], unsettled


def _light_class_accuracy(run: Run) -> float | None:
    if not octaves(run.importance_weight):
        return None
    base, other = settled_accuracies(run)
    return other if octaves(run.importance_weight) > 0 else base


def _that_measured(runs: Collection[Run]) -> list[Run]:
    return [run for run in runs if any(measuring([run], which) for which in IN_WORDS)]


def _image(runs: Sequence[Run], which: Which) -> float:
    """The share of one image."""
    return max((1 / run.measured(which).n for run in runs if run.measured(which).n), default=1.0)
