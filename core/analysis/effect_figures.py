"""The effect of the weight over epochs: slope and bend of the fit runs with their intervals, in-domain beside
out-of-domain, and the band in which an effect has faded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from core.analysis.drawing import QUIET, PictureFormat, above, save, scale_epochs, wrapped
from core.analysis.effect import FADED, EffectOverEpochs
from core.analysis.runs import IN_WORDS
from core.analysis.study import GroupStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _GAP = 2.2, 0.95  # inches: a panel's height, and between two
_MOST_GROUPS = 24
_MEASURES = {"slope": "#b2182b", "bend": "#4d4d4d"}


def draw_effect(groups: Sequence[GroupStudy], title: str, target: Path | BinaryIO, file_format: PictureFormat) -> None:
    """Write the figure of the first 24 `groups` to `target`; the same input gives the same bytes. Raises OSError."""
    save(lambda: _figure(groups[:_MOST_GROUPS], title), target, file_format)


def _figure(groups: Sequence[GroupStudy], title: str) -> "Figure":
    from matplotlib.figure import Figure

    count = max(1, len(groups))
    figure = Figure(figsize=(8.7, (_ROW + _GAP) * count - _GAP))
    places = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.3 / 4.2, "hspace": _GAP / _ROW}
    rows = figure.subplots(count, 2, sharex=True, sharey="row", squeeze=False, gridspec_kw=places)
    over = [group.of(which).over_epochs for group in groups for which in IN_WORDS]
    scale_epochs(rows[0][0], [epoch for each in over for epoch in each.epoch])
    for panels, group in zip(rows, groups, strict=False):
        for axes, (which, words) in zip(panels, IN_WORDS.items(), strict=True):
            _panel(axes, words, group.of(which).over_epochs)
        panels[0].set_ylabel("logits per octave")
        above(panels[0], wrapped(group.title, width=100, most=2), 22, size=10)
    _legend(rows[0][1])
    above(rows[0][0], wrapped(title, width=100, most=3), 40 if any(group.title for group in groups) else 26, size=12)
    return figure


def _panel(axes: "Axes", name: str, effect: EffectOverEpochs) -> None:
    axes.set_title(name, loc="left")
    axes.set_xlabel("epoch (log scale)" if axes.get_xscale() == "log" else "epoch")
    axes.tick_params(labelbottom=True)
    axes.axhspan(-FADED, FADED, color="#2166ac", alpha=0.12, linewidth=0)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    if all(value is None for value in effect.slope):
        axes.text(0.5, 0.5, "no slope yet", color=QUIET, ha="center", transform=axes.transAxes)
        return
    for measure, color in _MEASURES.items():
        values, low, high = (_numbers(getattr(effect, f"{measure}{end}")) for end in ("", "_low", "_high"))
        axes.plot(effect.epoch, values, color=color, linewidth=1.5)
        axes.fill_between(effect.epoch, low, high, color=color, alpha=0.18, linewidth=0)


def _numbers(column: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in column]


def _legend(axes: "Axes") -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=color, label=measure) for measure, color in _MEASURES.items()]
    handles += [Patch(color=_MEASURES["bend"], alpha=0.18, linewidth=0, label="95 % over seeds")]
    handles += [Patch(color="#2166ac", alpha=0.12, linewidth=0, label=f"faded: ±{FADED}")]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.04), alignment="left")
