"""The presets hold the protocol's numbers, field by field, written out here again (core/training/README.md, "The
figures")."""

from typing import Any, get_args

import pytest

from core.presets import FIGURES, LOSSES, PresetName, figures
from core.spec import Spec
from core.sweep_faults import BadSweep
from core.sweeps import SweepRequest, grids_and_specs

NINE = ["256:1", "64:1", "16:1", "4:1", "1:1", "1:4", "1:16", "1:64", "1:256"]
FIVE = ["256:1", "16:1", "1:1", "1:16", "1:256"]
CNN = {"name": "cnn", "width": 64, "dropout": 0.0}
CIFAR10 = {"name": "cifar10", "train_per_class": None, "eval_limit": None, "seed": 0, "label_noise": 0.0}
CIFAR10 |= {"base_class": "dog", "other_class": "cat"}
MNIST = {"name": "mnist", "train_per_class": None, "eval_limit": None, "seed": 0, "label_noise": 0.0}
MNIST |= {"base_class": "0", "other_class": "1"}
DROPOUT = {"name": "cnn", "width": 64, "dropout": 0.5}
SGD = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.0}


def resnet(batch_norm: bool) -> dict[str, Any]:
    return {"name": "resnet", "width": 64, "batch_norm": batch_norm}


PUBLISHED = {  # figure: data set, model, optimizer, weights in the text, weights drawn
    "figure-1": (CIFAR10, CNN, SGD, NINE, NINE),
    "figure-2": (MNIST, CNN, SGD, FIVE, FIVE),
    "figure-3": (CIFAR10, CNN, SGD | {"weight_decay": 0.001}, NINE, ["256:1", "16:1", "1:16", "1:256"]),
    "figure-4": (
        CIFAR10,
        DROPOUT,
        SGD | {"lr": 0.05},
        NINE,
        [f"{2**i}:1" for i in (8, 7, 6, 5, 3, 2, 1)] + ["1:1"] + [f"1:{2**i}" for i in (1, 2, 3, 5, 6, 7, 8)],
    ),
    "figure-5": (MNIST, DROPOUT, SGD | {"lr": 0.05}, FIVE, FIVE),
    "figure-6": (CIFAR10, resnet(True), SGD, NINE, NINE),
    "figure-7": (MNIST, resnet(True), SGD, FIVE, FIVE),
    "figure-8": (CIFAR10, resnet(False), SGD, NINE, NINE),
}


def specs(**request: Any) -> list[Spec]:
    return grids_and_specs(SweepRequest.model_validate(request))[1]


@pytest.mark.parametrize("as_drawn", [False, True])
@pytest.mark.parametrize("figure", PUBLISHED)
def test_a_figure_holds_the_protocols_numbers_field_by_field(figure: str, as_drawn: bool) -> None:
    dataset, model, optimizer, text, drawn = PUBLISHED[figure]
    assert [spec.model_dump(exclude={"name"}) for spec in specs(preset=figure, as_drawn=as_drawn)] == [
        {
            "dataset": dataset,
            "model": model,
            "loss": {"name": "cross_entropy", "normalization": "weight_sum"},
            "resample": None,
            "importance_weight": weight,
            "optimizer": optimizer,
            "batch_size": 16,
            "epochs": 1000,
            "eval_every": 1,
            "seed": 0,
            "precision": "fp32",
            "diagnostics": False,
        }
        for weight in (drawn if as_drawn else text)
    ]


def test_the_paper_is_its_eight_figures_in_order() -> None:
    paper = specs(preset="paper")
    assert len(paper) == 60
    assert [spec.digest for spec in paper] == [spec.digest for figure in PUBLISHED for spec in specs(preset=figure)]
    assert list(figures("paper")) == list(FIGURES) == list(PUBLISHED)
    assert set(get_args(PresetName)) == {*PUBLISHED, "paper", "losses", "imbalance", "known-answers"}


def test_the_losses_are_all_there_are_each_with_five_weights_and_otherwise_alike() -> None:
    found = specs(preset="losses")
    names = Spec.model_json_schema()["properties"]["loss"]["discriminator"]["mapping"]
    assert {spec.loss.name for spec in found} == set(names)
    assert [spec.importance_weight for spec in found] == FIVE * len(LOSSES)
    assert len({spec.model_dump_json(exclude={"name", "loss", "importance_weight"}) for spec in found}) == 1
    assert found[0].name == "cross_entropy 256:1"
    assert (found[0].dataset.name, found[0].model.name) == ("two_gaussians", "linear")
    assert [warning for spec in found for warning in spec.warnings()] == []
    assert len({spec.digest for spec in specs(preset="losses", as_drawn=True)}) == 30


