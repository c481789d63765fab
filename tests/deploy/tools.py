"""The tools that read what lies in deploy/: of pip's packages in this environment, else of the machine's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "deploy"

_DEBIAN = {
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "nginx": "nginx-light",
    "systemd-analyze": "systemd",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "apt-get": "apt",
}


def tool(name: str) -> str:
    """Where it is; skips the test where it is not."""
    places = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/usr/sbin"]
    found = shutil.which(name, path=":".join(places))
    if found is None:
        how = f"apt-get install {_DEBIAN[name]}" if name in _DEBIAN else "make lint-deploy installs it"
        pytest.skip(f"{name} is not here: {how}")
    return found


def words_of(*command: str | Path, cwd: Path = FOLDER) -> tuple[int, str]:
    """The exit status of a tool, and all that it said."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout
