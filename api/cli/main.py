"""`ballast`: the commands put together, and what their failures look like: one sentence and an exit code.

0 done · 1 failed · 2 usage · 3 service unreachable · 4 the experiment failed or was cancelled · 130 interrupted
"""

import sys
from typing import NoReturn

import typer

from api.cli import data, demo, doctor, run, show, sweeps, watch, wishes
from api.client import Refused, Unreachable
from core.errors import BallastError
from core.faults import UnreadableSpec

app = typer.Typer(
    name="ballast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Importance-weighting experiments on neural networks, as a service.",
)
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


def _end(error: BallastError, status: int) -> NoReturn:
    print(f"ballast: {error}", file=sys.stderr)
    sys.exit(status)
