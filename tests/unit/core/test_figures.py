"""The figure: a row of two panels a group, a colour a weight, seeds under their mean or a band instead of them, what
was published, any title.
"""

import io
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.bands import BandOverEpochs
from core.analysis.drawing import PictureFormat, Scale
from core.analysis.figures import draw
from core.analysis.groups import Line
from core.analysis.panels import Group
from core.fit import Fit

SVG = "{http://www.w3.org/2000/svg}"
WEIGHTS = ("1:1", "1:256", "16:1", "256:1", "1:16")  # in no order
MEAN, SEED, APART = "1.7", "0.7", "0.9"  # widths of strokes, as nothing else has
PANEL_WIDTH, PANEL_HEIGHT = 4.2 * 72, 2.6 * 72 / 1.06  # in points; from 0 to 1


def line(
    weight: str, in_domain: Sequence[float | None], out: Sequence[float | None] | None = None, seed: int = 0
) -> Line:
    return Line(weight, seed, range(1, len(in_domain) + 1), in_domain, in_domain if out is None else out)


def picture(groups: Sequence[Group], title: str = "digits, mlp", scale: Scale | None = None) -> bytes:
    target = io.BytesIO()
    draw(groups, title, target, "svg", scale=scale)
    return target.getvalue()


class Svg:
    """What stands in an SVG file that matplotlib wrote."""

    def __init__(self, content: bytes) -> None:
        self.root = ElementTree.fromstring(content)
        self.words = ["".join(text.itertext()) for text in self.root.iter(f"{SVG}text")]
        self.panels = [g for g in self.root.iter(f"{SVG}g") if re.fullmatch(r"axes_\d+", g.get("id", ""))]

    def legends(self) -> list[list[str]]:
        groups = [g for g in self.root.iter(f"{SVG}g") if g.get("id", "").startswith("legend_")]
        return [["".join(text.itertext()) for text in group.iter(f"{SVG}text")] for group in groups]

    def ticks(self) -> list[str]:
        """Of the first panel, along the epochs."""
        ticks = [g for g in self.panels[0].iter(f"{SVG}g") if re.fullmatch(r"xtick_\d+", g.get("id", ""))]
        return ["".join(text.itertext()) for tick in ticks for text in tick.iter(f"{SVG}text")]


def drawn(*lines: Line) -> Svg:
    return Svg(picture([Group("", lines)]))


def test_a_panel_of_what_lies_nowhere_says_so() -> None:
    words = drawn(line("1:1", [0.5, 0.6], [None, None])).words
    assert words.count("nothing was measured") == 1


def strokes(panel: ElementTree.Element, width: str = MEAN) -> list[ElementTree.Element]:
    """The lines of a panel, without its legend."""
    lines = [g for g in panel if re.fullmatch(r"line2d_\d+", g.get("id", ""))]
    paths = [path for group in lines for path in group.iter(f"{SVG}path")]
    return [path for path in paths if f"stroke-width: {width}" in path.get("style", "")]


