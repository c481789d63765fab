"""The trainer equals the plainest loop that could be right, and the comparison notices each fault that was planted."""

from typing import get_args

import pytest
import torch

from core.spec import Spec
from core.training import Data, Member, train
from core.training.experiment import Experiment
from tests.unit.training.builders import an_epoch, invented, spec_of
from tests.unit.training.reference import Outcome, Sabotage, reference

EPOCHS = 5  # of 10 steps: 170 images make 10 whole batches of 16 and one that is dropped


def short(**fields: object) -> Spec:
    return spec_of(**{"epochs": EPOCHS, "importance_weight": "16:1"} | fields)


def trained(spec: Spec, data: Data, dtype: torch.dtype = torch.float64) -> Outcome:
    experiment = Experiment(spec, data, dtype)
    met = [an_epoch(experiment) for _ in range(spec.epochs)]
    experiment.model.eval()
    with torch.no_grad():
        in_domain = experiment.model(data.in_domain.inputs(slice(None), dtype))
        out_of_domain = experiment.model(data.out_of_domain.inputs(slice(None), dtype))
    return Outcome(
        losses=torch.cat([epoch.losses for epoch in met]).tolist(),
        parameters=torch.cat([parameter.detach().flatten() for parameter in experiment.model.parameters()]),
        in_domain=in_domain,
        out_of_domain=out_of_domain,
        correct=[sum(epoch.correct) for epoch in met],
        diagnostics={},
    )


def differences(one: Outcome, two: Outcome) -> list[str]:
    """What differs, by name."""
    distance = (one.parameters - two.parameters).norm() / two.parameters.norm()
    return [
        name
        for name, equal in {
            "parameters": distance < 1e-9,
            "losses": one.losses == pytest.approx(two.losses, rel=1e-7, abs=0),
            "in-domain": torch.allclose(one.in_domain, two.in_domain, rtol=1e-6, atol=1e-9),
            "out-of-domain": torch.allclose(one.out_of_domain, two.out_of_domain, rtol=1e-6, atol=1e-9),
            "correct": one.correct == two.correct,
        }.items()
        if not equal
    ]


