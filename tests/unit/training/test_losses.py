"""Each loss against numbers worked out by hand, its formula in plain Python, its own gradient, and what it reduces to;
and the three normalisations, which are the same for all."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from core.spec import AnyLoss, ImportanceWeight, Spec
from core.training.losses import Objective, objective
from tests.unit.training.builders import spec_of
from tests.unit.training.reference import loss_of

Batch = list[tuple[float, float, int]]  # both logits, and the label

positive = st.floats(1e-3, 1e3)
logit = st.floats(-20, 20)
batches = st.lists(st.tuples(logit, logit, st.integers(0, 1)), min_size=1, max_size=20)
class_sizes = st.tuples(st.integers(1, 50), st.integers(1, 50))
NORMALIZATIONS = ("weight_sum", "batch_size", "dataset_mean")
EVEN = ImportanceWeight(1, 1)
LOSSES: list[dict[str, Any]] = [
    {"name": "cross_entropy"},
    {"name": "polynomial"},
    {"name": "polynomial", "alpha": 0.5, "weight_exponent": 1.5},
    {"name": "logit_adjusted"},
    {"name": "vs"},
    {"name": "vs", "tau": 0.5, "gamma": 1},
    {"name": "ldam"},
    {"name": "ldam", "max_margin": 2, "scale": 1.5},
    {"name": "focal"},
    {"name": "focal", "gamma": 0.5},
]
every_loss = pytest.mark.parametrize("fields", LOSSES, ids=str)


def of(fields: dict[str, Any], **more: Any) -> AnyLoss:
    return TypeAdapter[AnyLoss](AnyLoss).validate_python(fields | more)


def made(
    fields: dict[str, Any],
    sizes: tuple[int, int] = (4, 4),
    weights: ImportanceWeight = EVEN,
    base_index: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Objective:
    return objective(of(fields), weights, base_index, sizes, dtype=dtype)


def tensors(batch: Batch, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    logits = torch.tensor([[a, b] for a, b, _ in batch], dtype=dtype, requires_grad=True)
    return logits, torch.tensor([label for _, _, label in batch])


def in_plain_python(fields: dict[str, Any], example: tuple[float, float, int], sizes: tuple[int, int]) -> float:
    """The loss of one example, as README's table says it."""
    loss, (*f, y) = of(fields), example
    n, n_y, n_other = sum(sizes), sizes[y], sizes[1 - y]
    right, wrong = f[y], f[1 - y]
    match loss.name:
        case "cross_entropy":
            return cross_entropy(right, wrong)
        case "polynomial":
            z = right - wrong
            return cross_entropy(right, wrong) / math.log(1 + math.exp(-1)) if z <= 1 else 1 / z**loss.alpha
        case "logit_adjusted":
            return cross_entropy(right + loss.tau * math.log(n_y / n), wrong + loss.tau * math.log(n_other / n))
        case "vs":
            factor, other = ((size / max(sizes)) ** loss.gamma for size in (n_y, n_other))
            return cross_entropy(
                factor * right + loss.tau * math.log(n_y / n), other * wrong + loss.tau * math.log(n_other / n)
            )
        case "ldam":
            margin = loss.max_margin * n_y**-0.25 / min(sizes) ** -0.25
            return cross_entropy(loss.scale * (right - margin), loss.scale * wrong)
        case "focal":
            p_wrong = 1 / (1 + math.exp(right - wrong))
            return p_wrong**loss.gamma * cross_entropy(right, wrong)
        case _:
            raise ValueError(loss.name)


def cross_entropy(right: float, wrong: float) -> float:
    z = right - wrong
    return math.log1p(math.exp(-z)) if z > 0 else -z + math.log1p(math.exp(z))


def test_every_loss_of_the_spec_is_tested_here() -> None:
    names = Spec.model_json_schema()["properties"]["loss"]["discriminator"]["mapping"]
    assert {fields["name"] for fields in LOSSES} == set(names)


