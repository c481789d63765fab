"""How the lines of a figure tell their importance weights apart."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

_TOO_CLOSE = 0.12  # of the way from grey to the deepest: less than the paper's 2:1 from its 4:1
_MOST_DOTS = 8  # between two dashes


class Look(NamedTuple):
    """In matplotlib's words."""

    color: Any
    linestyle: Any


def looks_by_weight(weights: Iterable[str]) -> dict[str, Look]:
    """In order, from the heaviest base to the heaviest other. Red where the base class weighs more, blue where the
    other does, grey between: the deeper, the heavier, and no kind of colour blindness mixes them up. Weights whose
    colours are the same ("1:1", "2:2") or nearly so ("5:1", "7:1") differ in their dashes."""
    from matplotlib import colormaps

    ratios = {weight: Fraction(weight.split(":")[0]) / Fraction(weight.split(":")[1]) for weight in weights}
    # The paper's heaviest at least, so that a weight has one colour in all figures that a paper shows.
    heaviest = max([8.0, *(abs(math.log2(ratio)) for ratio in ratios.values())])
    looks: dict[str, Look] = {}
    former, crowd = math.inf, 0
    for weight in sorted(ratios, key=lambda weight: (-ratios[weight], len(weight), weight)):
        share = math.log2(ratios[weight]) / heaviest
        colour = colormaps["RdBu"](0.5 - math.copysign(0.19 + 0.28 * abs(share), share)) if share else "#444444"
        same_side = (former > 0, former < 0) == (share > 0, share < 0)
        crowd = crowd + 1 if same_side and former - share < _TOO_CLOSE else 0
        looks[weight] = Look(colour, (0, (4, 1.5) + (1, 1.5) * ((crowd - 1) % _MOST_DOTS)) if crowd else "-")
        former = share
    return looks
