"""The demo: the whole journey in a minute, on a free port and a temporary home, over HTTP like any user."""

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from api.cli.errors import DemoFailed, NotSucceeded
from api.cli.printing import print_json, print_table
from api.client import Client
from api.service import Stop, free_port, service
from core import logs
from core.analysis.figures import draw
from core.analysis.groups import line_of_curve
from core.analysis.panels import Group
from core.settings import load_settings
from core.states import ENDED, State

WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")  # the paper's, on MNIST
EPOCHS = 100


def demo_spec(importance_weight: str) -> dict[str, Any]:
    """What is known of its curve: core/training/README.md, "Known answers"."""
    return {
        "name": f"demo {importance_weight}",
        "dataset": {"name": "digits"},
        "model": {"name": "mlp"},
        "importance_weight": importance_weight,
        "epochs": EPOCHS,
    }


def play(folder: Path, workers: int | None, as_json: bool = False) -> None:
    """Run the demo and write `folder`/curves.json and figure.png; print a table, or as JSON the curves. Raises
    BallastError."""
    stop = Stop()
    curves_file, figure_file = folder / "curves.json", folder / "figure.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in (curves_file, figure_file):
            _refuse_unwritable(file)  # better now than after the training
    except OSError as error:
        raise DemoFailed(f"cannot write {error.filename}: {error.strerror}") from None
    console = Console(stderr=True)
    console.print(f"{len(WEIGHTS)} networks learn to tell 0 from 1, {EPOCHS} epochs each: about a minute on two cores")
    with tempfile.TemporaryDirectory(prefix="ballast-demo-") as home:
        nobody_else = {"host": "127.0.0.1", "allowed_hosts": "", "trusted_proxies": ""}
        settings = load_settings(home=Path(home), port=free_port(), database_url="", broker_url="", **nobody_else)
        logs.configure(settings, logging.WARNING)
        log_file = Path(home) / "workers.log"
        with log_file.open("wb") as log, service(settings, workers, log) as keeps_running:
            console.print(f"serving {settings.address}; posting {len(WEIGHTS)} experiments", highlight=False)
            client = Client(settings.address)
            experiments = [client.submit(demo_spec(weight)) for weight in WEIGHTS]
            for _ in show_progress(client, [experiment["id"] for experiment in experiments], console):
                if stop.asked:
                    raise KeyboardInterrupt
                if not keeps_running():
                    raise DemoFailed(f"the workers ended: {log_file.read_text('utf-8', 'replace')[-500:].strip()}")
            curves = [client.curve(experiment["id"]) for experiment in experiments]
            client.close()
    write_files(curves, curves_file, figure_file)
    if as_json:
        print_json(weights_and_curves(curves))
    else:
        print_result(curves)
        print(f"wrote {curves_file} and {figure_file}")


def _refuse_unwritable(file: Path) -> None:
    """Leaves what is there as it is. Raises OSError."""
    new = not file.exists()
    file.open("ab").close()
    if new:
        file.unlink()


def show_progress(client: Client, ids: list[int], console: Console) -> Iterator[None]:
    """A live progress bar an experiment, until all have ended; yields after every look. Raises NotSucceeded."""
    columns = (
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[int, TaskID] = {
            id_: progress.add_task(weight, total=EPOCHS, state="queued")
            for id_, weight in zip(ids, WEIGHTS, strict=True)
        }
        while bars:
            for id_, bar in list(bars.items()):
                experiment = client.experiment(id_)
                progress.update(bar, completed=experiment["epochs_done"], state=experiment["state"])
                if experiment["state"] in ENDED:
                    progress.stop_task(bar)
                    del bars[id_]
                    if experiment["state"] != State.SUCCEEDED:
                        error = experiment["error"] or {"kind": "cancelled", "message": "somebody cancelled it"}
                        raise NotSucceeded(f"experiment {id_} {error['kind']}: {error['message']}")
            yield
            time.sleep(0.2)


def write_files(curves: list[dict[str, Any]], curves_file: Path, figure_file: Path) -> None:
    curves_file.write_text(json.dumps(weights_and_curves(curves), indent=1))
    lines = [line_of_curve(weight, 0, curve) for weight, curve in zip(WEIGHTS, curves, strict=True)]
    title = "Digits 0 (base) and 1, a network of one hidden layer: share predicted as 0"
    draw([Group("", lines)], title, figure_file, "png")


def weights_and_curves(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"importance_weight": weight, "curve": curve} for weight, curve in zip(WEIGHTS, curves, strict=True)]


def print_result(curves: list[dict[str, Any]]) -> None:
    table = [
        (weight, *(curve[column][epoch - 1] for column in _COLUMNS for epoch in _EPOCHS))
        for weight, curve in zip(WEIGHTS, curves, strict=True)
    ]
    print_table(("weight", *(f"{name} @{epoch}" for name in _COLUMNS.values() for epoch in _EPOCHS)), table)


_COLUMNS = {"base_fraction_in_domain": "in-domain", "base_fraction_out_of_domain": "out-of-domain"}
_EPOCHS = (1, 10, EPOCHS)
