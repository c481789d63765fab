"""What tells explanations apart: by hand, by the reference, and changing nothing of what it looks at."""

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import torch as safetensors

from core.results import Checkpoint, Command, Diagnostics, EpochResult
from core.spec import Spec
from core.training import BadCheckpoint, Data, Member, load, train
from core.training.checkpoint import decode, encode
from core.training.datasets import Examples, noise_beside
from core.training.diagnostics import dead_shares, diagnose, peaks
from core.training.evaluation import Outputs
from core.training.experiment import Experiment, Met
from core.training.models import build
from core.training.weights import model_with
from tests.unit.training.builders import an_epoch, command_after, invented, locks_dir, rows_of, same, spec_of
from tests.unit.training.reference import reference

LEARNING = {"importance_weight": "4:1", "epochs": 3}
CASES = {
    "cnn": spec_of(model={"name": "cnn", "width": 4}, **LEARNING),
    "cnn with dropout": spec_of(model={"name": "cnn", "width": 4, "dropout": 0.5}, **LEARNING),
    "resnet with batch norm": spec_of(model={"name": "resnet", "width": 4}, **LEARNING),
    "resnet without batch norm": spec_of(model={"name": "resnet", "width": 4, "batch_norm": False}, **LEARNING),
    "mlp": spec_of(model={"name": "mlp", "hidden": 8}, **LEARNING),
    "linear": spec_of(model={"name": "linear"}, **LEARNING),
    "cnn in bf16": spec_of(model={"name": "cnn", "width": 4, "dropout": 0.3}, precision="bf16", **LEARNING),
    "resnet in bf16": spec_of(model={"name": "resnet", "width": 4}, precision="bf16", **LEARNING),
}


def with_diagnostics(spec: Spec) -> Spec:
    return spec.model_copy(update={"diagnostics": True})


@cache
def data() -> Data:
    return invented()


@pytest.mark.parametrize("base_index", [0, 1])
@pytest.mark.parametrize("case", [name for name, spec in CASES.items() if spec.precision == "fp32"])
def test_they_are_those_of_the_reference(case: str, base_index: int) -> None:
    on = invented(base_index=base_index)
    expected = reference(CASES[case], on).diagnostics
    *_, (_, row) = train([Member(with_diagnostics(CASES[case]))], on, dtype=torch.float64)
    ours = row.diagnostics._asdict()
    assert ours["dead_units"] == pytest.approx(expected.pop("dead_units"), rel=1e-7)
    assert {name: ours[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def two_points() -> Data:
    """x = -1 of the other class, which is output 0, and x = 2 of the base class."""
    points = Examples(torch.tensor([[-1.0], [2.0]]), lambda stored, dtype: stored.to(dtype))
    labels = torch.tensor([0, 1])
    return Data(points, labels, points, labels, points, base_index=1, class_sizes=(1, 1))


def test_a_linear_network_on_two_points_by_hand() -> None:
    """From zero, with weight 3:1 and lr 0.1. The gradient of the loss by the two logits is ∓3/8 at x = 2 and ±1/8 at
    x = -1, so that of the weight of the base output is -3/8 · 2 + 1/8 · -1 = -7/8, that of its bias -3/8 + 1/8 = -1/4;
    the other output has the opposite. After the step, f_base - f_other = 2 (0.0875 x + 0.025)."""
    spec = spec_of(model={"name": "linear"}, batch_size=None, importance_weight="3:1", diagnostics=True)
    experiment = Experiment(spec, two_points(), torch.float32)
    with torch.no_grad():
        for parameter in experiment.model.parameters():
            parameter.zero_()
    first, norm = an_epoch(experiment), math.sqrt(2 * 0.0875**2 + 2 * 0.025**2)
    assert first.met is not None
    assert diagnose(experiment.model, first.met, 1, ()) == Diagnostics(
        *(pytest.approx(math.log(2)),) * 2, *(0.0,) * 4, *(pytest.approx(norm),) * 2, pytest.approx(0.05), 0, 0, 0, ()
    )
    second = an_epoch(experiment)
    assert second.met is not None
    seen = diagnose(experiment.model, second.met, 1, ())
    assert (seen.margin_base, seen.margin_other) == pytest.approx((0.4, 0.125))
    assert (seen.margin_low_base, seen.margin_low_other) == (seen.margin_base, seen.margin_other)
    assert (seen.loss_base, seen.loss_other) == pytest.approx(
        (math.log1p(math.exp(-0.4)), math.log1p(math.exp(-0.125)))
    )


def test_margins_are_of_points_with_any_number_of_coordinates() -> None:
    """In space as in the plane: before the first step, by the initial weights."""
    base, other = [[1.0, 2.0, 3.0], [0.5, 2.0, 4.0]], [[3.0, 1.0, -1.0]]
    spec = spec_of(
        dataset={"name": "points", "base": base, "other": other},
        model={"name": "linear"},
        batch_size=None,
        epochs=1,
        diagnostics=True,
    )
    (row,) = rows_of(spec, load(spec.dataset, Path("unused"), locks_dir()))
    logits = build(spec.model, (3,), spec.seed, spec.precision)(torch.tensor(base + other)).detach()
    assert row.diagnostics
    assert row.diagnostics.margin_base == pytest.approx((logits[:2, 0] - logits[:2, 1]).mean().item(), abs=1e-6)
    assert row.diagnostics.margin_other == pytest.approx((logits[2, 1] - logits[2, 0]).item(), abs=1e-6)


def test_layers_whose_units_are_dead_by_construction() -> None:
    """A unit with bias -1 and no weight is dead; one that a single image brings to life is not."""
    network = build(spec_of(model={"name": "mlp", "hidden": 4}).model, (1, 32, 32), seed=0)
    with torch.no_grad():
        network.hidden.weight.zero_()  # type: ignore[union-attr, operator]
        network.hidden.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, -1.0]))  # type: ignore[union-attr, operator]
        network.hidden.weight[3, 7] = 2.0  # type: ignore[index, operator]
    images = torch.zeros(5, 1, 32, 32)
    with torch.no_grad(), peaks(network.rectified()) as highest:
        network(images)
    assert dead_shares(highest) == (0.75,)
    images[4, 0, 0, 7] = 1.0
    with torch.no_grad(), peaks(network.rectified()) as highest:
        network(images[:2])
        network(images[2:])
    assert dead_shares(highest) == (0.5,)