def points(path: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d", ""))
    return [(float(x), float(y)) for x, y in pairs]


def heights(path: ElementTree.Element) -> list[float]:
    """How far each point is above the first, as a base fraction."""
    first, *others = (y for _, y in points(path))
    return [round((first - y) / PANEL_HEIGHT, 3) for y in others]


def dots(panel: ElementTree.Element) -> int:
    lines = [g for g in panel if re.fullmatch(r"line2d_\d+", g.get("id", ""))]
    return sum(len(list(group.iter(f"{SVG}use"))) for group in lines)


def style(path: ElementTree.Element, key: str) -> str:
    match = re.search(rf"(?:^|; ){key}: ([^;]+)", path.get("style", ""))
    return match.group(1) if match else ""


def rgb(path: ElementTree.Element) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(style(path, "stroke").removeprefix("#"))
    return red, green, blue


def test_five_weights_are_five_lines_on_each_of_two_panels() -> None:
    svg = drawn(*(line(weight, [0.9, 0.5, 0.4]) for weight in WEIGHTS))
    assert [len(strokes(panel)) for panel in svg.panels] == [5, 5]
    for word in ("digits, mlp", "in-domain", "out-of-domain", "base fraction", "base : other"):
        assert svg.words.count(word) == 1
    assert svg.words.count("epoch") == 2
    assert [label for label in ("−0.2", "0.0", "1.0", "1.2") if label in svg.words] == ["0.0", "1.0"]


def test_the_legend_goes_from_the_heaviest_base_class_to_the_lightest() -> None:
    svg = drawn(*(line(weight, [0.9, 0.5]) for weight in WEIGHTS))
    assert svg.legends() == [["base : other", "256:1", "16:1", "1:1", "1:16", "1:256"]]


def test_a_weight_without_a_line_is_not_in_the_legend() -> None:
    svg = drawn(line("16:1", [0.9, 0.5]), line("1:1", []), line("1:16", [None, None]), line("4:1", [None], [0.5]))
    assert svg.legends() == [["base : other", "16:1", "4:1"]]


def test_base_is_red_and_other_is_blue_and_the_heavier_the_deeper_and_even_is_grey() -> None:
    svg = drawn(*(line(weight, [0.9, 0.5]) for weight in WEIGHTS))
    left, right = ([rgb(stroke) for stroke in strokes(panel)] for panel in svg.panels)
    assert left == right
    deep_red, red, grey, blue, deep_blue = left
    assert grey[0] == grey[1] == grey[2]
    for red_part, _, blue_part in (deep_red, red):
        assert red_part > blue_part
    for red_part, _, blue_part in (blue, deep_blue):
        assert red_part < blue_part
    assert sum(deep_red) < sum(red) < 500  # and none fades into the white
    assert sum(deep_blue) < sum(blue) < 500


@pytest.mark.parametrize(
    "weights", [("1:1", "2:2", "4:4", "16:16", "0.1:0.1"), ("2:1", "4:2", "0.2:0.1"), ("1:3", "0.1:0.3")]
)
def test_weights_of_one_ratio_share_a_colour_and_differ_in_dashes(weights: tuple[str, ...]) -> None:
    lines = strokes(drawn(*(line(weight, [0.9, 0.5]) for weight in weights)).panels[0])
    assert len({rgb(stroke) for stroke in lines}) == 1
    assert len({style(stroke, "stroke-dasharray") for stroke in lines}) == len(weights)


def test_what_all_have_in_common_stands_under_the_title() -> None:
    target = io.BytesIO()
    draw([Group("", [line("1:1", [0.5, 0.4])])], "figure-2", target, "svg", "digits, mlp, epochs 20")
    words = Svg(target.getvalue()).words
    assert words.count("figure-2") == words.count("digits, mlp, epochs 20") == 1


def test_weights_of_nearly_one_colour_differ_in_dashes() -> None:
    weights = ["256:1", "16:1", "7:1", "5:1", "3:1", "1:1", "1:3", "1:5", "1:7", "1:16", "1:256"]
    lines = strokes(drawn(*(line(weight, [0.9, 0.5]) for weight in weights)).panels[0])
    dashes = dict(zip(weights, (style(stroke, "stroke-dasharray") for stroke in lines), strict=True))
    assert len({dashes[weight] for weight in ("7:1", "5:1", "3:1")}) == 3
    assert len({dashes[weight] for weight in ("1:7", "1:5", "1:3")}) == 3
    assert len({dashes[weight] for weight in ("256:1", "16:1", "1:1", "1:16", "1:256")}) == 1  # solid


def test_the_papers_weights_are_all_solid() -> None:
    weights = [f"{2**n}:1" for n in range(8, -1, -1)] + [f"1:{2**n}" for n in range(1, 9)]
    lines = strokes(drawn(*(line(weight, [0.9, 0.5]) for weight in weights)).panels[0])
    assert len({style(stroke, "stroke-dasharray") for stroke in lines}) == 1


def test_the_mean_is_of_the_seeds_that_have_begun() -> None:
    svg = drawn(line("16:1", [0.0, 0.5, 0.25], seed=0), line("16:1", [], seed=1))
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.5, 0.25]]
    assert strokes(svg.panels[0], SEED) == []
    assert "mean of seeds" not in svg.words


