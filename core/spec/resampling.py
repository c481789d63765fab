"""Examples in proportion to the weights, instead of weights on the loss: Byrd and Lipton's comparison (ICML 2019). How
many of each class an epoch has; which ones is the concern of training.
"""

from typing import Literal

from core.spec.fields import ImportanceWeight

Resample = Literal["drop", "repeat"]
ClassSizes = tuple[int, int]  # examples of the base class, and of the other

MAX_EPOCH = 5_000_000  # examples; the paper's largest would be a quarter of it


def epoch_sizes(resample: Resample | None, weights: ImportanceWeight, sizes: ClassSizes) -> ClassSizes:
    """How many examples of each class an epoch over a training set of `sizes` has: `drop` keeps a share w / w_max of
    them, `repeat` has each round(w / w_min) times."""
    base, other = sizes
    match resample:
        case None:
            return sizes
        case "drop":
            heaviest = max(weights)
            return round(base * weights.base / heaviest), round(other * weights.other / heaviest)
        case "repeat":
            lightest = min(weights)
            return base * round(weights.base / lightest), other * round(weights.other / lightest)


def resampling_fault(resample: Resample | None, sizes: ClassSizes) -> str | None:
    """What is wrong with an epoch of `sizes` that `resample` has made, in words; None: nothing."""
    if resample == "drop" and 0 in sizes:
        return "leaves no example of the class with the lighter weight"
    if resample == "repeat" and sum(sizes) > MAX_EPOCH:
        return f"makes an epoch of {sum(sizes)} examples, more than {MAX_EPOCH}"
    return None
