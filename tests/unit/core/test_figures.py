"""The figure: two panels, a line a weight in the order of the weights, gaps where nothing was measured."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from core.analysis.figures import Line, draw

SVG = "{http://www.w3.org/2000/svg}"
WEIGHTS = ("1:1", "1:256", "16:1", "256:1", "1:16")  # in no order


def line(weight: str, in_domain: list[float | None], out_of_domain: list[float | None] | None = None) -> Line:
    curve: dict[str, Any] = {
        "epoch": list(range(1, len(in_domain) + 1)),
        "base_fraction_in_domain": in_domain,
        "base_fraction_out_of_domain": in_domain if out_of_domain is None else out_of_domain,
    }
    return Line(weight, curve)


class Svg:
    """What stands in an SVG file that matplotlib wrote."""

    def __init__(self, file: Path) -> None:
        self.text = file.read_text()
        self.root = ElementTree.fromstring(self.text)

    def panels(self) -> list[ElementTree.Element]:
        return [group for group in self.root.iter(f"{SVG}g") if re.fullmatch(r"axes_\d+", group.get("id", ""))]

    def strokes(self, group: ElementTree.Element) -> list[ElementTree.Element]:
        """The data lines and legend samples in a group: 1.6 points wide, as nothing else is."""
        return [path for path in group.iter(f"{SVG}path") if "stroke-width: 1.6" in path.get("style", "")]

    def words(self) -> list[str]:
        return [part.strip() for part in re.findall(r"<!--(.*?)-->", self.text)]


def colour(path: ElementTree.Element) -> str:
    match = re.search(r"stroke: (#[0-9a-f]{6})", path.get("style", ""))
    assert match
    return match.group(1)


def drawn(tmp_path: Path, *lines: Line) -> Svg:
    file = tmp_path / "figure.svg"
    draw(lines, file, "digits, mlp")
    return Svg(file)


def test_five_weights_are_five_lines_on_each_of_two_panels(tmp_path: Path) -> None:
    svg = drawn(tmp_path, *(line(weight, [0.9, 0.5, 0.4]) for weight in WEIGHTS))
    left, right = svg.panels()
    assert len(svg.strokes(left)) == 5
    assert len(svg.strokes(right)) == 10  # its lines, and the legend's samples
    words = svg.words()
    for word in ("digits, mlp", "in-domain", "out-of-domain", "base fraction", "base : other"):
        assert word in words
    assert words.count("epoch") == 2


def test_the_legend_goes_from_the_heaviest_base_class_to_the_lightest(tmp_path: Path) -> None:
    svg = drawn(tmp_path, *(line(weight, [0.9, 0.5]) for weight in WEIGHTS))
    assert [word for word in svg.words() if re.fullmatch(r"\d+:\d+", word)] == ["256:1", "16:1", "1:1", "1:16", "1:256"]


def test_each_weight_has_one_colour_on_both_panels_and_no_two_share_one(tmp_path: Path) -> None:
    svg = drawn(tmp_path, *(line(weight, [0.9, 0.5]) for weight in WEIGHTS))
    left, right = (list(map(colour, svg.strokes(panel))) for panel in svg.panels())
    assert len(set(left)) == 5
    assert left == right[:5] == right[5:]


def moves(path: ElementTree.Element) -> int:
    return path.get("d", "").count("M")


def test_what_was_not_measured_is_a_gap(tmp_path: Path) -> None:
    svg = drawn(tmp_path, line("16:1", [0.9, 0.8, None, 0.4, 0.3], [0.9, 0.8, 0.7, 0.4, 0.3]))
    left, right = svg.panels()
    assert moves(svg.strokes(left)[0]) == 2
    assert moves(svg.strokes(right)[0]) == 1


def test_each_panel_shows_its_own_column(tmp_path: Path) -> None:
    svg = drawn(tmp_path, line("16:1", [1.0, 1.0], [0.0, 0.0]))
    heights = []
    for panel in svg.panels():
        numbers = re.findall(r"[-\d.]+", svg.strokes(panel)[0].get("d", ""))
        heights.append(float(numbers[1]))
    assert heights[0] < heights[1] - 100  # downwards, in an SVG


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [line("1:1", [])],
        [line("1:1", [0.5])],
        [line("16:1", [None, None], [None, None])],
        [line("2:2", [0.5, 0.5]), line("1:1", [0.5, 0.4])],
        [line("1:1", [0.5, 0.4]), line("1:1", [0.5, 0.3])],
        [line("0.000001:1000000", [0.0] * 3), line("1000000:0.000001", [1.0] * 3)],
    ],
    ids=["nothing", "no epoch", "one epoch", "only gaps", "the same ratio", "the same weight", "extremes"],
)
def test_odd_curves_are_drawn_without_a_warning(tmp_path: Path, lines: list[Line]) -> None:
    svg = drawn(tmp_path, *lines)
    assert len(svg.panels()) == 2


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    draw([line("1:1", [0.5, 0.4])], tmp_path / "figure.png", "title")
    content = (tmp_path / "figure.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1500, 630)
