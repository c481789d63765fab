"""A container engine of our own: Debian's, unpacked into a folder. It builds with this machine's network, where the
indexes of packages are; what it runs has a network, mounts and processes of its own, which end with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.tools import REPOSITORY, tool
from tests.servers import PATIENCE_S

_DEBIAN = ("docker.io", "containerd", "runc", "tini")
_BASE = "ca-certificates,python3,python3-venv,python3-pip"
_CGROUP = "ballast-trial"

# Of compose.yaml and the Dockerfile, each with the target of standins/Dockerfile that stands for it.
STANDINS = {
    "postgres:17-bookworm": "postgres",
    "redis:7.4-bookworm": "redis",
    "nginx:1.28-bookworm": "nginx",
    "prom/prometheus:v3.5.0": "prometheus",
    "prom/alertmanager:v0.28.1": "alertmanager",
}
BASE = "python:3.11-slim-bookworm"


class Engine:
    """`building` and `running`, one after the other, share their images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "engine.sock"
        self._unpacked = folder / "unpacked"
        path = f"{self._unpacked}/usr/bin:{self._unpacked}/usr/sbin:{os.environ['PATH']}:/usr/sbin"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PATH": path,
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_BUILDKIT": "1",
            "DOCKER_CONFIG": str(folder / "config"),
        }
        self._inside = 0  # a process of its network

    def unpack(self) -> None:
        if not self._unpacked.exists():
            packages = self.folder / "packages"
            packages.mkdir()
            subprocess.run(["apt-get", "download", "-qq", *_DEBIAN], cwd=packages, check=True)
            for package in packages.iterdir():
                subprocess.run(["dpkg", "-x", package, self._unpacked], check=True)

    def docker(self, *arguments: str | Path) -> str:
        """What it printed. Raises CalledProcessError."""
        return self.run("docker", *arguments).stdout

    def build(self, file: Path, target: str, name: str, folder: Path = REPOSITORY, **arguments: str) -> None:
        options = [each for key, value in arguments.items() for each in ("--build-arg", f"{key}={value}")]
        self.docker("build", "--network", "host", *options, "--file", file, "--target", target, "--tag", name, folder)

    def layers(self, image: str) -> list[str]:
        """How each was made."""
        return self.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).splitlines()

    def import_base(self) -> None:
        """Debian under the name of the Dockerfile's FROM, with this machine's index of packages, and whom it trusts."""
        if self.docker("images", "--quiet", BASE):
            return
        archive = self.folder / "base.tar"
        bootstrap = [tool("mmdebstrap"), "--mode=root", "--variant=minbase", f"--include={_BASE}", "bookworm", archive]
        subprocess.run(bootstrap, check=True, capture_output=True)
        self.docker("import", archive, "ballast-standin-base")
        archive.unlink()
        context = self.folder / "base"
        context.mkdir()
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        (context / "pip.conf").write_text(_pip_configuration())
        lines = ["FROM ballast-standin-base", "COPY ca-certificates.crt /etc/ssl/certs/", "COPY pip.conf /etc/"]
        (context / "Dockerfile").write_text("\n".join(lines))
        self.docker("build", "--tag", BASE, context)

    def inside(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in the network of what runs, on its host."""
        return self.run("nsenter", f"--net=/proc/{self._inside}/ns/net", *command, **environment)

    def start_inside(self, *command: str | Path, **environment: str) -> "subprocess.Popen[bytes]":
        entered = ["nsenter", f"--net=/proc/{self._inside}/ns/net", *map(str, command)]
        return subprocess.Popen(entered, env=self.environment | environment)

    @contextmanager
    def building(self) -> Iterator[None]:
        with self._serving("--bridge=none", "--iptables=false", "--ip-forward=false", unshared=[]):
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._serving("--bip=172.31.250.1/24", unshared=["--net"]):
            yield

    @contextmanager
    def _serving(self, *options: str, unshared: list[str]) -> Iterator[None]:
        state = self.folder / "state"
        engine = [
            *("dockerd", *options, "--storage-driver=overlay2", f"--cgroup-parent=/{_CGROUP}"),
            *(f"--data-root={self.folder}/data", f"--exec-root={state}", f"--pidfile={state}/pid"),
            f"--host=unix://{self._socket}",
        ]
        # Its first process, which reaps: with it ends everything in there.
        first = ["sh", "-c", 'ip link set lo up; exec tini -- "$@"', "sh", *engine]
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *unshared]
        with (self.folder / "engine.log").open("ab") as log:
            process = subprocess.Popen([*own, *first], env=self.environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: process.poll() is not None or self._answers())
            self._inside = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            yield
        finally:
            self._end(process)
            shutil.rmtree(state, ignore_errors=True)
            self._socket.unlink(missing_ok=True)
            for group in Path("/sys/fs/cgroup").glob(f"**/{_CGROUP}"):
                _remove_group(group)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        if self._inside and process.poll() is None:
            os.kill(self._inside, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._inside = 0

    def _answers(self) -> bool:
        if not self._socket.exists():
            return False
        asked = subprocess.run(["docker", "version"], env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            list(map(str, command)), env=self.environment | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done


def _pip_configuration() -> str:
    """Where this machine's pip finds packages, if that is not where every pip does."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt", *([f"index-url = {found}"] if found else [])]
    return "\n".join(lines)


def wait_for(is_so: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _remove_group(group: Path) -> None:
    for each in sorted(group.glob("**/"), reverse=True):
        each.rmdir()
