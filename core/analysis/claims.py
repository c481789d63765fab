"""The claims of the document (core/training/README.md, "Statistics and claims"), and which groups of a sweep can
speak to each. What they say of it: judgements.py.
"""

from collections.abc import Callable, Sequence

from core.analysis import judgements
from core.analysis.groups import VARIES_WITHIN, SpecJson
from core.analysis.judgements import TARGETS
from core.analysis.verdicts import Claim, Judged, Kind, Studied, claim_of
from core.paths import leaves_by_path, lies_inside

_Judge = Callable[[str, Sequence[Studied]], list[Claim]]


def claims_of(groups: Sequence[Studied]) -> list[Claim]:
    """What a sweep says of each claim that it can speak to, in the order of their numbers."""
    documented = [group for group in groups if group.kind.documented and _may_be_tested(group)]
    return [claim for name, judge in _CLAIMS for claim in judge(name, documented)]


def _may_be_tested(group: Studied) -> bool:
    """Points may come without any test set; before the first row that is not known."""
    return not any(len(run.epoch) and not run.in_domain.n and not run.out_of_domain.n for run in group.runs)


def _each(speaks: Callable[[Kind], bool], judge: Callable[[Studied], Judged]) -> _Judge:
    """A claim that a group alone can speak to."""
    return lambda name, groups: [claim_of(name, [group], judge(group)) for group in groups if speaks(group.kind)]


def _pairs(
    first: Callable[[Kind], bool],
    second: Callable[[Kind], bool],
    differing: str,
    judge: Callable[[Studied, Studied], Judged],
    alone: Callable[[Studied], Judged] | None = None,
) -> _Judge:
    """A claim about two groups that differ in one thing alone; `alone`: what one of the first kind says by itself."""

    def judged(name: str, groups: Sequence[Studied]) -> list[Claim]:
        claims = []
        for one in (group for group in groups if first(group.kind)):
            others = [two for two in groups if second(two.kind) and _same_but_for(differing, one, two)]
            claims += [claim_of(name, [one, two], judge(one, two)) for two in others]
            claims += [claim_of(name, [one], alone(one))] if alone and not others else []
        return claims

    return judged


def _same_but_for(differing: str, first: Studied, second: Studied) -> bool:
    def rest(spec: SpecJson) -> dict[str, object]:
        leaves = leaves_by_path(spec).items()
        return {p: leaf for p, leaf in leaves if p not in (*VARIES_WITHIN, differing) and not lies_inside(p, differing)}

    return rest(first.spec) == rest(second.spec)


def _is_deep_and_free(kind: Kind) -> bool:
    """Neither regularised nor linear: figures 1, 2 and 8."""
    return not kind.weight_decay and not kind.dropout and not kind.batch_norm and kind.model != "linear"


def _has_target(kind: Kind) -> bool:
    return not kind.weight_decay and (kind.dataset, *kind.classes) in TARGETS


def _is_normed(kind: Kind) -> bool:
    """Figures 6 and 7."""
    return kind.batch_norm and not kind.weight_decay


_CLAIMS: tuple[tuple[str, _Judge], ...] = (
    ("C1", _each(lambda _: True, judgements.heavy_weights_move_early)),
    ("C2", _each(_is_deep_and_free, judgements.fades)),
    ("C3", _each(_has_target, judgements.tends_to_its_target)),
    ("C4", _each(lambda kind: not kind.weight_decay and kind.model != "linear", judgements.boundaries_agree)),
    (
        "C5",
        _pairs(
            lambda kind: kind.dataset == "mnist",
            lambda kind: kind.dataset == "cifar10",
            "dataset",
            judgements.mnist_settles_sooner,
        ),
    ),
    ("C6", _each(lambda kind: kind.weight_decay > 0, judgements.does_not_converge)),
    ("C7", _each(lambda kind: kind.dropout > 0 and not kind.weight_decay, judgements.fades_with_dropout)),
    ("C8", _each(_is_normed, judgements.fades)),
    ("C8", _each(lambda kind: _is_normed(kind) and kind.dataset == "mnist", judgements.no_effect_at_all)),
    (
        "C9",
        _pairs(
            lambda kind: kind.model == "resnet" and not kind.batch_norm,
            _is_normed,
            "model.batch_norm",
            judgements.without_batch_norm_more,
            alone=judgements.without_batch_norm_alone,
        ),
    ),
)
