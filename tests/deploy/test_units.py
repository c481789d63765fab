"""The units of systemd: read by systemd itself, and as hardened as it says they can be."""

import re
import sys
from pathlib import Path

import pytest

from core.settings import Settings
from tests.deploy.tools import FOLDER, words_of

UNITS = sorted((FOLDER / "systemd").glob("*.service"))

# Of 100, less is better; without any of it a unit has 92. Workers need devices, and code that is made while it runs.
EXPOSURE = {"ballast-api.service": 15, "ballast-worker.service": 19}


def here(unit: Path, folder: Path, change: tuple[str, str] = ("", "")) -> Path:
    """The unit, starting a program that is on this machine: systemd looks whether it is."""
    copy = folder / unit.name
    text = unit.read_text().replace("/opt/ballast/.venv/bin/ballast", sys.executable)
    copy.write_text(text.replace(*change) if change[0] else text)
    return copy


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_reads_every_line_of_it(unit: Path, tmp_path: Path) -> None:
    assert words_of("systemd-analyze", "verify", "--man=no", here(unit, tmp_path)) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_would_say_that_a_line_is_mistyped(unit: Path, tmp_path: Path) -> None:
    wrong = here(unit, tmp_path, ("ProtectClock=yes", "ProtectClok=yes"))
    assert "ProtectClok" in words_of("systemd-analyze", "verify", "--man=no", wrong)[1]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_is_as_hardened_as_it_can_be(unit: Path, tmp_path: Path) -> None:
    asked = ("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE[unit.name]}")
    status, words = words_of(*asked, here(unit, tmp_path))
    assert status == 0, words
    softer = here(unit, tmp_path, ("ProtectSystem=strict\n", ""))
    assert words_of(*asked, softer)[0] != 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_leaving_has_ten_seconds_more_than_the_grace_time(unit: Path) -> None:
    text = unit.read_text()
    assert "KillMode=mixed\n" in text
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(seconds) >= Settings().grace_seconds + 10