CASES = {
    "cnn": short(model={"name": "cnn", "width": 4}),
    "resnet with batch norm": short(model={"name": "resnet", "width": 4}),
    "resnet without batch norm": short(model={"name": "resnet", "width": 4, "batch_norm": False}),
    "mlp": short(model={"name": "mlp", "hidden": 8}),
    "linear": short(model={"name": "linear"}),
    "batch_size": short(
        importance_weight="4:1", loss={"name": "cross_entropy", "normalization": "batch_size"}, optimizer={"lr": 0.02}
    ),
    "dataset_mean": short(loss={"name": "cross_entropy", "normalization": "dataset_mean"}),
    "dropout": short(model={"name": "cnn", "width": 4, "dropout": 0.5}, optimizer={"lr": 0.05}),
    "another dropout": short(model={"name": "cnn", "width": 4, "dropout": 0.2}),
    "weight decay": short(optimizer={"weight_decay": 0.01}),
    "momentum": short(optimizer={"lr": 0.01, "momentum": 0.9}),
    "decay and momentum": short(optimizer={"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01}),
    "full batch": short(batch_size=None, epochs=50),
    "base class first": short(),
    "drop": short(resample="drop", importance_weight="1:4", epochs=12),  # 56 + 28 images
    "drop of the base class": short(resample="drop", importance_weight="4:1", epochs=6),  # 14 + 114
    "repeat": short(resample="repeat", importance_weight="3:1", epochs=2),  # 168 + 114, in 17 batches
    "repeat of the full batch": short(resample="repeat", importance_weight="1:2.5", batch_size=None, epochs=50),
}


@pytest.mark.parametrize("case", CASES)
def test_the_trainer_equals_the_reference(case: str) -> None:
    data = invented(base_index=0 if case == "base class first" else 1)
    outcome = trained(CASES[case], data)
    assert len(outcome.losses) >= 30
    assert differences(outcome, reference(CASES[case], data)) == []


LOSSES: dict[str, dict[str, object]] = {
    "cross_entropy": {},
    "polynomial": {"weight_exponent": 1.5, "alpha": 2},
    "logit_adjusted": {"tau": 1.5},
    "vs": {},
    "ldam": {"scale": 3},
    "focal": {},
}


@pytest.mark.parametrize("base_index", [0, 1])
@pytest.mark.parametrize("normalization", ["weight_sum", "batch_size", "dataset_mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_trainer_equals_the_reference_under_each_loss(name: str, normalization: str, base_index: int) -> None:
    """A third of the images is of the first class, so the class sizes matter."""
    loss = {"name": name, "normalization": normalization, **LOSSES[name]}
    spec = short(model={"name": "mlp", "hidden": 8}, loss=loss, importance_weight="1:4", optimizer={"lr": 0.02})
    data = invented(base_index=base_index)
    ours, expected = trained(spec, data), reference(spec, data)
    assert differences(ours, expected) == []
    if name not in ("polynomial", "focal"):  # there the plainest formula is another one than ours, and rounds otherwise
        assert torch.equal(ours.parameters, expected.parameters)
        assert torch.equal(ours.in_domain, expected.in_domain)
        assert torch.equal(ours.out_of_domain, expected.out_of_domain)


def test_no_two_losses_train_the_same() -> None:
    data = invented()
    found = [trained(short(loss={"name": name, **fields}), data).parameters for name, fields in LOSSES.items()]
    assert len({tuple(parameters.tolist()) for parameters in found}) == len(LOSSES)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": {"name": "cnn", "width": 4}},
        {"model": {"name": "cnn", "width": 4, "dropout": 0.3}, "optimizer": {"lr": 0.05}},
        {"model": {"name": "resnet", "width": 4}, "optimizer": {"lr": 0.01, "momentum": 0.9}},
        {"model": {"name": "resnet", "width": 4, "batch_norm": False}, "optimizer": {"weight_decay": 0.01}},
        *({"model": {"name": "cnn", "width": 4}, "loss": {"name": n, **LOSSES[n]}} for n in ("logit_adjusted", "vs")),
        {"model": {"name": "cnn", "width": 4}, "loss": {"name": "ldam", "scale": 3, "normalization": "dataset_mean"}},
    ],
    ids=str,
)
def test_in_bf16_the_trainer_has_the_bits_of_the_reference(fields: dict[str, object]) -> None:
    spec, data = short(precision="bf16", **fields), invented()
    ours, expected = trained(spec, data, torch.float32), reference(spec, data)
    assert ours.losses == expected.losses
    assert ours.correct == expected.correct
    assert torch.equal(ours.parameters, expected.parameters)
    assert torch.equal(ours.in_domain, expected.in_domain)
    assert torch.equal(ours.out_of_domain, expected.out_of_domain)
    wide = trained(spec.model_copy(update={"precision": "fp32"}), data, torch.float32)
    assert ours.losses != wide.losses
    assert ours.losses[:10] == pytest.approx(wide.losses[:10], rel=0.03)


def test_the_mlp_learns_in_that_time() -> None:
    losses = trained(short(importance_weight="1:1"), invented()).losses
    assert losses[-1] < losses[0] / 4


def test_rows_say_what_the_reference_measured() -> None:
    spec, data = short(importance_weight="4:1"), invented()
    *_, (member, row) = train([Member(spec)], data, dtype=torch.float64)
    expected = reference(spec, data)
    predicted = (expected.in_domain[:, 1] > expected.in_domain[:, 0]).long()
    elsewhere = (expected.out_of_domain[:, 1] > expected.out_of_domain[:, 0]).long()
    assert (member, row.epoch) == (0, EPOCHS)
    assert row.base_in_domain == int((predicted == data.base_index).sum())
    assert row.base_out_of_domain == int((elsewhere == data.base_index).sum())
    assert row.correct_in_domain == int((predicted == data.in_domain_labels).sum())
    assert row.train_correct_base + row.train_correct_other == expected.correct[-1]
    assert row.train_n_base + row.train_n_other == 160
    assert row.train_loss == pytest.approx(sum(expected.losses[-10:]) / 10, rel=2e-7)


@pytest.mark.parametrize("sabotage", [name for name in get_args(Sabotage) if name])
def test_the_comparison_notices(sabotage: Sabotage) -> None:
    data = invented()
    drops = sabotage == "dropout in evaluation"
    model = {"name": "cnn", "width": 4, "dropout": 0.5} if drops else {"name": "mlp", "hidden": 8}
    spec = short(model=model, optimizer={"weight_decay": 0.01}, importance_weight="4:1")
    outcome = trained(spec, data)
    assert differences(outcome, reference(spec, data)) == []
    noticed = differences(outcome, reference(spec, data, sabotage))
    assert set(noticed) >= ({"in-domain", "out-of-domain"} if drops else {"parameters", "losses"})
