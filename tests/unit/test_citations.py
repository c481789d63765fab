"""What a clone cites, it holds: every page, section, file and function that a text or a comment names is there."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WINGS = ("api", "core", "worker", "migrations")
FOLDERS = (*WINGS, "deploy", "tests")
PAGES = ("README.md", "CONTRIBUTING.md", *(f"{each}/README.md" for each in ("api", "core/store", "core/training")))
PAGES += ("worker/README.md", "deploy/README.md", "deploy/ALERTS.md")

_READ = (".py", ".md", ".toml", ".mako", "Makefile", ".ci/run")
_READ += ("Dockerfile", ".sh", ".yaml", ".yml", ".tpl", ".conf", ".service", ".example")  # of deploy/

_PLANS = "(?:DESIGN|CONTRACT|PROTOCOL|STORE|CELERY|STACK|STYLE|DEPLOY|ROADMAP|PEERS)"
_NOT_HERE = re.compile(
    rf"\b{_PLANS}(?:\.md|,?[\s#]+§)"  # which may go on in the next line, too
    rf"|(?<=\()(?<![\w\])]\(){_PLANS}(?=[\s,;)])"  # in parentheses that call nothing
    r"|\bshared/"
    r"|\bShows? \d"  # of an issue
)
# A page that is no link's, and perhaps a section of it; in a comment or a docstring it may go on in the next line.
_CITED = re.compile(r'(?<![\w/.:~-])(?<!\]\()((?:[\w.-]+/)*[\w-]+\.md)\b`?(?:,[\s#]+"([^"]+)")?')
_LINK = re.compile(r"\]\(\s*<?([^)>\s]+)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_CODE = re.compile(r"^ *(```|~~~).*?^ *\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([^`\n]+)`")
_FUNCTION = re.compile(r"([a-z_]+)\.([a-z_]+)(?:\(.*\))?")


REPORT = "report.md"  # the one page that the product writes


def faults_of(name: str, text: str) -> Iterator[str]:
    """What `text`, that of the file `name` below the root, cites and is not there."""
    for found in _NOT_HERE.finditer(text):
        yield f"{_at(name, text, found)}: {found[0]} is in no clone: cite the README of a wing"
    for found in _CITED.finditer(text):
        yield from _citation_faults(name, text, found)
    if name.endswith(".md") and name != "CHANGELOG.md":  # which tells of what was
        for found in _LINK.finditer(_CODE.sub(_blank, text)):
            yield from _link_faults(name, text, found)
        for found in _QUOTED.finditer(text):
            yield from _quotation_faults(name, text, found)


def _citation_faults(name: str, text: str, found: re.Match[str]) -> Iterator[str]:
    if Path(found[1]).name == REPORT:
        return
    page = _page(name, found[1])
    title = " ".join(re.sub(r"\n\s*#? *", " ", found[2] or "").split())
    if page is None and not _NOT_HERE.match(found[1]):
        yield f"{_at(name, text, found)}: there is no page {found[1]}"
    elif page and title and title not in _titles(page):
        yield f'{_at(name, text, found)}: {found[1]} has no section "{title}" (but {", ".join(sorted(_titles(page)))})'


def _link_faults(name: str, text: str, found: re.Match[str]) -> Iterator[str]:
    link = found[1] or found[2]
    path, _, anchor = link.partition("#")
    if ":" in path:
        return
    target = (ROOT / name).parent / path if path else ROOT / name
    if not target.exists():
        yield f"{_at(name, text, found)}: the link to {link} leads nowhere"
    elif anchor and anchor not in {_anchor(title) for title in _titles(target)}:
        yield f"{_at(name, text, found)}: {path or name} has no section #{anchor}"


def _quotation_faults(name: str, text: str, found: re.Match[str]) -> Iterator[str]:
    """A file or folder of ours, or a function of a module of ours, as a page names it."""
    words = found[1]
    if words == REPORT:
        return
    if words.split("/")[0] in FOLDERS and re.fullmatch(r"[\w./-]+", words) and not (ROOT / words).exists():
        yield f"{_at(name, text, found)}: there is no {words}"
        return
    if re.fullmatch(r"[\w./-]+\.py", words) and not _files_called(name, words):
        yield f"{_at(name, text, found)}: there is no file {words}"
    function = _FUNCTION.fullmatch(words)
    if function and function[1] in _modules() and function[2] != "py" and function[2] not in _modules()[function[1]]:
        yield f"{_at(name, text, found)}: no module {function[1]} of ours has a {function[2]}"


def _at(name: str, text: str, found: re.Match[str]) -> str:
    return f"{name}:{text.count(chr(10), 0, found.start()) + 1}"


def _blank(found: re.Match[str]) -> str:
    """Its lines stay, so that those after it keep their numbers."""
    return re.sub(r"[^\n]", " ", found[0])


def _page(name: str, cited: str) -> Path | None:
    places = [ROOT / cited, (ROOT / name).parent / cited]
    return next((place for place in places if place.is_file()), None)


def _files_called(name: str, path: str) -> list[Path]:
    """Below the root, beside the page, or, where only its last part is said, anywhere in the wings and the tests."""
    places = [ROOT / path, (ROOT / name).parent / path]
    return [each for each in places if each.is_file()] or [each for each in _code() if str(each).endswith(f"/{path}")]


@cache
def _titles(page: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE))


def _anchor(title: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@cache
def _code() -> tuple[Path, ...]:
    return tuple(file for wing in (*WINGS, "tests") for file in (ROOT / wing).rglob("*.py"))


@cache
def _modules() -> dict[str, set[str]]:
    """What each module of ours defines, by its last name; of those with the same last name together."""
    modules: dict[str, set[str]] = {}
    for file in _code():
        if file.relative_to(ROOT).parts[0] == "tests":
            continue
        tree = ast.parse(file.read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        targets += [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
        modules.setdefault(file.stem if file.stem != "__init__" else file.parent.name, set()).update(names)
        modules.setdefault(file.parent.name, set()).add(file.stem)
    return modules


def _texts() -> Iterator[tuple[str, str]]:
    for path in _tracked():
        if path.endswith(_READ) and path != str(_HERE):
            yield path, (ROOT / path).read_text()


def _tracked() -> list[str]:
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [path for path in listed.splitlines() if (ROOT / path).is_file()]
    return [str(file.relative_to(ROOT)) for file in [*_code(), *(ROOT / page for page in PAGES), ROOT / "Makefile"]]


_HERE = Path(__file__).relative_to(ROOT)


def test_nothing_is_cited_that_is_not_there() -> None:
    faults = [fault for name, text in _texts() for fault in faults_of(name, text)]
    assert not faults, "\n".join(faults)


def test_every_wing_has_its_page() -> None:
    assert not [page for page in PAGES if not (ROOT / page).is_file()]


@pytest.mark.parametrize(
    "cited",
    [
        "(DESIGN §5)",
        "see STORE.md",
        "as CONTRACT, §1 says",
        "(CONTRACT\n# §1)",
        "(DESIGN, the rooms)",
        "(STYLE)",
        "in ../shared/notes",
        "Show 6: it is restored",
        "core/stores/README.md",
        "as HOUSE.md says",
        '`core/store/README.md`, "The fences"',
        'core/store/README.md, "The fences"',
        'core/store/README.md,\n# "The\n# fences"',
        "[there](core/nowhere.md)",
        "[there](README.md#no-such-section)",
        '[there](nowhere.txt "a title")',
        "[there]: nowhere.txt",
        "`core/stores/`",
        "`tests/e2e/nowhere.toml`",
        "`core/store/nowhere.py`",
        "`nowhere.py`",
        "`leases.fenced`",
        "`seeding.permute(seed, epoch, n)`",
    ],
)
def test_what_leads_nowhere_is_found(cited: str) -> None:
    (fault,) = faults_of("README.md", f"\n{cited}\n")
    assert fault.startswith("README.md:2: ")


@pytest.mark.parametrize(
    "cited",
    [
        'core/store/README.md, "The fence"',
        'core/store/README.md,\n    "The\n    fence"',
        'core/store/README.md,\n# "The fence"',
        "[there](core/store/README.md#the-fence)",
        "[elsewhere](https://example.org/README), https://example.org/HOUSE.md",
        "`[there](nowhere.md#x)`\n\n```\n[there](nowhere)\n```\n",
        "list(PROTOCOL), PROTOCOL[0], r'CELERY\\w*'",
        "`core/store/`, `tests/e2e/schemathesis.toml`, `application/json`",
        "`core/store/leases.py`, `leases.py`",
        "`leases.fence`, `seeding.permutation(seed, epoch, n)`, `os.path`",
    ],
)
def test_what_is_there_is_left_alone(cited: str) -> None:
    assert not list(faults_of("README.md", f"\n{cited}\n"))