@pytest.mark.parametrize(
    ("fields", "sizes", "example", "loss"),
    [
        ({"name": "cross_entropy"}, (4, 4), (0, math.log(3), 1), math.log(4 / 3)),
        ({"name": "cross_entropy"}, (4, 4), (0, math.log(3), 0), math.log(4)),
        # log(1 + e^-1) = 0.3132617
        ({"name": "polynomial"}, (4, 4), (0, 0, 1), 0.6931472 / 0.3132617),
        ({"name": "polynomial"}, (4, 4), (0, 1, 1), 1),
        ({"name": "polynomial"}, (4, 4), (0, 2, 1), 1 / 2),
        ({"name": "polynomial"}, (4, 4), (2, 0, 0), 1 / 2),
        ({"name": "polynomial", "alpha": 2}, (4, 4), (3, 0, 0), 1 / 9),
        ({"name": "polynomial", "alpha": 0.5}, (4, 4), (5, 1, 0), 1 / 2),
        ({"name": "polynomial", "alpha": 2}, (4, 4), (0, 1, 0), 1.3132617 / 0.3132617),
        # One image in four is of output 0: log 4 in the place of log 2.
        ({"name": "logit_adjusted"}, (1, 3), (0, 0, 0), math.log(4)),
        ({"name": "logit_adjusted"}, (1, 3), (0, 0, 1), math.log(4 / 3)),
        ({"name": "logit_adjusted", "tau": 2}, (1, 3), (5, 5, 0), math.log(10)),  # 1/16 and 9/16
        ({"name": "logit_adjusted"}, (1, 3), (math.log(3), 0, 0), math.log(2)),  # the logit makes up for it
        ({"name": "vs", "tau": 0, "gamma": 0.5}, (1, 4), (2, 1, 0), math.log(2)),  # Δ = (1/2, 1)
        ({"name": "vs", "tau": 1, "gamma": 0.5}, (1, 4), (2, 1, 0), math.log(5)),
        ({"name": "vs", "tau": 1, "gamma": 0.5}, (1, 4), (2, 1, 1), math.log(5 / 4)),
        # 16^-1/4 = 1/2, so the margins are 1/2 and 1/4.
        ({"name": "ldam", "scale": 4}, (1, 16), (1, 0.5, 0), math.log(2)),
        ({"name": "ldam", "scale": 4}, (1, 16), (1, 0.5, 1), math.log(1 + math.exp(3))),
        ({"name": "ldam", "scale": 2, "max_margin": 1}, (16, 1), (1, 0.5, 0), math.log(2)),
        ({"name": "focal"}, (4, 4), (0, 0, 0), math.log(2) / 4),
        ({"name": "focal"}, (4, 4), (0, math.log(3), 1), math.log(4 / 3) / 16),
        ({"name": "focal", "gamma": 1}, (4, 4), (0, math.log(3), 0), math.log(4) * 3 / 4),
    ],
    ids=str,
)
def test_a_loss_is_what_was_worked_out_by_hand(
    fields: dict[str, Any], sizes: tuple[int, int], example: tuple[float, float, int], loss: float
) -> None:
    assert made(fields, sizes).each(*tensors([example])).item() == pytest.approx(loss, rel=2e-7)


@every_loss
@given(batches, positive, positive, st.integers(0, 1), class_sizes)
def test_each_normalisation_is_its_formula(
    fields: dict[str, Any], batch: Batch, base: float, other: float, base_index: int, sizes: tuple[int, int]
) -> None:
    power = fields.get("weight_exponent", 1)
    weights = [side**power for side in ([base, other] if base_index == 0 else [other, base])]
    weighted = math.fsum(weights[y] * in_plain_python(fields, (a, b, y), sizes) for a, b, y in batch)
    mean_weight = (weights[0] * sizes[0] + weights[1] * sizes[1]) / sum(sizes)

    def loss(normalization: str) -> float:
        whole = made(fields | {"normalization": normalization}, sizes, ImportanceWeight(base, other), base_index)
        return whole.of_batch(*tensors(batch)).item()

    assert loss("weight_sum") == pytest.approx(weighted / math.fsum(weights[y] for _, _, y in batch), rel=1e-9)
    assert loss("batch_size") == pytest.approx(weighted / len(batch), rel=1e-9)
    assert loss("dataset_mean") == pytest.approx(weighted / mean_weight / len(batch), rel=1e-9)


@every_loss
@given(batches, positive, positive, st.floats(0.1, 10))
def test_weight_sum_and_dataset_mean_know_only_the_ratio(
    fields: dict[str, Any], batch: Batch, base: float, other: float, scale: float
) -> None:
    for normalization in ("weight_sum", "dataset_mean"):
        one, two = (
            made(fields | {"normalization": normalization}, (3, 9), ImportanceWeight(base * s, other * s))
            .of_batch(*tensors(batch))
            .item()
            for s in (1, scale)
        )
        assert one == pytest.approx(two, rel=1e-9)


