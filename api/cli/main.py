"""`ballast`: where each command is, and what its failure looks like: one sentence and an exit code (api/README.md,
"Exit codes"). What a command does is in `http/` or in `machine/`.
"""

import os
import sys
from importlib import import_module, metadata
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from api.cli.errors import NotSucceeded
from api.client import ClientError, Refused, Unreachable
from core.errors import BallastError
from core.reading import UnreadableSpec
from core.streams import print_error

# In the order of `--help`: where each is. It is imported when it is asked for: nobody waits for the others' libraries.
COMMANDS = {
    "up": "api.cli.machine.serving",
    "demo": "api.cli.machine.demo",
    "api": "api.cli.machine.serving",
    "worker": "api.cli.machine.serving",
    "doctor": "api.cli.machine.doctor",
    "bench": "api.cli.machine.bench",
    "run": "api.cli.machine.run",
    "db": "api.cli.machine.db",
    "gc": "api.cli.machine.gc",
    "token": "api.cli.machine.tokens",
    "data": "api.cli.machine.data",
    "submit": "api.cli.http.submit",
    "extend": "api.cli.http.submit",
    "list": "api.cli.http.show",
    "show": "api.cli.http.show",
    "curve": "api.cli.http.results",
    "predictions": "api.cli.http.results",
    "weights": "api.cli.http.results",
    "workers": "api.cli.http.show",
    "sweep": "api.cli.http.sweeps",
    "figure": "api.cli.http.sweeps",
    "effect": "api.cli.http.effect",
    "report": "api.cli.http.effect",
    "presets": "api.cli.http.sweeps",
    "watch": "api.cli.http.watch",
    "cancel": "api.cli.http.wishes",
    "pause": "api.cli.http.wishes",
    "resume": "api.cli.http.wishes",
    "retry": "api.cli.http.wishes",
    "priority": "api.cli.http.wishes",
    "delete": "api.cli.http.wishes",
    "wait": "api.cli.http.waiting",
}


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return get_group(import_module(COMMANDS[cmd_name]).app).get_command(ctx, cmd_name)


app = typer.Typer(
    name="ballast",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ballast {metadata.version('ballast')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Importance-weighting experiments on neural networks, as a service."""


def main() -> None:
    try:
        app()
    except Unreachable as error:
        _exit_with(error, 3)
    except NotSucceeded as error:
        _exit_with(error, 4)
    except UnreadableSpec as error:
        _exit_with(error, 2)
    except Refused as error:
        _exit_with(error, 2 if error.status == 422 else 1)
    except (BallastError, ClientError) as error:
        _exit_with(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # such as a disk that is full, where it prints
        where = f": {error.filename}" if error.filename else ""
        print_error(f"{error.strerror or error}{where}")
        os._exit(1)  # at once: what could not be printed would be tried again, with a traceback


def _exit_with(error: BallastError | ClientError, status: int) -> NoReturn:
    print_error(str(error))
    sys.exit(status)
