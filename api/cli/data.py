"""`ballast data`: makes data ready before the first experiment, not by its failure. Training's own code reads it, in a
process of its own."""

import sys
from typing import Annotated

import typer

from api.cli.printing import AsJson
from api.cli.run import become
from api.service import require_torch
from core.settings import load_settings

data = typer.Typer(no_args_is_help=True, help="Data sets and folders of images.")
app = typer.Typer()
app.add_typer(data, name="data")

_RUN = """
import os, runpy, signal
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
runpy.run_module("core.training.data", run_name="__main__", alter_sys=True)
"""


@data.command(epilog="Example: ballast data fetch digits")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="digits, mnist, fashion_mnist or cifar10.")],
    as_json: AsJson = False,
) -> None:
    """Download a data set into BALLAST_DATA_DIR, unless it is there."""
    _start("fetch", name, as_json)


@data.command(epilog="Example: ballast data check digits")
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A data set, or a folder under BALLAST_DATA_DIR/folders.")
    ],
    as_json: AsJson = False,
) -> None:
    """Count the images of each class and list every file that cannot be read. Downloads nothing."""
    _start("check", name, as_json)


def _start(what: str, name: str, as_json: bool) -> None:
    require_torch()
    settings = load_settings()
    where = ["--data-dir", str(settings.data_dir), "--locks-dir", str(settings.locks_dir)]
    become([sys.executable, "-P", "-c", _RUN, what, *where, *["--json"] * as_json, "--", name], settings)
