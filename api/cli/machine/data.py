"""`ballast data`: makes data ready before the first experiment, not by its failure. Training's own code reads it, in a
process of its own.
"""

from typing import Annotated

import typer

from api.cli.machine.handover import exec_training
from api.cli.printing import AsJson

data = typer.Typer(no_args_is_help=True, help="Data sets and folders of images.")
app = typer.Typer()
app.add_typer(data, name="data")


@data.command(epilog="Example: ballast data fetch digits")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="digits, mnist, fashion_mnist or cifar10.")],
    as_json: AsJson = False,
) -> None:
    """Download a data set into BALLAST_DATA_DIR, unless it is there."""
    from core.settings import load_settings

    exec_training("core.training.programs.data", ["fetch", "--", name], as_json, load_settings())


@data.command(epilog="Example: ballast data check digits")
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A data set, or a folder under BALLAST_DATA_DIR/folders.")
    ],
    as_json: AsJson = False,
) -> None:
    """Count the images of each class and list every file that cannot be read. Downloads nothing."""
    from core.settings import load_settings

    exec_training("core.training.programs.data", ["check", "--", name], as_json, load_settings())
