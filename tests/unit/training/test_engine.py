"""The generator: equal specs give equal bits, commands are obeyed at a step, rows hold what they say."""

import math
import struct
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from core.results import EpochResult
from core.training import BadData, Data, Member, train
from core.training import experiment as experiment_module
from core.training.datasets import Examples
from core.training.evaluation import output_indices, predict
from core.training.experiment import Experiment
from core.training.stepping import Batch, Learner, take_step
from tests.unit.training.builders import (
    an_epoch,
    command_after,
    digits,
    in_domain_fraction,
    invented,
    out_of_domain_fraction,
    rows_of,
    same,
    small_mnist,
    spec_of,
)

CNN = {"name": "cnn", "width": 4, "dropout": 0.5}


def as_float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


@pytest.mark.parametrize("model", [CNN, {"name": "resnet", "width": 4}, {"name": "mlp"}], ids=lambda m: m["name"])
def test_a_repeat_gives_the_same_bits_and_another_seed_does_not(model: dict[str, object]) -> None:
    data = invented(channels=1)
    spec, another = (spec_of(model=model, seed=seed) for seed in (0, 1))
    assert same(rows_of(spec, data), rows_of(spec, data))
    assert not same(rows_of(spec, data), rows_of(another, data))


def test_experiments_that_alternate_in_a_process_do_not_disturb_each_other() -> None:
    data = invented(channels=1)
    specs = [spec_of(model=CNN, seed=seed) for seed in (0, 1)]
    together = zip(*(train([Member(spec)], data) for spec in specs), strict=True)
    rows = [[row for _, row in epoch] for epoch in together]
    for i, spec in enumerate(specs):
        assert same([row[i] for row in rows], rows_of(spec, data))


