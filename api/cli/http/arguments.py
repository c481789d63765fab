"""Arguments and options that several commands take: how experiments and sweeps are named, and what is made of them."""

from typing import Annotated

import typer

from api import client

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]
OptionalId = Annotated[int | None, typer.Argument(metavar="ID", min=1, help="The number of an experiment.")]
SweepOption = Annotated[
    int | None, typer.Option("--sweep", metavar="SWEEP", min=1, help="The number of a sweep, instead.")
]
From = Annotated[
    int | None, typer.Option("--from", metavar="ID", min=1, help="The spec of this experiment, without its name.")
]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the spec.")]
Priority = Annotated[int, typer.Option(min=-100, max=100, help="One point is worth an hour of waiting.")]


Device = Annotated[
    client.Device | None, typer.Option(help="On what it may train; by default any, or that of what it goes on from.")
]


def id_or_sweep(id: int | None, sweep: int | None) -> int:
    """The one that is given. Raises BadParameter for both or none."""
    if (id is None) == (sweep is None):
        raise typer.BadParameter("give the number of an experiment, or --sweep with that of a sweep")
    return id or sweep or 0
