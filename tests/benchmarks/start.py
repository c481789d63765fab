"""`ballast demo`: from the command to its figure."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.harness import Measurement
from tests.e2e.processes import COMMAND

TRIALS = 2


def measure() -> Iterator[Measurement]:
    yield Measurement("ballast demo, five curves and a figure", [_seconds() for _ in range(TRIALS)], "s", at_most=60)


def _seconds() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run([COMMAND, "demo"], cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        assert done.returncode == 0, done.stderr
        assert (Path(folder) / "demo" / "figure.png").exists()
    return seconds