def test_the_mean_of_the_seeds_is_a_thick_line_over_thin_ones() -> None:
    svg = drawn(
        line("16:1", [0.0, 1.0, 0.6], seed=1), line("16:1", [0.0, 0.5, 0.1], seed=0), line("1:1", [0.0, 0.2, 0.2])
    )
    left = svg.panels[0]
    assert sorted(heights(stroke) for stroke in strokes(left, SEED)) == [[0.5, 0.1], [1.0, 0.6]]
    assert [heights(stroke) for stroke in strokes(left)] == [[0.75, 0.35], [0.2, 0.2]]
    assert float(style(strokes(left, SEED)[0], "stroke-opacity")) < 0.6
    everything = list(left.iter(f"{SVG}path"))
    assert everything.index(strokes(left)[0]) > everything.index(strokes(left, SEED)[-1])
    assert svg.legends()[0][-2:] == ["mean of seeds", "one seed"]


def test_the_mean_ends_where_the_first_seed_ends() -> None:
    svg = drawn(line("1:1", [0.0, 0.2, 0.4, 0.6], seed=0), line("1:1", [0.0, 0.4], seed=1))
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.3]]


def test_a_seed_that_diverged_ends_and_does_not_make_the_mean_jump() -> None:
    svg = drawn(line("1:1", [0.0, 0.2, 0.4, 0.5], seed=0), line("1:1", [0.0, 0.4, None], seed=1))
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.3]]
    assert [heights(stroke) for stroke in strokes(svg.panels[0], SEED)] == [[0.2, 0.4, 0.5], [0.4]]


def test_the_mean_passes_over_a_value_that_one_seed_lacks() -> None:
    svg = drawn(line("1:1", [0.0, 0.2, 0.5], seed=0), line("1:1", [0.0, None, 0.3], seed=1))
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.2, 0.4]]


@settings(max_examples=5)
@given(st.lists(st.lists(st.integers(1, 99), min_size=2, max_size=6), min_size=2, max_size=4))
def test_the_mean_is_the_mean_over_the_epochs_of_all_seeds(percents: list[list[int]]) -> None:
    seeds = [line("4:1", [0.0, *(percent / 100 for percent in own)], seed=k) for k, own in enumerate(percents)]
    (mean,) = strokes(drawn(*seeds).panels[0])
    # What lies on a straight line between its neighbours is left out, so it is looked up by its epoch.
    xs = [x for x, _ in points(mean)]
    shortest = min(map(len, percents))
    longest = max(map(len, percents))
    step = PANEL_WIDTH / (longest + 1)
    for x, height in zip(xs[1:], heights(mean), strict=True):
        epoch = round((x - xs[0]) / step)
        assert height == pytest.approx(sum(own[epoch - 1] for own in percents) / 100 / len(percents), abs=0.005)
    assert round((xs[-1] - xs[0]) / step) == shortest


def test_what_was_not_measured_is_a_gap() -> None:
    svg = drawn(line("16:1", [0.9, 0.8, None, 0.4, 0.3], [0.9, 0.8, 0.7, 0.4, 0.3]))
    assert [stroke.get("d", "").count("M") for panel in svg.panels for stroke in strokes(panel)] == [2, 1]


def test_each_panel_shows_its_own_column() -> None:
    svg = drawn(line("16:1", [0.0, 1.0], [0.0, 0.25]))
    assert [heights(strokes(panel)[0]) for panel in svg.panels] == [[1.0], [0.25]]


@pytest.mark.parametrize(
    ("values", "dotted"),
    [([0.5], 1), ([0.5, None], 1), ([None, 0.5, None, 0.4, 0.3], 1), ([0.5, None, 0.5], 2), ([0.5, 0.4], 0)],
)
def test_a_point_without_neighbours_is_a_dot(values: list[float | None], dotted: int) -> None:
    svg = drawn(line("16:1", values))
    assert [dots(panel) for panel in svg.panels] == [dotted, dotted]


@pytest.mark.parametrize(
    ("epochs", "ticks"),
    [
        ([1], ["1"]),
        ([1, 2, 3], ["1", "2", "3"]),
        (range(1, 21), [str(tick) for tick in (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)]),
        (range(1, 22), ["1", "2", "5", "10", "20"]),
        (range(10, 1001, 10), ["10", "20", "50", "100", "200", "500", "1000"]),
        ([50], ["50"]),
    ],
)
def test_epochs_are_whole_and_on_a_logarithmic_scale_beyond_twenty(epochs: Sequence[int], ticks: list[str]) -> None:
    values = [0.5] * len(epochs)
    svg = drawn(Line("1:1", 0, epochs, values, values))
    assert [tick for tick in svg.ticks() if tick] == ticks


