"""Figures in the paper's layout: base fraction over epochs, one colour a weight, in-domain beside out-of-domain."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, BinaryIO

from core.analysis.bands import BandOverEpochs
from core.analysis.drawing import QUIET, PictureFormat, Scale, above, save, scale_epochs, wrapped
from core.analysis.groups import Line
from core.analysis.looks import Look, looks_by_weight
from core.analysis.panels import Group
from core.analysis.runs import IN_WORDS, Which

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _GAP, _TITLE, _NOTE = 2.6, 0.9, 0.3, 0.2  # inches: a panel's height, between two, and for what stands above one
_MOST_GROUPS = 24  # nobody reads a taller picture, and Agg draws no more than 65 535 pixels
_LEGEND_ROWS = 13  # as high as a panel
_ANY = "#9a9a9a"  # no weight's colour
_SEED: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.45}
_APART: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.8}  # of what enters no mean,
_APART_DASHES = (0, (1, 1.6))  # dotted
_CROSS: dict[str, Any] = {
    "marker": "X",
    "markersize": 7,
    "markeredgecolor": "white",
    "markeredgewidth": 0.8,
    "zorder": 4,
}
_MEAN: dict[str, Any] = {"linewidth": 1.7, "zorder": 3}
_BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}
_BAND_ALONE: dict[str, Any] = {"alpha": 0.35, "linewidth": 2.5}  # at a single epoch
_PUBLISHED: dict[str, Any] = {"marker": 1, "markersize": 7, "markeredgewidth": 1.6, "linestyle": "none"}  # a tick
_MOST_WEIGHTS = 4  # that a note names
_SAME = "all seeds say the same"
_OF_ALL = {
    "no fit seed": "no run is fit",
    "one fit seed": "one fit seed of each weight",
    _SAME: "all seeds of each weight say the same",
}


def draw(
    groups: Sequence[Group],
    title: str,
    target: Path | BinaryIO,
    file_format: PictureFormat,
    subtitle: str = "",
    scale: Scale | None = None,
) -> None:
    """Write a figure of `groups`, of the first 24, to `target`; the same input gives the same bytes. `subtitle`: what
    they have in common. `scale`: of the epochs; None: as many as they are. Raises OSError."""
    save(lambda: _figure(groups, title, subtitle, scale), target, file_format)


def _figure(groups: Sequence[Group], title: str, subtitle: str, scale: Scale | None) -> "Figure":
    from matplotlib.figure import Figure

    heading = wrapped(title, width=100, most=3)
    if len(groups) > _MOST_GROUPS:
        heading.append(f"(the first {_MOST_GROUPS} of {len(groups)} groups)")
    groups = groups[:_MOST_GROUPS] or [Group("no experiments", [])]
    looks = looks_by_weight({line.importance_weight for group in groups for line in group.lines})
    notes = [wrapped(_missing_bands_in_words(group, looks), width=110, most=2) for group in groups]
    # The panels fill the figure; all else hangs over its edges, and saving it makes room for just that.
    note_lines = max(map(len, notes))
    gap = _GAP + (_TITLE if any(group.title for group in groups) else 0) + _NOTE * note_lines
    figure = Figure(figsize=(8.7, (_ROW + gap) * len(groups) - gap))
    places = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.3 / 4.2, "hspace": gap / _ROW}
    rows = figure.subplots(len(groups), 2, sharex=True, sharey=True, squeeze=False, gridspec_kw=places)
    rows[0][0].set(ylim=(-0.03, 1.03))
    scale_epochs(rows[0][0], [epoch for group in groups for line in group.lines for epoch in line.epoch], scale)
    one_legend = len({frozenset(line.importance_weight for line in group.lines) for group in groups}) == 1
    for panels, group, note in zip(rows, groups, notes, strict=True):
        for axes, which in zip(panels, IN_WORDS, strict=True):
            _panel(axes, which, group, looks)
        panels[0].set_ylabel("base fraction")
        above(panels[0], note, 22, size=8, color=QUIET)
        above(panels[0], wrapped(group.title, width=100, most=2), 22 + 12 * len(note), size=10)
        if not one_legend or panels[0] is rows[0][0]:
            _legend(panels[1], groups if one_legend else [group], looks)
    # Above the first row, whose title may have two lines.
    common, points = wrapped(subtitle, width=110, most=2), 32 + 12 * len(notes[0]) + (24 if groups[0].title else 0)
    above(rows[0][0], common, points, size=8, color=QUIET)
    above(rows[0][0], heading, points + 14 * len(common), size=12)
    return figure


def _panel(axes: "Axes", which: Which, group: Group, looks: Mapping[str, Look]) -> None:
    axes.set_title(IN_WORDS[which], loc="left")
    axes.set(xlabel="epoch (log scale)" if axes.get_xscale() == "log" else "epoch")
    axes.tick_params(labelbottom=True)
    axes.set_title(_set_apart_in_words(group), loc="right", size=8, color=QUIET)
    series_of = [(line, _series(line.epoch, _fractions(line, which))) for line in group.lines]
    for line, series in series_of:
        if series and group.is_apart(line):
            look = looks[line.importance_weight]
            _stroke(axes, series, Look(look.color, _APART_DASHES), **_APART)
            if line.diverged:
                axes.plot([max(series)], [series[max(series)]], color=look.color, **_CROSS)
    if group.lines and not any(series for _, series in series_of):
        words = "nothing was measured" if any(line.epoch for line in group.lines) else "no rows yet"
        axes.text(0.5, 0.5, words, color=QUIET, ha="center", transform=axes.transAxes)
    if group.bands is None:
        _means(axes, [(line, series) for line, series in series_of if series and not group.is_apart(line)], looks)
    else:
        _bands(axes, group.bands[which], looks)
    for weight, fraction in group.published[which].items():
        at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False}
        axes.plot([1], [fraction], color=looks[weight].color, **_PUBLISHED, **at)


def _means(axes: "Axes", lines: Sequence[tuple[Line, Mapping[int, float]]], looks: Mapping[str, Look]) -> None:
    """Of each weight its seeds, and their mean over them."""
    for weight, look in looks.items():
        seeds = [series for line, series in lines if line.importance_weight == weight]
        if len(seeds) > 1:
            for seed in seeds:
                _stroke(axes, seed, look, **_SEED)
        if seeds:
            _stroke(axes, _mean(seeds), look, **_MEAN)


def _bands(axes: "Axes", bands: Mapping[str, BandOverEpochs], looks: Mapping[str, Look]) -> None:
    """Of each weight where its seeds lie, and the interval about it, as far as there is one."""
    for weight, look in looks.items():
        if weight not in bands:
            continue
        band = bands[weight]
        low, high = _series(band.epoch, band.low), _series(band.epoch, band.high)
        epochs = [*low]
        axes.fill_between(epochs, [*low.values()], [*high.values()], color=look.color, **_BAND)
        alone = [epochs[at] for at in _alone(low)]
        axes.vlines(alone, [low[at] for at in alone], [high[at] for at in alone], color=look.color, **_BAND_ALONE)
        _stroke(axes, _series(band.epoch, band.estimate), look, **_MEAN)


def _set_apart_in_words(group: Group) -> str:
    """What is drawn thin and dotted, and enters no mean: "2 of 15 constant, 1 diverged ×"; where bands are asked for
    "4 of 15 not fit, 1 of them diverged ×"."""
    diverged = sum(line.diverged for line in group.lines)
    if group.bands is None:
        counts = {"constant": sum(line.constant for line in group.lines), "diverged ×": diverged}
    else:
        begun = [line for line in group.lines if line.epoch]
        counts = {"not fit": sum(map(group.is_apart, begun)), "of them diverged ×": diverged}
    said = [(count, words) for words, count in counts.items() if count]
    of = [f" of {len(group.lines)}", *[""] * len(said)]  # after the first number
    return ", ".join(f"{count}{total} {words}" for (count, words), total in zip(said, of, strict=False))


def _missing_bands_in_words(group: Group, looks: Mapping[str, Look]) -> str:
    """Which weights have no band although bands are asked for, and why: "no band: 256:1, 64:1 (one fit seed)"."""
    begun = {line.importance_weight for line in group.lines if line.epoch}
    if group.bands is None or not begun:
        return ""
    missing: dict[str, list[str]] = {}
    for weight in (weight for weight in looks if weight in begun):
        fit = sum(line.importance_weight == weight and not group.is_apart(line) for line in group.lines)
        own = [band for bands in group.bands.values() if (band := bands.get(weight))]
        if not any(value is not None for band in own for value in band.low):
            missing.setdefault(("no fit seed", "one fit seed")[fit] if fit < 2 else _SAME, []).append(weight)
    (reason, weights), *others = missing.items() or [("", [])]
    if weights and not others and len(weights) == len(begun):
        return f"no bands: {_OF_ALL[reason]}"
    return f"no band: {'; '.join(f'{_listed(own)} ({why})' for why, own in missing.items())}" if missing else ""


def _listed(weights: Sequence[str]) -> str:
    more = len(weights) - _MOST_WEIGHTS
    return ", ".join(weights[:_MOST_WEIGHTS]) + (f" and {more} more" if more > 0 else "")


def _fractions(line: Line, which: Which) -> Sequence[float | None]:
    return line.in_domain if which == "in_domain" else line.out_of_domain


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
    dots: dict[str, Any] = {"marker": "o", "markersize": 4, "markevery": _alone(series)}
    axes.plot([*series], [*series.values()], **dots, **look._asdict(), **style)


def _alone(series: Mapping[int, float]) -> list[int]:
    """Where in `series` points stand between two that are none."""
    finite = [False, *map(math.isfinite, series.values()), False]
    return [at for at in range(len(series)) if finite[at : at + 3] == [False, True, False]]


def _legend(axes: "Axes", groups: Sequence[Group], looks: Mapping[str, Look]) -> None:
    """Right of `axes`; of more weights than there is room for, every second or so."""
    from matplotlib.lines import Line2D

    published = {weight for group in groups for final in group.published.values() for weight in final}
    drawn = [[line for line in group.lines if _is_drawn(line)] for group in groups]
    present = {line.importance_weight for lines in drawn for line in lines} | published
    listed = [weight for weight in looks if weight in present]
    listed = listed[:: math.ceil(len(listed) / (3 * _LEGEND_ROWS)) or 1]
    handles: list[Any] = [Line2D([], [], label=weight, **looks[weight]._asdict(), **_MEAN) for weight in listed]
    handles += _handles_of_seeds(groups, drawn)
    if any(group.is_apart(line) for group, lines in zip(groups, drawn, strict=True) for line in lines):
        handles += [Line2D([], [], label="in no mean", color=_ANY, linestyle=_APART_DASHES, **_APART)]
    if published:
        handles += [Line2D([], [], label="read off the paper's figure", color=_ANY, **_PUBLISHED)]
    if handles:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.04), "alignment": "left"}
        axes.legend(handles=handles, title="base : other", ncols=math.ceil(len(listed) / _LEGEND_ROWS), **place)


def _handles_of_seeds(groups: Sequence[Group], drawn: Sequence[Sequence[Line]]) -> list[Any]:
    """What thick and thin lines are, where a weight has several seeds; and what a band is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if any(group.bands is not None for group in groups):
        bands = [band for group in groups for own in (group.bands or {}).values() for band in own.values()]
        if not any(value is not None for band in bands for value in band.low):
            return []
        mean = Line2D([], [], label="mean of fit seeds", color=_ANY, **_MEAN)
        return [mean, Patch(label="95 % over fit seeds", color=_ANY, **_BAND | {"alpha": 0.4})]
    weights = [
        [line.importance_weight for line in lines if not group.is_apart(line)]
        for group, lines in zip(groups, drawn, strict=True)
    ]
    if not any(len(own) > len(set(own)) for own in weights):
        return []
    mean = Line2D([], [], label="mean of seeds", color=_ANY, **_MEAN)
    return [mean, Line2D([], [], label="one seed", color=_ANY, **_SEED)]