@every_loss
@given(batches, positive, positive, class_sizes, st.sampled_from(NORMALIZATIONS))
def test_nothing_depends_on_which_output_a_class_has(
    fields: dict[str, Any], batch: Batch, base: float, other: float, sizes: tuple[int, int], normalization: str
) -> None:
    pair, fields = ImportanceWeight(base, other), fields | {"normalization": normalization}
    one = made(fields, sizes, pair, 0).of_batch(*tensors(batch)).item()
    swapped = [(b, a, 1 - y) for a, b, y in batch]
    assert made(fields, sizes[::-1], pair, 1).of_batch(*tensors(swapped)).item() == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"name": "focal", "gamma": 0}, (3, 9)),
        ({"name": "logit_adjusted", "tau": 0}, (3, 9)),
        ({"name": "logit_adjusted", "tau": 7}, (9, 9)),
        ({"name": "vs", "tau": 0, "gamma": 0}, (3, 9)),
        ({"name": "vs", "tau": 3, "gamma": 2}, (9, 9)),
        ({"name": "ldam", "max_margin": 0, "scale": 1}, (3, 9)),
    ],
    ids=str,
)
def test_what_is_cross_entropy_where_its_fields_say_so(
    fields: dict[str, Any], sizes: tuple[int, int], normalization: str, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(40, 2, generator=generator, dtype=dtype)
    labels = torch.randint(0, 2, (40,), generator=generator)
    one, plain = (
        made(kind | {"normalization": normalization}, sizes, ImportanceWeight(16, 1), 1, dtype)
        for kind in (fields, {"name": "cross_entropy"})
    )
    assert torch.allclose(one.each(logits, labels), plain.each(logits, labels), rtol=1e-5, atol=1e-6)
    assert one.of_batch(logits, labels).item() == pytest.approx(plain.of_batch(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("gamma", [0, 1.5])
def test_vs_without_factors_is_logit_adjusted_and_without_offsets_it_is_not(gamma: float) -> None:
    logits, labels = tensors([(0.5, -1, 0), (0.5, -1, 1), (3, 4, 0)])
    one = made({"name": "vs", "tau": 1.5, "gamma": gamma}, (1, 9)).each(logits, labels)
    other = made({"name": "logit_adjusted", "tau": 1.5}, (1, 9)).each(logits, labels)
    assert torch.allclose(one, other) is (gamma == 0)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_weights_to_the_power_of_nothing_are_all_one(normalization: str) -> None:
    fields = {"name": "polynomial", "normalization": normalization}
    logits, labels = tensors([(0.5, -1, 0), (0.5, -1, 1), (3, 4, 0)])
    powerless = made(fields | {"weight_exponent": 0}, (3, 9), ImportanceWeight(256, 1)).of_batch(logits, labels)
    assert powerless == made(fields, (3, 9), EVEN).of_batch(logits, labels)
    assert powerless != made(fields, (3, 9), ImportanceWeight(256, 1)).of_batch(logits, labels)


def test_the_weights_of_polynomial_are_raised_before_they_are_normalised() -> None:
    pair, fields = ImportanceWeight(4, 1), {"name": "polynomial", "weight_exponent": 1.5}
    assert made(fields, (3, 9), pair).weights.tolist() == [8, 1]
    scaled = made(fields | {"normalization": "dataset_mean"}, (3, 9), pair).weights
    assert scaled.tolist() == pytest.approx([8 / 2.75, 1 / 2.75])  # (3 · 8 + 9 · 1) / 12 = 2.75


@every_loss
def test_the_gradient_is_that_of_the_loss(fields: dict[str, Any]) -> None:
    """By differences in float64; away from the kink that `polynomial` has at a margin of 1."""
    margins = (-8, -1, -0.1, 0, 0.4, 0.9, 1.1, 3, 8)
    logits, labels = tensors([(0.3, 0.3 + (z if y else -z), y) for z in margins for y in (0, 1)])
    for normalization in NORMALIZATIONS:
        whole = made(fields | {"normalization": normalization}, (3, 9), ImportanceWeight(4, 1))
        assert torch.autograd.gradcheck(lambda f, whole=whole: whole.of_batch(f, labels), logits)
    assert torch.autograd.gradcheck(lambda f: made(fields, (3, 9)).each(f, labels), logits)


STEEPEST: list[dict[str, Any]] = [
    {"name": "polynomial", "alpha": 100, "weight_exponent": 4},
    {"name": "logit_adjusted", "tau": 100},
    {"name": "vs", "tau": 100, "gamma": 5},
    {"name": "ldam", "max_margin": 100, "scale": 1000},
    {"name": "focal", "gamma": 100},
    {"name": "focal", "gamma": 1e-3},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("weight", ["1:1", "1000000:0.000001", "0.000001:1000000"])
@pytest.mark.parametrize("fields", [*LOSSES, *STEEPEST], ids=str)
def test_no_logit_makes_a_loss_or_its_gradient_infinite(
    fields: dict[str, Any], weight: str, normalization: str, dtype: torch.dtype
) -> None:
    margins = (0.0, 1e-30, 1.0, 1.0000001, 17.0, 90.0, 1e4)
    logits, labels = tensors([(z, -z * s, y) for z in margins for s in (0, 1, -1) for y in (0, 1)], dtype)
    whole = made(fields | {"normalization": normalization}, (1, 1_000_000), ImportanceWeight.parse(weight), dtype=dtype)
    value = whole.of_batch(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == dtype  # what the logits have: float32, whatever the layers compute in
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    assert (whole.each(logits, labels) >= 0).all()


@every_loss
def test_a_class_of_which_label_noise_left_nothing_is_no_trouble(fields: dict[str, Any]) -> None:
    logits, labels = tensors([(0.5, 1, 1), (2, 0, 1)])
    for more in (
        {},
        {"normalization": "dataset_mean"},
        *([{"tau": 0}] if "tau" in type(of(fields)).model_fields else []),
    ):
        assert torch.isfinite(made(fields | more, (0, 2), ImportanceWeight(16, 1)).of_batch(logits, labels))


@every_loss
def test_what_is_no_number_stays_so_and_is_not_hidden(fields: dict[str, Any]) -> None:
    """An experiment that diverged is known by it."""
    logits, labels = tensors([(math.nan, 0, 0), (0, 0, 1)])
    assert math.isnan(made(fields).of_batch(logits, labels).item())


@pytest.mark.parametrize("alpha", [0.5, 1, 3])
def test_the_tail_of_polynomial_joins_its_left_part(alpha: float) -> None:
    each = made({"name": "polynomial", "alpha": alpha}).each
    below, at, above = each(*tensors([(0, z, 1) for z in (1 - 1e-9, 1, 1 + 1e-9)])).tolist()
    assert below == pytest.approx(at, abs=1e-8)
    assert above == pytest.approx(at, abs=1e-8)
    assert at == pytest.approx(1)


def test_the_rarer_class_has_the_larger_margin() -> None:
    for sizes in ((1, 16), (16, 1)):
        rarer = sizes.index(1)
        losses = made({"name": "ldam"}, sizes).each(*tensors([(0, 0, 0), (0, 0, 1)])).tolist()
        assert losses.index(max(losses)) == rarer


def test_the_base_class_gets_the_base_weight_wherever_it_stands() -> None:
    pair = ImportanceWeight(256, 1)
    assert made({}, (5, 5), pair, 0).weights.tolist() == [256, 1]
    assert made({}, (5, 5), pair, 1).weights.tolist() == [1, 256]


@every_loss
def test_the_loss_of_a_batch_is_that_of_its_examples_and_what_the_plainest_loop_computes(
    fields: dict[str, Any],
) -> None:
    """Cross-entropy's too, which is fused; and their gradients."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (16,), generator=generator)
    for normalization in NORMALIZATIONS:
        spec = spec_of(loss=fields | {"normalization": normalization}, importance_weight="16:1")
        whole = made(spec.loss.model_dump(), (3, 9), spec.weights)
        logits = (5 * torch.randn(16, 2, generator=generator, dtype=torch.float64)).requires_grad_()
        weights = whole.weights[labels]
        n = weights.sum() if normalization == "weight_sum" else 16
        values = (
            whole.of_batch(logits, labels),
            (weights * whole.each(logits, labels)).sum() / n,
            loss_of(spec, logits, labels, whole.weights, torch.tensor([3, 9]).double()),
        )
        gradients = [torch.autograd.grad(value, logits)[0] for value in values]
        for value, gradient in zip(values, gradients, strict=True):
            assert value.item() == pytest.approx(values[0].item(), rel=1e-9)
            assert torch.allclose(gradient, gradients[0], rtol=1e-9)
