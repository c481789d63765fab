"""The Dockerfile, and what of the clone goes into an image."""

import re
import tomllib
from pathlib import Path

from tests.deploy.tools import FOLDER, REPOSITORY, words_of

TEXT = (FOLDER / "Dockerfile").read_text()


def test_the_dockerfile_is_as_its_linter_wants_it() -> None:
    assert words_of("hadolint", "Dockerfile") == (0, "")


def test_the_linter_would_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(TEXT + "\nRUN cd /tmp\nMAINTAINER nobody\n")
    status, words = words_of("hadolint", tmp_path / "Dockerfile")
    assert status != 0
    assert "DL3003" in words
    assert "DL4000" in words


def test_no_line_fetches_what_an_index_of_packages_has_not() -> None:
    assert "syntax=" not in TEXT, "it would fetch another front end of BuildKit"
    assert not re.search(r"https?://(?!127\.0\.0\.1|…)", TEXT)
    assert not re.search(r"^ADD ", TEXT, re.MULTILINE)


def test_both_images_run_as_nobody_in_particular() -> None:
    _, targets = TEXT.split("AS base\n")
    assert "USER 10001:10001" in targets
    assert not re.search(r"^USER (root|0)", TEXT, re.MULTILINE)
    assert re.findall(r"^FROM base AS (\w+)", targets, re.MULTILINE) == ["worker", "api"]


def test_the_image_of_the_api_is_made_of_nothing_that_a_worker_needs() -> None:
    _, api = TEXT.split("FROM base AS api\n")
    assert re.findall(r"--from=([\w-]+)", api) == ["dependencies", "installed"]
    (stage,) = re.findall(r"AS dependencies\n(.*?)\nFROM", TEXT, re.DOTALL)
    assert "requirements.py s3 >" in stage


def test_every_package_of_ours_goes_into_an_image_and_nothing_else() -> None:
    """But for the files that say how it is installed."""
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    ours = packages - {"ballast"}  # lies in api/client
    files = {"LICENSE", "README.md", "constraints.txt", "pyproject.toml", "deploy/requirements.py"}
    assert kept == ours | files
