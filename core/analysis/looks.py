"""How the lines of a figure tell their importance weights apart."""

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple


class Look(NamedTuple):
    """In matplotlib's words."""

    color: Any
    linestyle: Any


def looks_of(weights: Iterable[str]) -> dict[str, Look]:
    """In order, from the heaviest base to the heaviest other. Red where the base class weighs more, blue where the
    other does, grey between: the deeper, the heavier, and no kind of colour blindness mixes them up. Weights of one
    ratio ("1:1", "2:2") share a colour and differ in their dashes."""
    from matplotlib import colormaps

    ratios = {weight: Fraction(weight.split(":")[0]) / Fraction(weight.split(":")[1]) for weight in weights}
    # The paper's heaviest at least, so that a weight has one colour in all figures that a paper shows.
    heaviest = max([8.0, *(abs(math.log2(ratio)) for ratio in ratios.values())])
    looks: dict[str, Look] = {}
    alike: Counter[Fraction] = Counter()
    for weight in sorted(ratios, key=lambda weight: (-ratios[weight], len(weight), weight)):
        ratio = ratios[weight]
        share = math.log2(ratio) / heaviest
        colour = colormaps["RdBu"](0.5 - math.copysign(0.19 + 0.28 * abs(share), share)) if share else "#444444"
        dashes = (0, (4, 1.5) + (1, 1.5) * (alike[ratio] - 1)) if alike[ratio] else "-"
        looks[weight] = Look(colour, dashes)
        alike[ratio] += 1
    return looks