@pytest.mark.parametrize("model", [{"name": "cnn", "width": 2}, {"name": "resnet", "width": 2, "batch_norm": False}])
def test_a_network_whose_first_channels_are_dead(model: dict[str, object]) -> None:
    network = build(spec_of(model=model).model, (1, 32, 32), seed=0)
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    assert first.bias is not None
    with torch.no_grad():
        first.weight.zero_()
        first.bias.copy_(torch.tensor([-1.0, 1.0]))
        with peaks(network.rectified()) as highest:
            network(torch.zeros(3, 1, 32, 32))
    assert dead_shares(highest)[0] == 0.5
    assert len(highest) == len(network.rectified())


def test_a_unit_that_is_nan_is_not_dead_and_nobody_watches_for_longer_than_asked() -> None:
    network = build(spec_of(model={"name": "mlp", "hidden": 2}).model, (1, 32, 32), seed=0)
    with torch.no_grad(), peaks(network.rectified()) as highest:
        network(torch.full((1, 1, 32, 32), math.nan))
        network(torch.zeros(1, 1, 32, 32))
    assert dead_shares(highest) == (0.0,)
    seen = dict(highest)
    network(torch.full((1, 1, 32, 32), 1e6))
    assert all(highest[layer] is peak for layer, peak in seen.items())


def of_margins(base: list[float], other: list[float]) -> Diagnostics:
    """Of a batch whose images have these margins; the base class is output 1."""
    logits = torch.tensor([[-z, 0.0] for z in other] + [[0.0, z] for z in base])
    logits[: len(other)] *= -1
    labels = torch.tensor([0] * len(other) + [1] * len(base))
    network = build(spec_of(model={"name": "linear"}).model, (1, 32, 32), seed=0)
    return diagnose(network, Met(logits.unsqueeze(0), labels.unsqueeze(0)), 1, ())


def test_the_low_margin_is_one_that_five_of_a_hundred_do_not_exceed() -> None:
    seen = of_margins([float(z) for z in range(100, 0, -1)], [float(z) for z in range(21)])
    assert (seen.margin_low_base, seen.margin_low_other) == (5.0, 1.0)
    assert (seen.margin_base, seen.margin_other) == (50.5, 10.0)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=300))
def test_the_low_margin_is_the_lowest_with_a_twentieth_at_or_below_it(margins: list[float]) -> None:
    low = of_margins(margins, []).margin_low_base
    assert low in margins
    assert 20 * sum(z <= low for z in margins) >= len(margins)
    assert 20 * sum(z < low for z in margins) < len(margins)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50))
def test_the_loss_is_that_of_torch(margins: list[float]) -> None:
    logits = torch.tensor([[0.0, z] for z in margins], dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits, torch.ones(len(margins), dtype=torch.int64)).item()
    assert of_margins(margins, [1.0]).loss_base == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_what_is_not_finite_or_was_not_met_is_nan_for_its_class_alone() -> None:
    seen = of_margins([], [1.0, math.inf])
    assert all(math.isnan(value) for value in (seen.loss_base, seen.margin_base, seen.margin_low_base))
    assert (seen.margin_other, seen.margin_low_other) == (math.inf, 1.0)
    seen = of_margins([math.nan, 1.0], [-math.inf])
    assert all(math.isnan(value) for value in (seen.loss_base, seen.margin_base, seen.margin_low_base))
    assert (seen.loss_other, seen.margin_other) == (math.inf, -math.inf)


def with_a_checkpoint_a_step(spec: Spec) -> tuple[list[EpochResult], bytes]:
    """Its rows, and the checkpoint after three steps of the second epoch."""
    results = [result for _, result in train([Member(spec, command=lambda: Command.SAVE)], data())]
    (content,) = [
        each.content for each in results if isinstance(each, Checkpoint) and (each.epoch, each.step) == (1, 3)
    ]
    return [result for result in results if isinstance(result, EpochResult)], content


