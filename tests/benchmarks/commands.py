"""What a command costs whoever types it, beside the libraries that it cannot do without."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from api.client import Client, ClientError
from tests.benchmarks.harness import Measurement, interleaved, ratio
from tests.e2e.processes import COMMAND, DIGITS, Process, ballast, running
from tests.servers import free_port, wait_until

PAIRS = 21

LIST = [str(COMMAND), "list"]
BARE = [sys.executable, "-c", "import typer, rich, httpx2"]


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _listing(Path(folder))


def _listing(home: Path) -> Iterator[Measurement]:
    """Of fifty experiments: as many as are listed unless told otherwise."""
    assert ballast("db", "upgrade", home=home).returncode == 0
    port = free_port()
    api = Process("api", log=home / "api.log", home=home, port=port)
    url = f"http://127.0.0.1:{port}"
    client = Client(url)
    with running(api):
        wait_until(lambda: _answers(client), 60)
        client.submit_sweep({"base": DIGITS, "axes": {"seed": list(range(50))}})
        client.close()
        _cpu_seconds(LIST, url), _cpu_seconds(BARE, url)  # the files are in the cache, and compiled
        ours, bare = interleaved(PAIRS, lambda: _cpu_seconds(LIST, url), lambda: _cpu_seconds(BARE, url))
    yield Measurement("ballast list, CPU", ours, "s")
    yield Measurement("python -c 'import typer, rich, httpx2', CPU", bare, "s")
    yield ratio("ballast list / import typer, rich, httpx2", ours, bare, at_most=2.5)


def _answers(client: Client) -> bool:
    with suppress(ClientError):
        return bool(client.ready())
    return False


def _cpu_seconds(command: list[str], url: str) -> float:
    process = subprocess.Popen(command, env={**os.environ, "BALLAST_URL": url}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime
