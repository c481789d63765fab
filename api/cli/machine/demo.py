"""`ballast demo`: what is typed for it. The demo itself is `journey`, which imports what serves and draws."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.machine.serving import Workers
from api.cli.printing import AsJson

app = typer.Typer()


@app.command(epilog="Example: ballast demo --out my-demo")
def demo(
    workers: Workers = None,
    folder: Annotated[Path, typer.Option("--out", help="Where curves.json and figure.png go.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Five weights, real digits, real workers: draws the figure in a minute, then stops."""
    from api.cli.machine.journey import play

    play(folder, workers, as_json)
