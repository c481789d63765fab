"""The API fuzzed from its own OpenAPI document, with every check that schemathesis has, by somebody with a token."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import DIGITS, Process, Up, ballast, running, wait_for_end
from tests.servers import free_port, wait_until

_SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
_CONFIG = Path(__file__).with_name("schemathesis.toml")
_LAST_WORDS = 6000  # characters


@pytest.mark.slow
def test_every_answer_is_as_documented_and_none_is_a_server_error(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _with_something_in_it(home)
    token = ballast("token", "create", "fuzzer", "--scope", "admin", home=home).stdout.strip()
    port = free_port()
    with running(Process("api", log=tmp_path / "api.log", home=home, port=port, host="0.0.0.0")) as api:
        wait_until(lambda: "Ballast serves" in api.log_text())
        found = subprocess.run(
            [
                *(_SCHEMATHESIS, "--config-file", str(_CONFIG), "run", f"http://127.0.0.1:{port}/openapi.json"),
                *("--no-color", "--header", f"Authorization: Bearer {token}"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout[-_LAST_WORDS:] + found.stderr[-_LAST_WORDS:]
        assert "our fault" not in api.log_text()


def _with_something_in_it(home: Path) -> None:
    """Experiments that have ended, one that has failed, and sweeps: ids that the fuzzer finds."""
    with running(Up(home, "--workers", "1", data_dir=home / "data")) as up:
        for spec in (DIGITS, DIGITS | {"batch_size": 1000}, DIGITS | {"seed": 1}):
            wait_for_end(up.client, up.client.submit(spec)["id"])
