"""Figures in the paper's layout: base fraction over epochs, one line a weight, in-domain beside out-of-domain.

matplotlib takes a second to import, so it is imported when something is drawn.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.spec import ImportanceWeight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (("base_fraction_in_domain", "in-domain"), ("base_fraction_out_of_domain", "out-of-domain"))


class Line(NamedTuple):
    importance_weight: str
    curve: dict[str, Any]  # the JSON of CONTRACT §1


def draw(lines: Sequence[Line], file: Path, title: str) -> None:
    """Write a figure of `lines` to `file`; its suffix names the format (png, svg, pdf)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    left, right = figure.subplots(1, 2, sharey=True)
    ordered = sorted(lines, key=lambda line: _log_ratio(line.importance_weight), reverse=True)
    for axes, (column, name) in zip((left, right), PANELS, strict=True):
        _panel(axes, ordered, column, name)
    left.set_ylabel("base fraction")
    if ordered:
        right.legend(title="base : other", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(file)


def _panel(axes: "Axes", lines: Sequence[Line], column: str, name: str) -> None:
    colours = _colours([line.importance_weight for line in lines])
    for line in lines:
        values = [math.nan if value is None else value for value in line.curve[column]]
        axes.plot(
            line.curve["epoch"],
            values,
            color=colours[line.importance_weight],
            label=line.importance_weight,
            linewidth=1.6,
        )
    axes.set_title(name, fontsize=10)
    axes.set_xscale("log")  # the disagreement is over within a twentieth of the run
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(weights: Sequence[str]) -> dict[str, Any]:
    """Red where the base class weighs more, blue where the other does, grey between: the deeper, the heavier. Every
    kind of colour blindness tells them apart."""
    from matplotlib import colormaps

    scale = colormaps["RdBu"]
    heaviest = max((abs(_log_ratio(weight)) for weight in weights), default=0) or 1

    def colour(weight: str) -> Any:
        share = _log_ratio(weight) / heaviest
        if share == 0:
            return "#555555"
        return scale(0.5 - math.copysign(0.22 + 0.22 * abs(share), share))

    return {weight: colour(weight) for weight in weights}


def _log_ratio(weight: str) -> float:
    parsed = ImportanceWeight.parse(weight)
    return math.log2(parsed.base / parsed.other)