@pytest.mark.parametrize(
    ("epochs", "scale", "ticks"),
    [
        (range(1, 4), "log", ["1", "2", "3"]),  # and not only 1 and 2
        ([50, 51], "log", [str(tick) for tick in range(48, 54)]),  # with what lies about them
        (range(1, 10), "log", ["1", "2", "5"]),
        (range(1, 101), "linear", [str(tick) for tick in range(10, 101, 10)]),
        (range(1, 1001), "linear", ["200", "400", "600", "800", "1000"]),
        ([1, 1_000_000], "linear", ["200000", "400000", "600000", "800000", "1000000"]),  # that fit side by side
        ([1, 1_000_000], None, ["1", "10", "100", "1000", "10000", "100000", "1000000"]),
    ],
)
def test_the_scale_of_the_epochs_may_be_chosen(epochs: Sequence[int], scale: Scale | None, ticks: list[str]) -> None:
    values = [0.5] * len(epochs)
    svg = Svg(picture([Group("", [Line("1:1", 0, epochs, values, values)])], scale=scale))
    assert [tick for tick in svg.ticks() if tick] == ticks
    assert svg.words.count("epoch (log scale)") == (0 if scale == "linear" else 2)


def a_band(*estimates: float, width: float | None = 0.1, n: int = 3) -> BandOverEpochs:
    """As wide at every epoch; None: no interval."""
    low, high = ([None if width is None else value + half for value in estimates] for half in _halves(width))
    return BandOverEpochs([*range(1, len(estimates) + 1)], list(estimates), low, high, n, [width is None] * len(low))


def _halves(width: float | None) -> tuple[float, float]:
    return -(width or 0) / 2, (width or 0) / 2


def banded(lines: Sequence[Line], **bands: BandOverEpochs) -> Group:
    """The same in both panels; a weight is written w16_1."""
    by_weight = {name[1:].replace("_", ":"): band for name, band in bands.items()}
    return Group("", lines, bands={"in_domain": by_weight, "out_of_domain": by_weight})


def seeds(weight: str, *fits: Fit) -> list[Line]:
    return [line(weight, [0.0, 0.5, 0.4], seed=seed)._replace(fit=fit) for seed, fit in enumerate(fits)]


def filled(panel: ElementTree.Element) -> list[ElementTree.Element]:
    """The polygons of a panel."""
    groups = [g for g in panel if re.fullmatch(r"FillBetweenPolyCollection_\d+", g.get("id", ""))]
    return [path for group in groups for path in group.iter(f"{SVG}path") if path.get("d")]


def test_with_bands_a_weight_is_its_estimate_in_its_band_and_no_seeds() -> None:
    group = banded(seeds("16:1", *[Fit.FIT] * 3), w16_1=a_band(0.0, 0.8, 0.7, width=0.2))
    svg = Svg(picture([group]))
    for panel in svg.panels:
        assert [heights(stroke) for stroke in strokes(panel)] == [[0.8, 0.7]]  # of the band, not of the lines
        assert strokes(panel, SEED) == []
        (polygon,) = filled(panel)
        ys = [y for _, y in points(polygon)]
        assert (max(ys) - min(ys)) / PANEL_HEIGHT == pytest.approx(1.0, abs=0.01)  # from -0.1 to 0.9
    assert svg.legends() == [["base : other", "16:1", "mean of fit seeds", "95 % over fit seeds"]]
    assert not [word for word in svg.words if word.startswith("no band")]


def test_of_one_fit_seed_there_is_no_band_and_the_figure_says_why() -> None:
    group = banded(seeds("16:1", Fit.FIT), w16_1=a_band(0.0, 0.5, width=None, n=1))
    svg = Svg(picture([group]))
    assert [len(filled(panel)) for panel in svg.panels] == [0, 0]
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.5]]
    assert svg.words.count("no bands: one fit seed of each weight") == 1
    assert svg.legends() == [["base : other", "16:1"]]