def test_imbalance_is_weighted_beside_sub_sampled_and_otherwise_alike() -> None:
    found = specs(preset="imbalance")
    assert [(spec.resample, spec.importance_weight) for spec in found] == [
        (resample, weight) for resample in (None, "drop") for weight in ("16:1", "4:1", "1:1", "1:4", "1:16")
    ]
    assert len({spec.model_dump_json(exclude={"name", "resample", "importance_weight"}) for spec in found}) == 1
    assert (found[0].dataset.name, found[0].model.name, found[0].loss.name) == ("digits", "mlp", "cross_entropy")
    assert [found[0].name, found[-1].name] == ["weighted 16:1", "sub-sampled 1:16"]


def test_known_answers_are_the_cases_of_the_readme_each_with_its_weights() -> None:
    found = specs(preset="known-answers")
    three = ["10:1", "1:1", "1:10"]
    assert [
        (spec.dataset.name, spec.model.name, spec.loss.name, spec.optimizer.weight_decay, spec.importance_weight)
        for spec in found
    ] == [
        *(("two_gaussians", "linear", "cross_entropy", 0.01, weight) for weight in FIVE),
        *(("two_gaussians", "linear", "cross_entropy", 0, weight) for weight in FIVE),
        *(("two_gaussians", "linear", "polynomial", 0, weight) for weight in FIVE),
        ("points", "linear", "cross_entropy", 0, "1:1"),
        *(
            (dataset, model, "cross_entropy", 0, weight)
            for dataset in ("moons", "blobs")
            for model in ("linear", "mlp")
            for weight in three
        ),
    ]
    assert {spec.batch_size for spec in found} == {None, 8}
    assert max(spec.epochs * (200 // 8 if spec.batch_size else 1) for spec in found) == 10_000  # steps
    assert [warning for spec in found for warning in spec.warnings()] == []


@pytest.mark.parametrize("preset", ["imbalance", "known-answers"])
def test_what_is_no_figure_of_the_paper_is_drawn_as_it_is(preset: str) -> None:
    assert specs(preset=preset, as_drawn=True) == specs(preset=preset)


def test_overrides_reach_into_the_objects_of_every_member() -> None:
    small = specs(preset="figure-5", base={"epochs": 8, "model": {"width": 16}, "dataset": {"train_per_class": 200}})
    assert {(spec.epochs, spec.dataset.train_per_class) for spec in small} == {(8, 200)}
    assert {tuple(spec.model.model_dump().values()) for spec in small} == {("cnn", 16, 0.5)}


def test_another_model_takes_the_whole_place_of_the_presets() -> None:
    assert {spec.model.model_dump_json() for spec in specs(preset="figure-5", base={"model": {"name": "linear"}})} == {
        '{"name":"linear"}'
    }


def test_axes_replace_the_presets_or_are_added() -> None:
    assert [spec.importance_weight for spec in specs(preset="figure-2", axes={"importance_weight": ["2:1"]})] == ["2:1"]
    assert [spec.importance_weight for spec in specs(preset="figure-2", base={"importance_weight": "3:1"})] == ["3:1"]
    seeds = specs(preset="figure-2", axes={"seed": [0, 1]})
    assert [(spec.importance_weight, spec.seed) for spec in seeds[:3]] == [("256:1", 0), ("256:1", 1), ("16:1", 0)]


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"base": {"epochs": 0}}, "/base/epochs"),
        ({"base": {"dataset": {"base_class": "dog"}}}, "/base/dataset/base_class"),
        ({"axes": {"seed": [0, -1]}}, "/axes/seed/1"),
        ({"base": {"model": {"batch_norm": True}}}, "/base/model/batch_norm"),
    ],
)
def test_a_wrong_override_is_told_where_it_was_sent(request_: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadSweep) as refused:
        specs(preset="figure-2", **request_)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_an_override_that_makes_two_figures_the_same_is_refused() -> None:
    with pytest.raises(BadSweep) as refused:
        specs(preset="paper", base={"optimizer": {"weight_decay": 0}})
    assert {fault.pointer for fault in refused.value.faults} == {"/preset"}
    assert refused.value.faults[0].detail == "makes figure-1 and figure-3 alike"
