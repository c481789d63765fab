"""`ballast up`, `api` and `worker`: what serves and trains on this machine until it is told to leave. How API and
launcher are started and stopped is `api.service`.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.machine.handover import exec_command
from core.streams import print_line

if TYPE_CHECKING:
    from core.settings import Settings

# Ten seconds on two cores, and no download.
_FIRST_FIGURE = "sweep figure-2 --set dataset.name=digits --set model.name=mlp --set epochs=20 --watch"

app = typer.Typer()

Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes; by default one a GPU, else one a core, as memory allows.")
]
Devices = Annotated[
    str | None,
    typer.Option(help="all (every GPU), cpu, cuda:N or cuda:N,cuda:M: a process a GPU. Instead of BALLAST_DEVICE."),
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="On the CPU, by default one a core, as memory allows; or on a single GPU.")
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
    with service(settings, workers) as keeps_running:
        print_line(f"Ballast serves {settings.address} (data in {settings.home}); Ctrl-C stops it")
        print_line(f"{settings.address}/docs documents the API; a first figure, from another terminal:")
        print_line(f"    {_command(settings)} {_FIRST_FIGURE}")
        while not stop.asked and keeps_running():
            time.sleep(0.1)
        if not stop.asked:
            raise typer.Exit(1)
        log.info("stopping: running experiments go back into the queue")


def _command(settings: "Settings") -> str:
    """`ballast` as another terminal finds it, and finds this service."""
    where = "" if settings.address == "http://127.0.0.1:8000" else f"BALLAST_URL={settings.address} "
    return where + shlex.quote(str(Path(sys.argv[0]).absolute()))


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
        print_line(f"Ballast serves {settings.address}; Ctrl-C stops it")
        while not stop.asked and serves():
            time.sleep(0.1)
    if not stop.asked:
        raise typer.Exit(1)


@app.command(epilog="Example: ballast worker --devices cpu --processes 2")
def worker(devices: Devices = None, processes: Processes = None) -> None:
    """Train what is queued, on this host's devices, until Ctrl-C."""
    from api.service import launcher_command
    from core.settings import load_settings

    exec_command(launcher_command(processes, devices), load_settings())
