"""A report as its reader meets it: in a real browser, on a desk, on a phone and on paper, served and saved. And the
service's own pages there."""

import io
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from pypdf import PageObject, PdfReader

from tests.browser import Chromium, NoBrowser
from tests.e2e.processes import Up, ballast, running
from tests.servers import wait_until

pytestmark = pytest.mark.slow

HOSTILE = '<script>alert(1)</script> | ![x](http://leak.invalid/x.png) [y](javascript:0) `# *"&amp;'
DESK, PHONE = 1280, 390
SWEEP = {
    "name": HOSTILE,
    "base": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 12},
    "axes": {
        "optimizer.weight_decay": [0, 0.01],  # two groups, whose titles make tables wider
        "importance_weight": ["256:1", "16:1", "1:1", "1:16", "1:256"],
        "seed": [0, 1],
    },
}
LEAKS = {
    "a picture": '<img src="http://leak.invalid/">',
    "a style": '<p style="background: url(http://leak.invalid/)">words</p>',
    "a sheet": '<link rel="stylesheet" href="http://leak.invalid/">',
    "a font": "<style>@font-face { font-family: f; src: url(http://leak.invalid/) } p { font: 9px f }</style><p>words",
    "a frame": '<iframe src="http://leak.invalid/"></iframe>',
    "a script": "<script>fetch('http://leak.invalid/').catch(() => 0)</script>",
    "a beacon": "<script>navigator.sendBeacon('http://leak.invalid/')</script>",
}
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1]))"
TABLES = "[...document.querySelectorAll('table')].map(table => [table.offsetWidth, table.parentElement.scrollWidth])"


class Reported(NamedTuple):
    served: str
    saved: str  # file://, as `ballast report` wrote it


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    try:
        browser = Chromium(tmp_path_factory.mktemp("chromium"))
    except NoBrowser as reason:
        pytest.skip(f"NOT TRIED: a report in a browser. {reason}")
    with browser:
        yield browser


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running(Up(tmp_path_factory.mktemp("home"), "--workers", "2")) as process:
        yield process


@pytest.fixture(scope="module")
def reported(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    sweep = up.client.submit_sweep(SWEEP)["id"]
    wait_until(lambda: up.client.sweep(sweep)["counts"]["succeeded"] == 20)
    out: Path = tmp_path_factory.mktemp("reports") / "report.html"
    written = ballast("report", str(sweep), "--out", str(out), url=up.client.url)
    assert written.returncode == 0, written.stderr
    return Reported(f"{up.client.url}/sweeps/{sweep}/report", out.as_uri())


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("which", Reported._fields)
def test_a_report_asks_nobody_and_fits_the_screen(
    chromium: Chromium, reported: Reported, which: str, width: int
) -> None:
    address = getattr(reported, which)
    page = chromium.open(address, width)
    assert page.requests == [address]
    assert page.complaints == []
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)") == [True, True]
    # What is wider than a phone scrolls within itself, to its end.
    tables = page.evaluate(TABLES)
    assert len(tables) == 6
    assert all(table <= reached for table, reached in tables)
    assert any(table > width for table, _ in tables) == (width == PHONE)


def test_a_report_can_be_found_its_way_in(chromium: Chromium, reported: Reported) -> None:
    """By a screen reader too."""
    page = chromium.open(reported.served)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.title") == HOSTILE
    assert page.evaluate("document.querySelector('h1').textContent") == HOSTILE
    levels = page.evaluate(HEADINGS)
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(below <= above + 1 for above, below in pairwise(levels))
    alternatives = page.evaluate("[...document.images].map(image => image.alt)")
    assert all("in-domain beside out-of-domain" in words for words in alternatives)
    assert page.evaluate("[...document.querySelectorAll('th')].every(head => head.scope === 'col')")


def test_a_report_is_whole_on_paper(chromium: Chromium, reported: Reported) -> None:
    page = chromium.open(reported.saved)
    paper = PdfReader(io.BytesIO(page.pdf()))
    assert 3 <= len(paper.pages) <= 12
    texts = [sheet.extract_text() for sheet in paper.pages]
    assert all(text.strip() for text in texts)
    printed = _letters("".join(texts))
    for whole in page.evaluate("[...document.querySelectorAll('h1, h2, h3, p, tr')].map(each => each.textContent)"):
        assert _letters(whole) in printed  # of a row of a table every cell
    for sheet in paper.pages:
        assert all(0 < start < 0.95 for start in _starts(sheet))


def _starts(sheet: PageObject) -> list[float]:
    """Of each piece of text that is not turned, how far from the left of the paper it begins; in its widths."""
    starts: list[float] = []

    def found(text: str, page: list[float], line: list[float], *_: object) -> None:
        if text.strip() and not page[1] and not line[1]:
            starts.append((page[4] + page[0] * line[4]) / float(sheet.mediabox.width))

    sheet.extract_text(visitor_text=found)
    assert starts
    return starts


def _letters(text: str) -> str:
    """But for how they are broken into lines and drawn as ligatures."""
    return "".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.parametrize("leak", LEAKS)
def test_a_page_that_does_ask_is_found_out(chromium: Chromium, leak: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><title>leaks</title>{LEAKS[leak]}")
    assert "http://leak.invalid/" in chromium.open(file.as_uri()).requests


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_of_the_service_ask_nobody_else(chromium: Chromium, up: Up, path: str) -> None:
    page = chromium.open(up.client.url + path)
    assert page.requests
    assert all(address.startswith(f"{up.client.url}/") for address in page.requests)
    assert page.complaints == []
    assert page.evaluate("document.body.innerText").count("/sweeps") >= 1 or path == "/"
