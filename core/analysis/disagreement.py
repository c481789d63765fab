"""Do networks of other weights predict the same of every image? Equal base fractions are not equal boundaries."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from core.analysis.intervals import Estimate, estimate_over
from core.analysis.runs import octaves


class Predicted(NamedTuple):
    """What a run predicted of a test set at one epoch."""

    importance_weight: str
    seed: int
    bits: bytes  # one an image, the first image the highest bit, 1 = base; the last byte may be half full
    n: int  # images, > 0


class Disagreement(NamedTuple):
    """Of a weight with 1:1, as shares of the test images; a mean over the seeds of both."""

    importance_weight: str
    share: Estimate  # predicted otherwise than by 1:1 of the same seed
    between_seeds: float | None  # predicted otherwise by 1:1 of another seed: what a seed alone makes of it
    excess: Estimate | None  # the first less the second, seed by seed; None with one seed of 1:1


def share_predicted_otherwise(first: Predicted, second: Predicted) -> float:
    """Raises ValueError where they are of test sets of other sizes."""
    if first.n != second.n:
        raise ValueError(f"predictions of {first.n} images and of {second.n}")
    bits = [np.unpackbits(np.frombuffer(each.bits, np.uint8), count=each.n) for each in (first, second)]
    return float(np.mean(bits[0] != bits[1]))


def disagreements(predicted: Collection[Predicted]) -> list[Disagreement]:
    """Of each weight that shares a seed with 1:1, the heaviest base first. With d(s) the share that differs between the
    weight and 1:1, both of seed s, and b(s) the mean of what differs between 1:1 of s and of each other seed:
    `share` is over d, `between_seeds` the mean of b over all seeds of 1:1, `excess` over d - b."""
    ordered = sorted(predicted, key=lambda each: (-octaves(each.importance_weight), *each))
    even = {each.seed: each for each in reversed(ordered) if octaves(each.importance_weight) == 0}
    by_seed = {seed: _from_other_seeds(seed, even) for seed in even} if len(even) > 1 else {}
    between = float(np.mean(list(by_seed.values()))) if by_seed else None
    found = []
    for weight in dict.fromkeys(each.importance_weight for each in ordered if octaves(each.importance_weight)):
        shares = {
            each.seed: share_predicted_otherwise(each, even[each.seed])
            for each in ordered
            if each.importance_weight == weight and each.seed in even
        }
        share = estimate_over(list(shares.values()), 0, 1)
        if share is not None:
            excess = estimate_over([own - by_seed[seed] for seed, own in shares.items() if by_seed], -1, 1)
            found.append(Disagreement(weight, share, between, excess))
    return found


def _from_other_seeds(seed: int, even: dict[int, Predicted]) -> float:
    return float(
        np.mean([share_predicted_otherwise(even[seed], even[other]) for other in sorted(even) if other != seed])
    )
