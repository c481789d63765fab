"""The command line as a user types it."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main

COMMAND = [sys.executable, "-P", "-c", "from api.cli import ballast; ballast()"]


def environment(url: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BALLAST_")}
    return {**clean, "BALLAST_URL": url}


class Ballast:
    """`ballast` in a folder of its own, in this process: a command takes a second to start."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def __call__(self, *words: str, status: int = 0, stdin: str | bytes = "") -> str:
        """What it prints; or, where it fails as it should, its one sentence."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name in [name for name in os.environ if name.startswith("BALLAST_")]:
                patch.delenv(name)
            patch.setenv("BALLAST_URL", self.url)
            patch.setattr(sys, "argv", ["ballast", *words])
            sent = stdin.encode() if isinstance(stdin, str) else stdin
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sent)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:  # any other exception would be a traceback
                main()
        assert (ended.value.code or 0) == status, out.getvalue() + err.getvalue()
        if status == 0:
            return out.getvalue()
        assert out.getvalue() == ""
        sentence = err.getvalue()
        if "Usage:" not in sentence:
            assert sentence.startswith("ballast: ")
            assert sentence.count("\n") == 1
        return sentence

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def file(self, content: str | bytes, name: str = "spec.json") -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name