def test_seeds_that_are_all_equal_make_no_band_of_no_width() -> None:
    band = a_band(0.0, 0.5, 0.4)._replace(low=[None, 0.4, 0.3], high=[None, 0.6, 0.5], all_equal=[True, False, False])
    same = a_band(0.2, 0.2, 0.2, width=None)
    lines = [*seeds("16:1", *[Fit.FIT] * 3), *seeds("1:1", *[Fit.FIT] * 3)]
    svg = Svg(picture([banded(lines, w16_1=band, w1_1=same)]))
    (polygon,) = filled(svg.panels[0])
    assert len({x for x, _ in points(polygon)}) == 2  # of the second and third epoch
    assert svg.words.count("no band: 1:1 (all seeds say the same)") == 1


def test_what_is_not_fit_is_drawn_apart_from_the_bands_and_named() -> None:
    lines = [
        *seeds("16:1", Fit.FIT, Fit.FIT, Fit.UNDER_FIT),
        *seeds("1:1", Fit.FIT, Fit.COLLAPSED),
        *(each._replace(diverged=True) for each in seeds("1:16", Fit.NOT_FINITE)),
        line("1:256", []),
    ]
    one = a_band(0.0, 0.3, width=None, n=1)
    svg = Svg(picture([banded(lines, w16_1=a_band(0.0, 0.8, n=2), w1_1=one)]))
    assert len(strokes(svg.panels[0], APART)) == 3
    assert svg.words.count("3 of 7 not fit, 1 of them diverged ×") == 2
    assert svg.words.count("no band: 1:1 (one fit seed); 1:16 (no fit seed)") == 1
    assert svg.legends()[0][-3:] == ["mean of fit seeds", "95 % over fit seeds", "in no mean"]


def test_of_many_weights_without_a_band_the_first_are_named() -> None:
    weights = ["256:1", "64:1", "16:1", "4:1", "1:1", "1:4"]
    lines = [each for weight in weights for each in seeds(weight, Fit.UNDER_FIT)]
    group = banded([*lines, *seeds("1:16", *[Fit.FIT] * 2)], w1_16=a_band(0.0, 0.5, n=2))
    assert "no band: 256:1, 64:1, 16:1, 4:1 and 2 more (no fit seed)" in Svg(picture([group])).words


def test_where_no_run_is_fit_there_are_no_bands_and_before_the_first_rows_nothing_is_said() -> None:
    svg = Svg(picture([banded(seeds("16:1", Fit.UNDER_FIT)), banded([line("16:1", [])])]))
    assert [word for word in svg.words if word.startswith("no band")] == ["no bands: no run is fit"]


def test_a_band_at_a_single_epoch_is_a_bar() -> None:
    svg = Svg(picture([banded(seeds("16:1", *[Fit.FIT] * 3), w16_1=a_band(0.5, width=0.2))]))
    bars = [g for g in svg.panels[0] if re.fullmatch(r"LineCollection_\d+", g.get("id", ""))]
    (bar,) = [path for group in bars for path in group.iter(f"{SVG}path")]
    (x, low), (same, high) = points(bar)
    assert (same, (low - high) / PANEL_HEIGHT) == (x, pytest.approx(0.2, abs=0.01))


def marks(panel: ElementTree.Element) -> list[tuple[str, float]]:
    """Colours and places of what is marked at the right edge, the highest first."""
    background = next(g for g in panel if g.get("id", "").startswith("patch_"))
    right = max(x for x, _ in points(next(background.iter(f"{SVG}path"))))
    uses = [use for g in panel if g.get("id", "").startswith("line2d_") for use in g.iter(f"{SVG}use")]
    at_edge = [use for use in uses if float(use.get("x", "")) == pytest.approx(right, abs=0.1)]
    return sorted(((style(use, "stroke"), float(use.get("y", ""))) for use in at_edge), key=lambda mark: mark[1])


def test_what_was_published_is_marked_at_the_right_edge_in_the_colours_of_the_weights() -> None:
    lines = [line("16:1", [0.9, 0.5]), line("1:16", [0.1, 0.2])]
    published = {"in_domain": {"16:1": 0.75, "1:16": 0.25}, "out_of_domain": {"16:1": 0.5}}
    svg = Svg(picture([Group("", lines, published)]))
    left, right = (marks(panel) for panel in svg.panels)
    assert [colour for colour, _ in left] == [style(stroke, "stroke") for stroke in strokes(svg.panels[0])]
    assert (left[1][1] - left[0][1]) / PANEL_HEIGHT == pytest.approx(0.5, abs=0.01)
    assert len(right) == 1
    assert svg.legends() == [["base : other", "16:1", "1:16", "read off the paper's figure"]]


