"""The JSON of a sweep's effect, key by key: models and nothing else, made straight of what core.analysis gives, whose
fields have the same names (core/training/README.md, "Statistics and claims").
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.fit import Fit


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class EstimateOut(_Answer):
    """A mean over seeds with its 95 % interval (Student's t), of a share of images cut at 0 and 1; no interval with one
    seed, nor where all say the same."""

    estimate: float
    low: float | None
    high: float | None
    n: int = Field(description="Seeds.")
    seeds: list[float] = Field(description="What each gave.")


class DifferenceOut(_Answer):
    """Of two means over seeds, first less second, with Welch's interval."""

    estimate: float
    low: float | None
    high: float | None
    n_first: int
    n_second: int


class LeftRunOut(_Answer):
    id: int
    fit: Fit | None
    behind_at: int | None = Field(description="The epoch it has come to, where it is left out for being behind.")


class RankOut(_Answer):
    """Spearman's correlation of the mean base fractions."""

    weight: float | None = Field(description="With the logarithm of the weight,")
    abs_weight: float | None = Field(description="and with its distance from 1:1.")


class EffectOut(_Answer):
    """At the end: of each run the mean of its last rows, up to the last epoch that all have evaluated who are not
    behind."""

    epoch: int | None
    rows: int = Field(description="Over which the means are taken: 50, of short curves the last quarter.")
    runs: int = Field(description="That enter.")
    slope: EstimateOut | None = Field(description="Of logit f on log2 of base / other: logits an octave.")
    bend: EstimateOut | None = Field(description="The same on |log2|: the U that a slope cannot see.")
    spread: float | None = Field(description="Largest less smallest mean of the weights.")
    rank: RankOut
    variance_share: float | None = Field(description="Between weights, seeds as replicates.")
    verdict: Literal["faded", "not_faded", "undecided"]
    clipped: int = Field(description="Runs whose fraction is 0 or 1, and was taken for half an image.")
    left_out: list[LeftRunOut]
    reason: str | None = Field(description="Why something is null, or nothing is decided.")


class EffectOverEpochsOut(_Answer):
    """Columns, each as long as `epoch`; of each epoch alone."""

    epoch: list[int]
    slope: list[float | None]
    slope_low: list[float | None]
    slope_high: list[float | None]
    bend: list[float | None]
    bend_low: list[float | None]
    bend_high: list[float | None]
    spread: list[float | None]
    clipped: list[int]


class BandOut(_Answer):
    """A base fraction: t over seeds on the logit, mapped back."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    all_equal: bool


class SetOut(_Answer):
    fit_runs: EffectOut
    all_runs: EffectOut
    over_epochs: EffectOverEpochsOut = Field(description="Of the fit runs.")
    by_weight: dict[str, BandOut] = Field(description="Base fractions of the fit runs, at the end.")


class RunOut(_Answer):
    id: int
    importance_weight: str
    seed: int
    epoch: int = Field(description="How far it has come.")
    fit: Fit | None
    behind: bool = Field(description="So far behind the others of its group that no statistic at the end has it.")


class SettlingOut(_Answer):
    id: int
    importance_weight: str
    seed: int
    epoch: int | None = Field(description="The last that is further than 0.05 from the end; null: not settled.")
    last_epoch: int


class SettlingsOut(_Answer):
    in_domain: list[SettlingOut]
    out_of_domain: list[SettlingOut]


class DisagreementOut(_Answer):
    """Shares of test images."""

    importance_weight: str
    share: EstimateOut = Field(description="Predicted otherwise than by 1:1 of the same seed.")
    between_seeds: float | None = Field(description="Predicted otherwise by another seed of 1:1.")
    excess: EstimateOut | None = Field(description="The first less the second.")


class DisagreementsOut(_Answer):
    epoch: int | None = Field(description="The last whose predictions all fit runs have kept.")
    in_domain: list[DisagreementOut]
    out_of_domain: list[DisagreementOut]


class GroupOut(_Answer):
    """What differs in weight and seed alone."""

    title: str = Field(description="What tells it from the other groups.")
    runs: list[RunOut]
    in_domain: SetOut
    out_of_domain: SetOut
    settling: SettlingsOut
    disagreement: DisagreementsOut


class ClaimOut(_Answer):
    claim: str = Field(examples=["C2"])
    says: str = Field(description="The claim, in words.")
    groups: list[str] = Field(description="Titles of those that it was judged by.")
    verdict: Literal["holds", "fails", "undecided"]
    sentence: str
    estimate: float | None
    low: float | None = Field(description="Of the 95 % interval; of a spread, cut at 0,")
    high: float | None = Field(description="and at 1.")
    n: int = Field(description="Seeds.")
    left_out: list[LeftRunOut]
    would_decide: str | None


class ComparisonOut(_Answer):
    """Of the fit runs at the end, this sweep less the other; null where one of them has none."""

    title: str
    against: str
    differs: list[str] = Field(description="What each of the two is, as far as they differ.")
    in_domain_slope: DifferenceOut | None
    in_domain_bend: DifferenceOut | None
    out_of_domain_slope: DifferenceOut | None
    out_of_domain_bend: DifferenceOut | None


class AgainstOut(_Answer):
    sweep_id: int
    comparisons: list[ComparisonOut]
    reason: str | None = Field(description="Why there are none.")


class SweepEffectOut(_Answer):
    sweep_id: int
    complete: bool = Field(description="All its members have ended: what is said is no longer preliminary.")
    epochs: int = Field(description="The last epoch that all runs have come to which are not behind.")
    members: int
    left_to_read: int = Field(description="Members beyond the first 1000, which are not in it.")
    groups: list[GroupOut]
    claims: list[ClaimOut]
    against: AgainstOut | None
