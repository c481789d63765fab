"""The project of deploy/compose.yaml, started by an engine of ours, in a copy of deploy/ with secrets of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.engine import Engine
from tests.deploy.tools import FOLDER, tool
from tests.deploy.trials import STANDIN_FILES, timed

BALLAST = Path(sys.executable).parent / "ballast"


class Stack:
    def __init__(self, engine: Engine, more: Sequence[str] = ()) -> None:
        """`more` are files of standins/ that are laid over compose.yaml."""
        self.engine = engine
        self.folder = engine.folder / "project"
        self.token = ""  # of one who may everything there
        self._files = ["compose.yaml", *more]
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(FOLDER, self.folder, ignore=shutil.ignore_patterns("secrets", ".env"))
        for name in more:
            shutil.copy(STANDIN_FILES / name, self.folder)
        self.secrets = self.folder / "secrets"
        subprocess.run(["sh", "secrets.sh", "localhost"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def started(self) -> Iterator["Stack"]:
        """As deploy/README.md, "Install with compose" says: a token, then everything."""
        with self.engine.running():
            try:
                with timed("first token, with database, broker and migration"):
                    self.token = self.new_token("keeper", "admin")
                with timed("everything healthy"):
                    self.compose("up", "--detach", "--wait", "--no-build", "api", "proxy", "worker-cpu")
                yield self
            except BaseException:
                print(self.compose("logs", "--no-color", "--tail", "30"))
                raise
            finally:
                self.compose("down", "--volumes", "--timeout", "5")

    def new_token(self, name: str, scope: str) -> str:
        return self.compose("run", "--rm", "-T", "api", "token", "create", name, "--scope", scope).strip()

    def compose(self, *arguments: str) -> str:
        files = [each for name in self._files for each in ("--file", self.folder / name)]
        command = [tool("docker-compose"), *files, "--profile", "cpu", "--profile", "watch"]
        return self.engine.run(*command, *arguments).stdout

    def ballast(self, *arguments: str | Path) -> str:
        """A command of a person's, through TLS."""
        return self.engine.inside(
            *(BALLAST, *arguments),
            BALLAST_URL="https://localhost",
            BALLAST_TOKEN=self.token,
            SSL_CERT_FILE=str(self.secrets / "tls.crt"),
        ).stdout

    def shown(self, experiment: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ballast("show", experiment, "--json"))
        return answer

    def container(self, service: str) -> str:
        (container,) = self.compose("ps", "--all", "--quiet", service).split()
        return container

    def exit_status(self, service: str) -> int:
        return int(self.engine.docker("inspect", "--format", "{{.State.ExitCode}}", self.container(service)))