@pytest.mark.parametrize("case", CASES)
def test_nothing_else_knows_of_them(case: str) -> None:
    """Rows, predictions, weights and checkpoints have the bits that they have without."""
    (off, stopped_off), (on, stopped_on) = map(with_a_checkpoint_a_step, (CASES[case], with_diagnostics(CASES[case])))
    assert [row.epoch for row in on] == [1, 2, 3]
    for one, other in zip(off, on, strict=True):
        assert one.diagnostics is None
        assert other.diagnostics is not None
        assert one.same_as(other._replace(diagnostics=None))
        assert one.predictions == other.predictions
    assert tensors_of(off[-1]) == tensors_of(on[-1])
    assert encode(decode(stopped_on)._replace(logits=None)) == stopped_off


def tensors_of(row: EpochResult) -> dict[str, object]:
    assert row.weights is not None
    return {name: tensor.tolist() for name, tensor in safetensors.load(row.weights).items()}


def rows_from(spec: Spec, content: bytes) -> list[EpochResult]:
    return [row for _, row in train([Member(spec, content)], data())]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_goes_on_in_mid_epoch_has_the_same_bit_for_bit(case: str) -> None:
    rows, content = with_a_checkpoint_a_step(with_diagnostics(CASES[case]))
    more = rows_from(with_diagnostics(CASES[case]), content)
    assert same(rows[1:], more)
    assert [row.diagnostics for row in rows[1:]] == [row.diagnostics for row in more]


def test_a_checkpoint_that_does_not_hold_what_they_need_is_of_another_experiment() -> None:
    _, content = with_a_checkpoint_a_step(CASES["mlp"])
    with pytest.raises(BadCheckpoint, match="of another experiment"):
        next(train([Member(with_diagnostics(CASES["mlp"]), content)], data()))


def test_with_rare_rows_they_are_of_the_epoch_of_the_row() -> None:
    spec = with_diagnostics(CASES["mlp"])
    *_, every = rows_of(spec, data())
    (rare,) = rows_of(spec.model_copy(update={"eval_every": 3}), data())
    assert rare.diagnostics == every.diagnostics


def test_the_noise_is_uniform_the_same_for_all_and_prepared_as_the_data_are() -> None:
    noise = noise_beside(data())
    assert noise is not None
    assert noise.stored.shape == (1000, 3, 32, 32)
    counts = torch.bincount(noise.stored.flatten().int(), minlength=256).double()
    mean = 1000 * 3 * 32 * 32 / 256
    assert ((counts - mean) ** 2 / mean).sum() < 360  # chi squared of 255 degrees of freedom: one in 100 000 is above
    again = noise_beside(invented(n=40))
    assert again is not None
    assert torch.equal(noise.stored, again.stored)
    assert noise.inputs(slice(1), torch.float32).aminmax() == (-1.0, 1.0)


@pytest.mark.parametrize("base_index", [0, 1])
def test_the_base_fraction_of_noise_is_that_of_the_network(base_index: int) -> None:
    spec, on = with_diagnostics(CASES["mlp"]), invented(base_index=base_index)
    last = rows_of(spec, on)[-1]
    noise = noise_beside(on)
    assert last.weights is not None
    assert last.diagnostics is not None
    assert noise is not None
    logits = model_with(spec, (3, 32, 32), last.weights)(noise.inputs(slice(None), torch.float32))
    assert (last.diagnostics.n_noise, last.diagnostics.finite_noise) == (1000, 1000)
    assert last.diagnostics.base_noise == int((logits.argmax(1) == base_index).sum())


def test_where_the_data_are_no_images_there_is_no_noise() -> None:
    spec = spec_of(model={"name": "linear"}, batch_size=None, diagnostics=True)
    assert noise_beside(two_points()) is None
    seen = rows_of(spec, two_points())[-1].diagnostics
    assert seen is not None
    assert (seen.n_noise, seen.base_noise, seen.finite_noise) == (0, 0, 0)


def test_noise_whose_logits_are_not_finite_ends_no_run() -> None:
    """It would change when a run ends: they are counted."""
    network = build(spec_of(model={"name": "linear"}).model, (1,), seed=0)
    outputs = Outputs(torch.tensor([0, 1, 1]), torch.tensor([False, True, True]))
    met = Met(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))
    seen = diagnose(network, met, 1, (), outputs)
    assert (seen.n_noise, seen.base_noise, seen.finite_noise) == (3, 2, 2)


@pytest.mark.parametrize("calls", range(10, 31, 3))
def test_a_run_stopped_in_its_evaluation_of_noise_goes_on_with_it(calls: int) -> None:
    spec = with_diagnostics(CASES["mlp"])
    results = [result for _, result in train([Member(spec, command=command_after(calls, Command.STOP))], data())]
    (content,) = [each.content for each in results if isinstance(each, Checkpoint)]
    rows = [result for result in results if isinstance(result, EpochResult)]
    assert same(rows + rows_from(spec, content), rows_of(spec, data()))
