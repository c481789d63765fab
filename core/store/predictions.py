"""What is kept beside a curve, under the fence that its row is written under: predictions of some epochs, and the
weights at the end."""

from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from core.results import EpochResult, Predictions
from core.store.errors import NotFound, NotKept
from core.store.tables import curve_rows, experiments, is_id, predictions, weights

MOST_WEIGHTS = 256 * 2**20  # bytes; SQL is no place for more


class KeptPredictions(NamedTuple):
    epoch: int
    epochs: list[int]  # all whose predictions are kept
    n_in_domain: int
    n_out_of_domain: int
    predictions: Predictions


def write(tx: Connection, experiment_id: int, result: EpochResult) -> None:
    """With a row that has just been written: once, then."""
    if result.predictions is not None:
        row = {"experiment_id": experiment_id, "epoch": result.epoch, **result.predictions._asdict()}
        tx.execute(insert(predictions).values(row))
    if result.weights is not None and len(result.weights) <= MOST_WEIGHTS:
        tx.execute(insert(weights).values(experiment_id=experiment_id, safetensors=result.weights))


def read(tx: Connection, experiment_id: int, epoch: int | None = None) -> KeptPredictions:
    """The predictions of an epoch, by default the last that is kept. Raises NotFound, NotKept."""
    _require_experiment(tx, experiment_id)
    of_experiment = predictions.c.experiment_id == experiment_id
    epochs = list(tx.execute(select(predictions.c.epoch).where(of_experiment).order_by(predictions.c.epoch)).scalars())
    if not epochs:
        raise NotKept(f"experiment {experiment_id} has no predictions yet")
    wanted = epochs[-1] if epoch is None else epoch
    if wanted not in epochs:
        kept_epochs = ", ".join(map(str, epochs))
        raise NotKept(
            f"experiment {experiment_id} has no predictions of epoch {wanted}: those kept are of {kept_epochs}"
        )
    # The row tells how many images the bits are of.
    row = tx.execute(
        select(
            predictions.c.in_domain,
            predictions.c.out_of_domain,
            curve_rows.c.n_in_domain,
            curve_rows.c.n_out_of_domain,
        )
        .join_from(
            predictions,
            curve_rows,
            (curve_rows.c.experiment_id == predictions.c.experiment_id) & (curve_rows.c.epoch == predictions.c.epoch),
        )
        .where(of_experiment, predictions.c.epoch == wanted)
    ).one()
    kept = Predictions(bytes(row.in_domain), bytes(row.out_of_domain))
    return KeptPredictions(wanted, epochs, row.n_in_domain, row.n_out_of_domain, kept)


def read_weights(tx: Connection, experiment_id: int) -> bytes:
    """The weights after the last epoch, as safetensors. Raises NotFound, NotKept."""
    _require_experiment(tx, experiment_id)
    stored = tx.execute(
        select(weights.c.safetensors).where(weights.c.experiment_id == experiment_id)
    ).scalar_one_or_none()
    if stored is None:
        raise NotKept(f"experiment {experiment_id} has no weights: they are kept when it succeeds, up to 256 MiB")
    return bytes(stored)


def _require_experiment(tx: Connection, experiment_id: int) -> None:
    if (
        not is_id(experiment_id)
        or tx.execute(select(experiments.c.id).where(experiments.c.id == experiment_id)).one_or_none() is None
    ):
        raise NotFound(experiment_id)
