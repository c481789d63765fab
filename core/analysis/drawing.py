"""How pictures are made, whatever is on them: matplotlib without its surprises, words that fit.

matplotlib takes a second to import, so it is imported when something is drawn; and never pyplot, whose current figure
is one for all threads.
"""

import os
import textwrap
import threading
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PictureFormat = Literal["png", "svg", "pdf"]
Scale = Literal["linear", "log"]

QUIET = "#777777"  # of words beside the point
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # titles are the user's: a "$" is a dollar
    "svg.fonttype": "none",  # a browser has the letters that our font lacks
    "svg.hashsalt": "ballast",  # else every drawing has ids of its own
    "pdf.fonttype": 42,  # TrueType: many a journal takes no Type 3
    "path.simplify_threshold": 0.5,  # of a point: an SVG of noisy curves is two fifths smaller
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
# matplotlib's settings and caches belong to the process, as the filters of warnings do: two threads that draw at once
# would undo each other's.
_DRAWING = threading.Lock()
_NO_TIME: dict[PictureFormat, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(figure: Callable[[], "Figure"], target: Path | BinaryIO, file_format: PictureFormat) -> None:
    """Write what `figure` makes to `target`; the same input gives the same bytes. Raises OSError."""
    with _DRAWING:
        matplotlib = _matplotlib()
        with matplotlib.rc_context(), warnings.catch_warnings():
            matplotlib.rcdefaults()  # somebody's matplotlibrc is no part of the input
            matplotlib.rcParams.update(_STYLE)
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a PNG shows a box there
            metadata = _NO_TIME.get(file_format, {})
            figure().savefig(
                target, format=file_format, dpi=150, bbox_inches="tight", pad_inches=0.2, metadata=metadata
            )


def _matplotlib() -> Any:
    """Imported without MPLBACKEND: a notebook sets one that only it has, and we need none."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


def above(axes: "Axes", words: Sequence[str], points: float, **style: Any) -> None:
    axes.annotate("\n".join(words), (0, 1), (0, points), "axes fraction", "offset points", va="bottom", **style)


def wrapped(text: str, width: int, most: int) -> list[str]:
    """At most so many lines of at most so many columns; an East Asian letter fills two."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    doubled = "".join(f"{letter}\0" if unicodedata.east_asian_width(letter) in "WF" else letter for letter in printable)
    lines = textwrap.wrap(doubled, width, max_lines=most, placeholder=" …", break_on_hyphens=False)
    return [line.replace("\0", "") for line in lines]


def scale_epochs(axes: "Axes", epochs: Sequence[int], scale: Scale | None = None) -> None:
    """Of `axes` and what shares their scale. By itself logarithmic over many epochs: the disagreement is over early."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    first, last = min(epochs, default=1), max(epochs, default=1)
    if scale == "log" or (scale is None and last > max(20, 5 * first)):
        axes.set(xscale="log", xlim=(first / 1.05, last * 1.05))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set(xlim=(first - 0.5, last + 0.5))
    if axes.get_xscale() == "log" and last > 5 * first:  # over less than a factor of five there may be one tick
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if last < 2000 * first else (1,), numticks=99))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10 if last < 1000 else 5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:.0f}")
