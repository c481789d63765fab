"""What commands that speak HTTP share: the service at `BALLAST_URL`, and how experiments and sweeps are named."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from api.cli.http.patience import say_when_trying
from api.client import Client
from core.address import service_url

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]
AnId = Annotated[int | None, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]
SweepOption = Annotated[
    int | None, typer.Option("--sweep", metavar="SWEEP", min=1, help="The number of a sweep, instead.")
]
From = Annotated[
    int | None, typer.Option("--from", metavar="ID", min=1, help="The spec of this experiment, without its name.")
]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the spec.")]
Priority = Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")]


@contextmanager
def connected() -> Iterator[Client]:
    client = Client(service_url() or _settled_url())
    say_when_trying("for 20 seconds")
    try:
        yield client
    finally:
        client.close()


def _settled_url() -> str:
    """Raises SettingsError."""
    from core.settings import load_settings

    return load_settings().url


def one_of(id: int | None, sweep: int | None) -> int:
    """The one that is given. Raises BadParameter for both or none."""
    if (id is None) == (sweep is None):
        raise typer.BadParameter("give the number of an experiment, or --sweep with that of a sweep")
    return id or sweep or 0
