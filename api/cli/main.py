"""`ballast`: the commands put together, and what their failures look like: one sentence and an exit code.

0 done · 1 failed · 2 usage · 3 service unreachable · 4 the experiment failed or was cancelled · 130 interrupted
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
from core.streams import complain

# In the order of `--help`. A module is imported when one of its commands is asked for: nobody waits for the others'.
COMMANDS = {
    "api.cli.machine.run": ("up", "demo", "api", "worker", "doctor", "run", "db"),
    "api.cli.machine.data": ("data",),
    "api.cli.http.submit": ("submit", "extend"),
    "api.cli.http.show": ("list", "show", "curve", "predictions", "weights", "workers"),
    "api.cli.http.sweeps": ("sweep", "figure", "presets"),
    "api.cli.http.watch": ("watch",),
    "api.cli.http.wishes": ("cancel", "pause", "resume", "retry", "priority", "delete", "wait"),
}


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for module, names in COMMANDS.items():
            if cmd_name in names:
                return get_group(import_module(module).app).get_command(ctx, cmd_name)
        return None


app = typer.Typer(
    name="ballast",
    cls=_Commands,
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


def main() -> None:
    try:
        app()
    except Unreachable as error:
        _end(error, 3)
    except NotSucceeded as error:
        _end(error, 4)
    except UnreadableSpec as error:
        _end(error, 2)
    except Refused as error:
        _end(error, 2 if error.status == 422 else 1)
    except (BallastError, ClientError) as error:
        _end(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # such as a disk that is full, where it prints
        where = f": {error.filename}" if error.filename else ""
        complain(f"{error.strerror or error}{where}")
        os._exit(1)  # at once: what could not be printed would be tried again, with a traceback


def _end(error: BallastError | ClientError, status: int) -> NoReturn:
    complain(str(error))
    sys.exit(status)
