"""Commands that fetch what came of an experiment: its curve, and what is kept beside it."""

from base64 import b64decode
from pathlib import Path
from typing import Annotated

import typer

from api.cli.http.arguments import Id
from api.cli.http.connection import service_client
from api.cli.printing import (
    AsJson,
    fraction,
    number_ranges,
    on_terminal,
    print_json,
    print_table,
    refuse_binary_on_terminal,
    sparkline,
    write_file,
)

app = typer.Typer()


@app.command(epilog="Example: ballast curve 417 --after 100")
def curve(
    id: Id,
    after: Annotated[int, typer.Option(min=0, help="Only rows after this epoch.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the curve of an experiment."""
    with service_client() as client:
        answer = client.curve(id, after)
    if as_json:
        print_json(answer)
        return
    columns = ("epoch", "base_fraction_in_domain", "base_fraction_out_of_domain", "train_loss", "accuracy_in_domain")
    print_table(
        ("epoch", "base in-domain", "base out-of-domain", "train loss", "accuracy"),
        zip(*(answer[column] for column in columns), strict=True),
    )
    if on_terminal():
        print(f"\nbase fraction in-domain      {sparkline(answer['base_fraction_in_domain'])}")
        print(f"base fraction out-of-domain  {sparkline(answer['base_fraction_out_of_domain'])}")


@app.command(epilog="Example: ballast predictions 417 --epoch 1")
def predictions(
    id: Id,
    epoch: Annotated[int | None, typer.Option(min=1, help="One that is kept; by default the last.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which predictions are kept, and how many images of each test set are predicted as the base class; with --json
    image by image."""
    with service_client() as client:
        answer = client.predictions(id, epoch)
    if as_json:
        print_json(answer)
        return
    rows = []
    for name, images in answer["sets"].items():
        base = sum(map(int.bit_count, b64decode(images["base64"])))
        rows.append((name.replace("_", "-"), images["n"], base, fraction(base / images["n"] if images["n"] else None)))
    print_table(("test set", "images", "base", "base fraction"), rows)
    print(f"after epoch {answer['epoch']}; predictions are kept of epochs {number_ranges(answer['epochs'])}")


@app.command(epilog="Example: ballast weights 417 --out weights.safetensors")
def weights(
    id: Id,
    out: Annotated[
        Path | None, typer.Option(help="By default experiment-ID.safetensors; - is standard output.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download the weights of an experiment after its last epoch, as safetensors."""
    file = out or Path(f"experiment-{id}.safetensors")
    refuse_binary_on_terminal(file, as_json)
    with service_client() as client:
        content = client.weights(id)
    write_file(file, content, {"experiment_id": id}, as_json)
