"""Figures in the paper's layout: base fraction over epochs, one colour a weight, in-domain beside out-of-domain."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, BinaryIO

from core.analysis.drawing import QUIET, PictureFormat, above, save, scale_epochs, wrapped
from core.analysis.groups import Group, Line
from core.analysis.looks import Look, looks_by_weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _GAP, _TITLED_GAP = 2.6, 0.9, 1.2  # inches: a panel's height, and between two
_MOST_GROUPS = 24  # nobody reads a taller picture, and Agg draws no more than 65 535 pixels
_LEGEND_ROWS = 13  # as high as a panel
_ANY = "#9a9a9a"  # no weight's colour
_SEED: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.45}
_APART: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.8}  # of what enters no mean,
_APART_DASHES = (0, (1, 1.6))  # dotted
_MEAN: dict[str, Any] = {"linewidth": 1.7, "zorder": 3}


def draw(
    groups: Sequence[Group], title: str, target: Path | BinaryIO, file_format: PictureFormat, subtitle: str = ""
) -> None:
    """Write a figure of `groups`, of the first 24, to `target`; the same input gives the same bytes. `subtitle`: what
    they have in common. Raises OSError."""
    save(lambda: _figure(groups, title, subtitle), target, file_format)


def _figure(groups: Sequence[Group], title: str, subtitle: str) -> "Figure":
    from matplotlib.figure import Figure

    heading = wrapped(title, width=100, most=3)
    if len(groups) > _MOST_GROUPS:
        heading.append(f"(the first {_MOST_GROUPS} of {len(groups)} groups)")
    groups = groups[:_MOST_GROUPS] or [Group("no experiments", [])]
    looks = looks_by_weight({line.importance_weight for group in groups for line in group.lines})
    # The panels fill the figure; all else hangs over its edges, and saving it makes room for just that.
    gap = _TITLED_GAP if any(group.title for group in groups) else _GAP
    figure = Figure(figsize=(8.7, (_ROW + gap) * len(groups) - gap))
    places = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.3 / 4.2, "hspace": gap / _ROW}
    rows = figure.subplots(len(groups), 2, sharex=True, sharey=True, squeeze=False, gridspec_kw=places)
    rows[0][0].set(ylim=(-0.03, 1.03))
    scale_epochs(rows[0][0], [epoch for group in groups for line in group.lines for epoch in line.epoch])
    one_legend = len({frozenset(line.importance_weight for line in group.lines) for group in groups}) == 1
    for (left, right), group in zip(rows, groups, strict=True):
        _panel(left, "in-domain", [(line, line.in_domain) for line in group.lines], looks)
        _panel(right, "out-of-domain", [(line, line.out_of_domain) for line in group.lines], looks)
        left.set_ylabel("base fraction")
        above(left, wrapped(group.title, width=100, most=2), 22, size=10)
        if not one_legend or left is rows[0][0]:
            _legend(right, groups if one_legend else [group], looks)
    common, points = wrapped(subtitle, width=110, most=2), 56 if gap == _TITLED_GAP else 32
    above(rows[0][0], common, points, size=8, color=QUIET)
    above(rows[0][0], heading, points + 14 * len(common), size=12)
    return figure


def _panel(
    axes: "Axes", name: str, lines: Sequence[tuple[Line, Sequence[float | None]]], looks: Mapping[str, Look]
) -> None:
    axes.set_title(name, loc="left")
    axes.set(xlabel="epoch (log scale)" if axes.get_xscale() == "log" else "epoch")
    axes.tick_params(labelbottom=True)
    axes.set_title(_set_apart_in_words([line for line, _ in lines]), loc="right", size=8, color=QUIET)
    seeds: dict[str, list[dict[int, float]]] = {weight: [] for weight in looks}
    measured = False
    for line, values in lines:
        series, look = _series(line.epoch, values), looks[line.importance_weight]
        measured = measured or bool(series)
        if not series or not line.apart:
            seeds[line.importance_weight] += [series] if series else []
            continue
        _stroke(axes, series, Look(look.color, _APART_DASHES), **_APART)
        if line.diverged:
            last = max(series)
            axes.plot([last], [series[last]], marker="x", color=look.color, zorder=4)
    if lines and not measured:
        words = "nothing was measured" if any(line.epoch for line, _ in lines) else "no rows yet"
        axes.text(0.5, 0.5, words, color=QUIET, ha="center", transform=axes.transAxes)
    for weight, look in looks.items():
        if len(seeds[weight]) > 1:
            for seed in seeds[weight]:
                _stroke(axes, seed, look, **_SEED)
        if seeds[weight]:
            _stroke(axes, _mean(seeds[weight]), look, **_MEAN)


def _set_apart_in_words(lines: Sequence[Line]) -> str:
    """What is drawn thin and dotted, and enters no mean: "2 of 15 constant, 1 diverged ×"."""
    counts = {"constant": sum(line.constant for line in lines), "diverged ×": sum(line.diverged for line in lines)}
    what, *more = [f"{count} {word}" for word, count in counts.items() if count] or [""]
    first, *rest = what.split(" ", 1)
    return ", ".join([f"{first} of {len(lines)} {rest[0]}", *more]) if rest else ""


def _series(epochs: Sequence[int], values: Sequence[float | None]) -> dict[int, float]:
    """Value by epoch, nan where there is none, until the last that was measured: where a seed diverged, it ends."""
    series = {epoch: math.nan if value is None else value for epoch, value in zip(epochs, values, strict=True)}
    last = max((epoch for epoch, value in series.items() if math.isfinite(value)), default=0)
    return {epoch: value for epoch, value in series.items() if epoch <= last}


def _is_drawn(line: Line) -> bool:
    """Whether anything of it was measured."""
    return any(_series(line.epoch, values) for values in (line.in_domain, line.out_of_domain))


def _mean(seeds: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Only over epochs that every seed has reached: it would jump wherever one ends."""
    common = sorted(set(seeds[0]).intersection(*seeds[1:]))
    finite = {epoch: [seed[epoch] for seed in seeds if math.isfinite(seed[epoch])] for epoch in common}
    return {epoch: fmean(values) if values else math.nan for epoch, values in finite.items()}


