"""What our own modules add to the time that `import api.main` takes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.harness import Measurement, interleaved, ratio

PAIRS = 21

OURS = "import api.main"
# FastAPI itself imports pydantic.v1, for its first route.
BARE = "import fastapi, pydantic.v1, sqlalchemy.orm, structlog, psycopg, pydantic_settings; from celery import Celery"


def measure() -> Iterator[Measurement]:
    _seconds(OURS), _seconds(BARE)  # the files are in the cache, and compiled
    ours, bare = interleaved(PAIRS, lambda: _seconds(OURS), lambda: _seconds(BARE))
    yield Measurement("import api.main", ours, "s")
    yield Measurement("import what it needs, bare", bare, "s")
    yield ratio("import api.main / bare", ours, bare, at_most=1.3)


def _seconds(statement: str) -> float:
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    here = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    return float(done.stdout)