def test_specs_that_differ_in_weight_share_initial_weights_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[list[torch.Tensor]] = []

    def noted(learner: Learner, batch: Batch, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        met[-1] += [part.clone() for part in batch if part is not None]
        return take_step(learner, batch, *others)

    monkeypatch.setattr(experiment_module, "take_step", noted)
    for weight in ("256:1", "1:256"):
        experiment = Experiment(spec_of(model=CNN, importance_weight=weight), invented(), torch.float32)
        met.append([parameter.detach().clone() for parameter in experiment.model.parameters()])
        an_epoch(experiment)
    assert all(torch.equal(a, b) for a, b in zip(*met, strict=True))


def test_on_mnist_a_heavy_weight_predicts_only_its_class() -> None:
    def rows(weight: str) -> list[EpochResult]:
        return rows_of(spec_of(model={"name": "cnn", "width": 16}, importance_weight=weight), small_mnist())

    for row in rows("256:1"):
        assert in_domain_fraction(row) == out_of_domain_fraction(row) == 1.0
        assert not row.diverged
    for row in rows("1:256"):
        assert in_domain_fraction(row) == out_of_domain_fraction(row) == 0.0
        assert not row.diverged


@pytest.mark.parametrize("steps", [0, 1, 7, 16, 20])
def test_a_command_stops_training_before_the_next_step(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    def counted(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal taken
        taken += 1
        return take_step(*args)

    monkeypatch.setattr(experiment_module, "take_step", counted)
    spec = spec_of(epochs=5, eval_every=5)
    assert list(train([Member(spec, command=command_after(steps))], digits())) == []
    assert taken == steps


def test_a_command_stops_an_evaluation_between_its_batches() -> None:
    steps, batches = 10, 1  # 170 images in 16s; 64 in-domain images are one batch, 96 out-of-domain two
    data = invented()
    assert list(train([Member(spec_of(epochs=1), command=command_after(steps + batches + 1))], data)) == []
    assert len(list(train([Member(spec_of(epochs=1), command=command_after(steps + batches + 2))], data))) == 1


def test_rows_come_every_so_many_epochs_and_after_the_last() -> None:
    every = rows_of(spec_of(epochs=7), digits())
    some = rows_of(spec_of(epochs=7, eval_every=3), digits())
    assert [row.epoch for row in some] == [3, 6, 7]
    for row in some:
        assert row._replace(loss=()).same_as(every[row.epoch - 1]._replace(loss=()))
    assert [point for row in some for point in row.loss] == [point for row in every for point in row.loss]


def test_loss_points_average_a_hundred_batches_through_epochs() -> None:
    spec = spec_of(epochs=20, eval_every=4)  # 16 batches an epoch
    rows = rows_of(spec, digits())
    experiment = Experiment(spec_of(epochs=20), digits(), torch.float32)
    losses = [loss for _ in range(20) for loss in an_epoch(experiment).losses.tolist()]
    points = [point for row in rows for point in row.loss]
    assert [point.iteration for point in points] == [100, 200, 300]
    for i, point in enumerate(points):
        assert point.value == as_float32(math.fsum(losses[100 * i : 100 * i + 100]) / 100)
    assert [len(row.loss) for row in rows] == [0, 1, 0, 1, 1]  # at epochs 7, 13 and 19


def test_losses_are_float32_and_counts_are_whole() -> None:
    for row in rows_of(spec_of(epochs=8), digits()):
        for value in (row.train_loss, *(point.value for point in row.loss)):
            assert value == as_float32(value)
        assert row.train_n_base + row.train_n_other == 256  # 269 images, the last incomplete batch dropped
        assert row.train_correct_base <= row.train_n_base
        assert row.n_in_domain == row.finite_in_domain == 91
        assert row.n_out_of_domain == row.finite_out_of_domain == 1437
        assert row.seconds > 0


def test_a_run_that_diverges_ends_with_its_row() -> None:
    rows = rows_of(
        spec_of(
            epochs=50,
            importance_weight="256:1",
            loss={"name": "cross_entropy", "normalization": "batch_size"},
            optimizer={"lr": 1000.0, "momentum": 0.9},
            model={"name": "cnn", "width": 4},
        ),
        invented(),
    )
    assert rows[-1].diverged
    assert rows[-1].finite_in_domain < rows[-1].n_in_domain
    assert not any(row.diverged for row in rows[:-1])
    assert len(rows) < 50


def test_nan_and_ties_are_predicted_as_output_0() -> None:
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [math.nan, 1.0], [0.0, math.nan], [-math.inf, math.inf]])
    assert output_indices(logits).tolist() == [1, 0, 0, 0, 0, 1]


def test_predictions_do_not_depend_on_the_batch_and_say_what_is_finite() -> None:
    data = invented(channels=1)
    experiment = Experiment(spec_of(model={"name": "resnet", "width": 4}), data, torch.float32)
    an_epoch(experiment)
    whole = predict(experiment.model, data.out_of_domain, torch.float32, lambda: False)
    each = [replace(data.out_of_domain, stored=image[None]) for image in data.out_of_domain.stored]
    alone = [predict(experiment.model, one, torch.float32, lambda: False) for one in each]
    assert whole.indices.tolist() == [one.indices.item() for one in alone]
    assert whole.finite.all()


@pytest.mark.parametrize("model", [{"name": "linear"}, {"name": "mlp", "hidden": 4}], ids=lambda m: m["name"])
def test_data_need_not_be_images(model: dict[str, object]) -> None:
    """Two clouds of points, prepared as what they are: numbers with a fraction."""
    labels = torch.arange(64) % 2
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) + 8 * labels.view(-1, 1)
    examples = Examples(points, torch.Tensor.to)
    data = Data(examples, labels, examples, labels, examples, base_index=1, class_sizes=(32, 32))
    row = rows_of(spec_of(model=model, epochs=50), data)[-1]
    assert data.input_shape == (2,)
    assert (row.correct_in_domain, row.base_in_domain, row.base_out_of_domain) == (64, 32, 32)


def test_a_batch_larger_than_the_training_set_is_bad_data() -> None:
    with pytest.raises(BadData, match=r"batch_size 300 is larger than the training set of digits, which has 269"):
        rows_of(spec_of(batch_size=300), digits())


def test_a_null_batch_is_the_whole_training_set() -> None:
    (row, _) = rows_of(spec_of(batch_size=None), digits())
    assert (row.train_n_base, row.train_n_other) == digits().class_sizes
    assert same(rows_of(spec_of(batch_size=269), digits()), rows_of(spec_of(batch_size=None), digits()))


@pytest.mark.parametrize("n", [0, 2])
def test_a_pack_is_one_experiment_for_now(n: int) -> None:
    with pytest.raises(ValueError, match="one experiment a pack"):
        next(train([Member(spec_of())] * n, digits()))


def test_the_other_class_is_counted_as_the_other_class() -> None:
    spec = spec_of(importance_weight="1:1", epochs=5)
    *_, as_0 = rows_of(spec, invented(base_index=0))
    *_, as_1 = rows_of(spec, invented(base_index=1))
    assert as_0.base_in_domain + as_1.base_in_domain == as_0.n_in_domain
    assert (as_0.train_n_base, as_0.train_correct_base) == (as_1.train_n_other, as_1.train_correct_other)
    assert as_0.correct_in_domain == as_1.correct_in_domain > 0.9 * as_0.n_in_domain


def test_training_imports_neither_torchvision_nor_sklearn() -> None:
    heavy = ("torchvision", "sklearn", "PIL", "sqlalchemy")
    code = f"import sys, core.training; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
