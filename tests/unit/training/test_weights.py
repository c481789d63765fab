"""What is kept beside a curve: the predictions and the weights say the same as the row."""

from typing import Any

import numpy as np
import pytest

from core.results import EpochResult
from core.spec import Spec
from core.training import BadData, Data, model_with, predict
from tests.unit.training.builders import digits, invented, rows_of, spec_of

NETWORKS = [
    {"name": "linear"},
    {"name": "mlp", "hidden": 16},
    {"name": "cnn", "width": 4, "dropout": 0.5},
    {"name": "resnet", "width": 4, "batch_norm": True},
    {"name": "resnet", "width": 4, "batch_norm": False},
]
NARROW = [(model, "bf16") for model in NETWORKS if model["name"] in ("cnn", "resnet")]


def unpacked(bits: bytes, n: int) -> list[int]:
    found: list[int] = np.unpackbits(np.frombuffer(bits, np.uint8))[:n].tolist()
    return found


def again(spec: Spec, data: Data, weights: bytes) -> tuple[list[int], list[int]]:
    """What a network with these weights predicts: 1 for the base class."""
    model = model_with(spec, data.input_shape, weights)
    tested = [predict(model, examples) for examples in (data.in_domain, data.out_of_domain)]
    in_domain, out_of_domain = [(each.indices == data.base_index).int().tolist() for each in tested if each]
    return in_domain, out_of_domain


@pytest.mark.parametrize("base_index", [0, 1])
@pytest.mark.parametrize(("model", "precision"), [*((model, "fp32") for model in NETWORKS), *NARROW], ids=str)
def test_weights_and_predictions_give_the_fractions_of_the_row(
    model: dict[str, Any], precision: str, base_index: int
) -> None:
    data = invented(base_index=base_index)
    spec = spec_of(dataset={"name": "cifar10"}, model=model, epochs=2, precision=precision)
    last: EpochResult = rows_of(spec, data)[-1]
    assert last.predictions is not None
    assert last.weights is not None
    in_domain = unpacked(last.predictions.in_domain, last.n_in_domain)
    out_of_domain = unpacked(last.predictions.out_of_domain, last.n_out_of_domain)
    assert (sum(in_domain), sum(out_of_domain)) == (last.base_in_domain, last.base_out_of_domain)
    assert again(spec, data, last.weights) == (in_domain, out_of_domain)
    right = np.array(in_domain) == (data.in_domain_labels == base_index).int().numpy()
    assert right.sum() == last.correct_in_domain


def test_they_are_kept_of_the_epochs_that_the_spec_names() -> None:
    rows = rows_of(spec_of(epochs=60, model={"name": "linear"}), digits())
    assert [row.epoch for row in rows if row.predictions] == [1, 2, 4, 8, *range(11, 61)]
    assert [row.epoch for row in rows if row.weights] == [60]


def test_nothing_is_kept_of_a_row_that_diverged() -> None:
    spec = spec_of(optimizer={"lr": 1000.0}, epochs=1, model={"name": "cnn", "width": 4})
    (row,) = rows_of(spec, digits())
    assert row.diverged
    assert (row.predictions, row.weights) == (None, None)


@pytest.mark.parametrize("damage", [lambda weights: weights[:-7], lambda _: b"", lambda _: b"\xff" * 99])
def test_damaged_weights_are_refused_in_a_sentence(damage: Any) -> None:
    spec = spec_of(epochs=1)
    (row,) = rows_of(spec, digits())
    with pytest.raises(BadData, match="not the weights of such a mlp"):
        model_with(spec, (1, 32, 32), damage(row.weights))
    with pytest.raises(BadData, match="not the weights of such a linear"):
        model_with(spec_of(model={"name": "linear"}), (1, 32, 32), row.weights or b"")
