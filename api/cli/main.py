"""`ballast`: the commands put together, and what their failures look like: one sentence and an exit code.

0 done · 1 failed · 2 usage · 3 service unreachable · 4 the experiment failed or was cancelled · 130 interrupted
"""

import os
import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from api.cli import data, demo, doctor, run, show, sweeps, watch, wishes
from api.client import Refused, Unreachable
from core.errors import BallastError
from core.faults import UnreadableSpec
from core.texts import plain

app = typer.Typer(
    name="ballast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"ballast {metadata.version('ballast')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Importance-weighting experiments on neural networks, as a service."""


for module in (run, data, doctor, show, sweeps, watch, wishes):
    app.add_typer(module.app)


def main() -> None:
    try:
        app()
    except Unreachable as error:
        _end(error, 3)
    except (demo.NotSucceeded, wishes.NotSucceeded) as error:
        _end(error, 4)
    except UnreadableSpec as error:
        _end(error, 2)
    except Refused as error:
        _end(error, 2 if error.status == 422 else 1)
    except BallastError as error:
        _end(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # such as a disk that is full, where it prints
        where = f": {error.filename}" if error.filename else ""
        print(plain(f"ballast: {error.strerror or error}{where}"), file=sys.stderr)
        os._exit(1)  # at once: what could not be printed would be tried again, with a traceback


def _end(error: BallastError, status: int) -> NoReturn:
    print(f"ballast: {plain(str(error))}", file=sys.stderr)
    sys.exit(status)