def _stroke(axes: "Axes", series: Mapping[int, float], look: Look, **style: Any) -> None:
    """A line, with a dot where a point stands alone and no line would show it."""
    finite = [False, *map(math.isfinite, series.values()), False]
    alone = [at for at in range(len(series)) if finite[at : at + 3] == [False, True, False]]
    axes.plot([*series], [*series.values()], marker="o", markersize=4, markevery=alone, **look._asdict(), **style)


def _legend(axes: "Axes", groups: Sequence[Group], looks: Mapping[str, Look]) -> None:
    """Right of `axes`; of more weights than there is room for, every second or so."""
    from matplotlib.lines import Line2D

    present = {line.importance_weight for group in groups for line in group.lines if _is_drawn(line)}
    listed = [weight for weight in looks if weight in present]
    listed = listed[:: math.ceil(len(listed) / (3 * _LEGEND_ROWS)) or 1]
    handles = [Line2D([], [], label=weight, **looks[weight]._asdict(), **_MEAN) for weight in listed]
    drawn = [[line for line in group.lines if _is_drawn(line)] for group in groups]
    weights = [[line.importance_weight for line in lines if not line.apart] for lines in drawn]
    if any(len(own) > len(set(own)) for own in weights):
        handles += [Line2D([], [], label="mean of seeds", color=_ANY, **_MEAN)]
        handles += [Line2D([], [], label="one seed", color=_ANY, **_SEED)]
    if any(line.apart for lines in drawn for line in lines):
        handles += [Line2D([], [], label="in no mean", color=_ANY, linestyle=_APART_DASHES, **_APART)]
    if handles:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.04), "alignment": "left"}
        axes.legend(handles=handles, title="base : other", ncols=math.ceil(len(listed) / _LEGEND_ROWS), **place)
