"""Commands that touch the machine. Whatever needs torch is a subprocess of its own; what needs FastAPI, SQLAlchemy or
Celery is imported by the command that does, or every command would wait for it.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from api.cli.printing import AsJson, print_json, print_table
from core.streams import say

if TYPE_CHECKING:
    from core.settings import Settings

# Runs the module that it is told. Ctrl-C ends it without a traceback, in the seconds that torch takes to import too.
_QUIETLY = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""

# Ten seconds on two cores, and no download.
_FIRST_FIGURE = "sweep figure-2 --set dataset.name=digits --set model.name=mlp --set epochs=20 --watch"

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")

Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes; by default one a GPU, else one a core, at most 4.")
]
Devices = Annotated[
    str | None,
    typer.Option(help="all (every GPU), cpu, cuda:N or cuda:N,cuda:M: a process a GPU. Instead of BALLAST_DEVICE."),
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="On the CPU, by default one a core, at most 4; or on a single GPU.")
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Instead of BALLAST_PORT.")]


@app.command(epilog="Example: ballast up --workers 2")
def up(workers: Workers = None, port: Port = None) -> None:
    """Migrate the database, start API and workers, and serve until Ctrl-C."""
    import structlog

    from api.service import Stop, service
    from core import logs
    from core.settings import load_settings

    log = structlog.get_logger()
    settings = load_settings(**({} if port is None else {"port": port}))
    logs.configure(settings)
    stop = Stop()
    with service(settings, workers) as tend:
        say(f"Ballast serves {settings.address} (data in {settings.home}); Ctrl-C stops it")
        say(f"{settings.address}/docs documents the API; a first figure, from another terminal:")
        say(f"    {_command(settings)} {_FIRST_FIGURE}")
        while not stop.asked and tend():
            time.sleep(0.1)
        if not stop.asked:
            raise typer.Exit(1)
        log.info("stopping: running experiments go back into the queue")


def _command(settings: "Settings") -> str:
    """`ballast` as another terminal finds it, and finds this service."""
    where = "" if settings.address == "http://127.0.0.1:8000" else f"BALLAST_URL={settings.address} "
    return where + shlex.quote(str(Path(sys.argv[0]).absolute()))


@app.command(epilog="Example: ballast demo --out my-demo")
def demo(
    workers: Workers = None,
    folder: Annotated[Path, typer.Option("--out", help="Where curves.json and figure.png go.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Five weights, real digits, real workers: draws the figure in a minute, then stops."""
    from api.cli.machine.demo import play

    play(folder, workers, as_json)


@app.command(epilog="Example: BALLAST_DATABASE_URL=postgresql://me@db/ballast ballast api")
def api(port: Port = None) -> None:
    """Serve the API alone; workers run elsewhere, by `ballast worker`."""
    from api.service import Stop, api_server, bind
    from core import logs
    from core.opening import sole_service
    from core.settings import load_settings

    settings = load_settings(**({} if port is None else {"port": port}))
    logs.configure(settings)
    stop = Stop()
    with sole_service(settings), bind(settings) as listener, api_server(settings, listener) as serves:
        say(f"Ballast serves {settings.address}; Ctrl-C stops it")
        while not stop.asked and serves():
            time.sleep(0.1)
    if not stop.asked:
        raise typer.Exit(1)


@app.command(epilog="Example: ballast worker --devices cpu --processes 2")
def worker(devices: Devices = None, processes: Processes = None) -> None:
    """Train what is queued, on this host's devices, until Ctrl-C."""
    from api.service import launcher_command
    from core.settings import load_settings

    become(launcher_command(processes, devices), load_settings())


@app.command(epilog="Example: ballast doctor")
def doctor(as_json: AsJson = False) -> None:
    """Look at versions, database, broker, checkpoints, data, devices and clocks: what is wrong, and what to do."""
    from api.cli.machine.doctor import Finding, examine

    findings = list(examine())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings)
    if any(finding.status == "wrong" for finding in findings):
        raise typer.Exit(1)


@app.command(epilog="Example: ballast run spec.json")
def run(
    file: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Train one spec here and now, without any service."""
    from core.settings import load_settings

    settings = load_settings()
    device = [] if settings.device == "auto" else ["--device", settings.device]
    become_training(
        "core.training.programs.train", [str(file), "--threads", str(settings.threads), *device], as_json, settings
    )


@db.command(epilog="Example: ballast db upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema."""
    from core.opening import prepare_home
    from core.settings import load_settings
    from core.store import schema

    settings = load_settings()
    if settings.embedded_database:
        prepare_home(settings)
    schema.upgrade(settings.database_url)
    say_revision(settings, as_json)


@db.command(epilog="Example: ballast db check")
def check(as_json: AsJson = False) -> None:
    """Say whether the database answers and has this version's schema."""
    from core.settings import load_settings

    say_revision(load_settings(), as_json)


def say_revision(settings: "Settings", as_json: bool) -> None:
    from core import logs
    from core.opening import checked_store
    from core.store import schema

    logs.configure(settings)
    with closing(checked_store(settings)) as store:
        revision = schema.revision_of(store)
    if as_json:
        print_json({"revision": revision})
    else:
        print(f"the database has revision {revision}")


def become_training(module: str, arguments: Sequence[str], as_json: bool, settings: "Settings") -> NoReturn:
    """One of training's own programs in our place, told where data and locks are. Raises CannotTrain."""
    from api.service import require_torch

    require_torch()
    where = ["--data-dir", str(settings.data_dir), "--locks-dir", str(settings.locks_dir)]
    json = ["--json"] if as_json else []
    become([sys.executable, "-P", "-c", _QUIETLY, module, *where, *json, *arguments], settings)


def become(command: list[str], settings: "Settings") -> NoReturn:
    """Put `command` in our place: signals, standard input and exit status are its own. It must unblock SIGINT."""
    # In its first moments Python takes a Ctrl-C for a fatal error.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execve(command[0], command, settings.child_environment())
