"""Commands that touch the machine. Whatever needs torch is a subprocess of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from api.cli.demo import play
from api.cli.printing import AsJson, note
from api.service import api as serve_api
from api.service import bind, service
from core import logs
from core.opening import prepare_home, sole_service
from core.settings import load_settings
from core.store import schema
from core.store.session import Store

INTERRUPTED = 130

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")

Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes; by default one a GPU, else one a core, at most 4.")
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Instead of BALLAST_PORT.")]


@app.command(epilog="Example: ballast up --workers 2")
def up(workers: Workers = None, port: Port = None) -> None:
    """Migrate the database, start API and workers, and serve until Ctrl-C."""
    settings = load_settings(**({} if port is None else {"port": port}))
    logs.configure(settings)
    stop = Stop()
    with service(settings, workers) as launcher:
        print(f"Ballast serves {settings.address} (data in {settings.home}); Ctrl-C stops it", flush=True)
        while not stop.asked and launcher.poll() is None:
            time.sleep(0.1)
        if stop.asked:
            note("stopping: running experiments go back into the queue")
        else:
            note("the workers have ended: stopping")
            raise typer.Exit(1)


@app.command(epilog="Example: ballast demo --out my-demo")
def demo(
    workers: Workers = None,
    folder: Annotated[Path, typer.Option("--out", help="Where curves.json and figure.png go.")] = Path("demo"),
) -> None:
    """Five weights, real digits, real workers: draws the figure in a minute, then stops."""
    play(folder, workers)


@app.command(epilog="Example: BALLAST_DATABASE_URL=postgresql://me@db/ballast ballast api")
def api(port: Port = None) -> None:
    """Serve the API alone; workers run elsewhere, by `ballast worker`."""
    settings = load_settings(**({} if port is None else {"port": port}))
    logs.configure(settings)
    stop = Stop()
    with sole_service(settings), bind(settings) as listener, serve_api(settings, listener):
        print(f"Ballast serves {settings.address}; Ctrl-C stops it", flush=True)
        while not stop.asked:
            time.sleep(0.1)


@app.command(epilog="Example: BALLAST_DEVICE=cuda:0 ballast worker --workers 1")
def worker(workers: Workers = None) -> None:
    """Train what is queued, on this host's devices, until Ctrl-C."""
    settings = load_settings()
    command = [sys.executable, "-P", "-m", "worker"]
    if workers is not None:
        command += ["--workers", str(workers)]
    run_child(command, settings.child_environment())


@app.command(epilog="Example: ballast run spec.json")
def run(
    file: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Train one spec here and now, without any service."""
    settings = load_settings()
    command = [sys.executable, "-P", "-m", "core.training", str(file), "--data-dir", str(settings.data_dir)]
    command += ["--locks-dir", str(settings.locks_dir), "--threads", str(settings.threads)]
    if settings.device != "auto":
        command += ["--device", settings.device]
    run_child(command + ["--json"] * as_json, settings.child_environment())


@db.command(epilog="Example: ballast db upgrade")
def upgrade() -> None:
    """Bring the database to this version's schema."""
    settings = load_settings()
    if settings.embedded_database:
        prepare_home(settings)
    schema.upgrade(settings.database_url)
    print(f"the database has revision {schema.REVISION}")


@db.command(epilog="Example: ballast db check")
def check() -> None:
    """Say whether the database answers and has this version's schema."""
    store = Store(load_settings().database_url)
    try:
        schema.require(store)
    finally:
        store.close()
    print(f"the database has revision {schema.REVISION}")


class Stop:
    """Asked for by SIGTERM and Ctrl-C, which mean the same: leave in order. A plain flag, since a handler that sets an
    Event while we wait on it may hang for ever."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def run_child(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Run `command` in our place. Ctrl-C and SIGTERM mean the same to it: SIGTERM. Exits with its status."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.terminate())
    status = process.wait()
    raise typer.Exit(status if status >= 0 else INTERRUPTED)
