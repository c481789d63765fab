"""Versions of before, out of this repository's history: their code beside today's packages, in a Python of its own."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class NoHistory(Exception):
    """This clone has none: it is shallow, or no clone at all."""


class Release(NamedTuple):
    """`python` knows its code and our packages, and none of our code; so do the processes that it starts."""

    commit: str
    python: str

    @property
    def ballast(self) -> list[str]:
        """Its command line."""
        code = "import sys, importlib; sys.argv[0] = 'ballast'; importlib.import_module('api.cli.main').main()"
        return [self.python, "-P", "-c", code]

    def upgrade(self, database_url: str) -> None:
        """The database, by its own migrations."""
        code = "import sys; from core.store import schema; schema.upgrade(sys.argv[1])"
        subprocess.run([self.python, "-P", "-c", code, database_url], env=_environment(), check=True)


def newest_before(revision: str, folder: Path) -> Release:
    """The last code whose schema is older than `revision`. Raises NoHistory."""
    if _git("rev-parse", "--is-shallow-repository") != "false":
        raise NoHistory("this clone is shallow: git fetch --unshallow brings the versions of before")
    line = f'^REVISION = "{revision}"'
    changes = _git("log", "--format=%H", "-G", line, "--", "core/store/schema.py").split()
    commit = _git("rev-parse", f"{changes[-1]}^")
    return Release(commit, _python_of(commit, folder))


def _python_of(commit: str, folder: Path) -> str:
    code = folder / "code"
    code.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], env=_environment(), capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive.stdout, check=True)
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    # Named so, their own .pth files are not read, of which one leads to our code.
    (packages / "release.pth").write_text(f"{code}\n{sysconfig.get_path('purelib')}\n")
    python = str(folder / "venv" / "bin" / Path(sys.executable).name)
    told = subprocess.run(
        [python, "-P", "-c", "import core; print(core.__file__)"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(told.stdout.strip()).is_relative_to(code), told.stdout
    return python


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], env=_environment(), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistory("this is no clone of git's: versions of before are not here") from error
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHON"))}