def test_before_the_first_rows_what_was_published_is_there() -> None:
    svg = Svg(picture([Group("", [line("16:1", [])], {"in_domain": {"16:1": 0.75}, "out_of_domain": {}})]))
    assert [len(marks(panel)) for panel in svg.panels] == [1, 0]
    assert svg.legends() == [["base : other", "16:1", "read off the paper's figure"]]


def test_eight_groups_are_eight_rows_under_one_legend() -> None:
    lines = [line(weight, [0.5, 0.4], seed=seed) for weight in WEIGHTS for seed in (0, 1)]
    svg = Svg(picture([Group(f"dropout 0.{k}", lines) for k in range(8)]))
    assert len(svg.panels) == 16
    assert len(svg.legends()) == 1
    for k in range(8):
        assert f"dropout 0.{k}" in svg.words
    assert all(len(strokes(panel)) == 5 for panel in svg.panels)


def test_groups_of_other_weights_have_legends_of_their_own_in_the_colours_of_all() -> None:
    svg = Svg(
        picture([Group("a", [line("16:1", [0.5, 0.4])]), Group("b", [line(w, [0.5, 0.4]) for w in ("256:1", "16:1")])])
    )
    assert svg.legends() == [["base : other", "16:1"], ["base : other", "256:1", "16:1"]]
    assert rgb(strokes(svg.panels[0])[0]) == rgb(strokes(svg.panels[2])[1])


def test_of_a_hundred_groups_it_draws_the_first_and_says_so() -> None:
    svg = Svg(picture([Group(f"group {k}", [line("1:1", [0.5, 0.4])]) for k in range(100)]))
    assert "(the first 24 of 100 groups)" in svg.words
    assert "group 23" in svg.words
    assert "group 24" not in svg.words


def test_the_legend_of_a_thousand_weights_has_room() -> None:
    svg = drawn(*(line(f"{base}:1", [0.5]) for base in range(1, 1001)))
    assert 20 < len(svg.legends()[0]) <= 40
    assert float(svg.root.get("width", "").removesuffix("pt")) < 1200


def test_a_group_without_rows_says_so() -> None:
    groups = [Group("a", [line("1:1", [])]), Group("b", [line("1:1", [0.5, 0.4])]), Group("c", [])]
    assert Svg(picture(groups)).words.count("no rows yet") == 2  # of a, in both panels; c has nothing to wait for


def test_a_test_set_without_images_says_so() -> None:
    svg = drawn(line("1:1", [0.5, 0.4], [None, None]))
    assert svg.words.count("nothing was measured") == 1


def test_what_diverged_is_counted_and_its_last_point_is_crossed() -> None:
    lines = [line("1:1", [0.5, 0.4]), *(line("1:1", [0.5, None], seed=seed)._replace(diverged=True) for seed in (1, 2))]
    svg = drawn(*lines)
    assert svg.words.count("2 of 3 diverged ×") == 2
    assert dots(svg.panels[0]) == 4  # of each a dot, where it is alone, and a cross
    assert "1 of 1 diverged ×" in drawn(line("1:1", [None])._replace(diverged=True)).words


def test_what_is_constant_or_diverged_enters_no_mean() -> None:
    constant = line("1:1", [0.0, 0.7, 1.0], seed=1)
    diverged = line("1:1", [0.0, 0.9, None], seed=2)._replace(diverged=True)
    svg = drawn(line("1:1", [0.0, 0.2, 0.4], seed=0), constant, diverged)
    assert [heights(stroke) for stroke in strokes(svg.panels[0])] == [[0.2, 0.4]]
    assert [heights(stroke) for stroke in strokes(svg.panels[0], APART)] == [[0.7, 1.0], [0.9]]
    assert svg.words.count("1 of 3 constant, 1 diverged ×") == 2
    assert svg.legends()[0][-2:] == ["1:1", "in no mean"]


def test_constant_is_what_calls_everything_one_class_at_its_end() -> None:
    constant = [line("1:1", [0.5, 0.0]), line("1:1", [1.0]), line("1:1", [1.0], [None])]
    assert all(each.constant for each in constant)
    # One set alone may be all of one class.
    varied = [line("1:1", [0.0, 0.5]), line("1:1", []), line("1:1", [1.0], [0.0]), line("1:1", [1.0], [0.9])]
    assert not any(each.constant for each in varied)


