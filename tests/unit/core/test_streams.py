"""What cannot be printed ends nothing, and what is closed is nobody else's place."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]

TALKS = """
import os, sys
from core.streams import print_error, prepare_streams, print_line
prepare_streams()
file = open("file", "w")
assert file.fileno() > 2, file.fileno()
print_line("heard")
print_line("still there")
print_error("not well")
child = "import os; [os.fstat(number) for number in range(3)]"
assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", child]) == 0
file.write("at its end")
"""


@pytest.mark.parametrize(
    "streams", ["", ">/dev/full", "2>/dev/full", ">&-", "<&-", "2>&-", "<&- >&- 2>&-", "| head -n 0"]
)
def test_what_cannot_be_printed_ends_nothing(streams: str, tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text(TALKS)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} talks.py {streams}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == "at its end"
    assert "Error" not in done.stderr
    if not streams:
        assert done.stdout == "heard\nstill there\n"
