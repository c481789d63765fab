"""`ballast run`: trains one spec here and now, for debugging a model or a loss. Training's own code does, in a process
of its own.
"""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.machine.handover import exec_training
from api.cli.printing import AsJson

app = typer.Typer()


@app.command(epilog="Example: ballast run spec.json")
def run(
    file: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file; - reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Train one spec here and now, without any service."""
    from core.settings import load_settings

    settings = load_settings()
    device = [] if settings.device == "auto" else ["--device", settings.device]
    exec_training(
        "core.training.programs.train", [str(file), "--threads", str(settings.threads), *device], as_json, settings
    )