def test_a_weight_has_one_colour_in_all_figures() -> None:
    few = drawn(line("16:1", [0.5, 0.4]))
    many = drawn(*(line(weight, [0.5, 0.4]) for weight in ("256:1", "16:1", "1:256")))
    assert rgb(strokes(few.panels[0])[0]) == rgb(strokes(many.panels[0])[1])


def test_no_groups_are_a_figure_that_says_so() -> None:
    assert "no experiments" in Svg(picture([])).words


TITLES = [
    r"$\frac{1}{2}$ of it",
    "between $5 and $6",
    "unbalanced $ and \\",
    "<b>&amp;</b> ]]> -- \"'",
    "重み付けの効果 🎉 ⚖️",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u05e9\u05dc\u05d5\u05dd",
]


@pytest.mark.parametrize("title", TITLES)
def test_titles_are_drawn_letter_by_letter(title: str) -> None:
    svg = Svg(picture([Group(title, [line("1:1", [0.5, 0.4])])], title))
    assert svg.words.count(title) == 2


@settings(max_examples=5)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_title_is_drawn_in_every_format(title: str, group_title: str) -> None:
    groups = [Group(group_title, [line("1:1", [0.5, 0.4])])]
    Svg(picture(groups, title))
    draw(groups, title, io.BytesIO(), "png")
    draw(groups, title, io.BytesIO(), "pdf")


@pytest.mark.parametrize("title", ["weight decay and dropout " * 8, "x" * 200, "字" * 200])
def test_a_long_title_is_wrapped_and_makes_the_figure_no_wider(title: str) -> None:
    lines = [line("1:1", [0.5, 0.4])]
    wide, long = Svg(picture([Group("short", lines)])), Svg(picture([Group(title, lines)], title))
    assert (
        float(long.root.get("width", "").removesuffix("pt")) < float(wide.root.get("width", "").removesuffix("pt")) + 20
    )
    assert sum(title.startswith(word) for word in long.words if word) >= 2  # of the figure, of the group
    width = max(len(word.encode("utf-16-le")) for word in long.words) / 2
    assert width <= (50 if title[0] == "字" else 100)


@pytest.mark.parametrize(
    "lines",
    [
        [line("1:1", [0.5, 0.4]), line("1:1", [0.5, 0.3])],
        [line("1:1", [0.5, 0.4]), line("1:1", [], seed=1)],
        [line("1:1", [0.5, math.nan, math.inf])],
        [line("0.000001:1000000", [0.0] * 3), line("1000000:0.000001", [1.0] * 3)],
    ],
    ids=["the same seed twice", "a seed that has not begun", "not finite", "extremes"],
)
def test_odd_curves_are_drawn_without_a_warning(lines: list[Line]) -> None:
    assert len(drawn(*lines).panels) == 2


@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
def test_the_same_input_gives_the_same_bytes_from_four_threads_at_once(file_format: PictureFormat) -> None:
    def once(number: int) -> bytes:
        target = io.BytesIO()
        lines = [line(weight, [0.9, 0.5, 0.1 * number], seed=seed) for weight in WEIGHTS for seed in (0, 1)]
        draw([Group("$", lines)], f"字 {number}", target, file_format)
        return target.getvalue()

    alone = [once(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(once, [*range(4)] * 2))
    assert together == alone * 2
    assert len(set(alone)) == 4
    dates = (b"<dc:date>", b"CreationDate")  # that would differ a second later
    assert not any(date in content for content in alone for date in dates)


def test_a_png_goes_to_a_file_and_looks_like_one(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    draw([Group("", [line("1:1", [0.5, 0.4])])], "title", file, "png")
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert 1400 < width < 1700
    assert 500 < height < 700


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"figure\.png"):
        draw([], "title", tmp_path / "none" / "figure.png", "png")


def test_importing_it_does_not_import_matplotlib_and_drawing_does_not_import_pyplot() -> None:
    code = """
import io, sys
from core.analysis.figures import draw
assert "matplotlib" not in sys.modules
draw([], "", io.BytesIO(), "svg")
draw([], "", io.BytesIO(), "png")
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
