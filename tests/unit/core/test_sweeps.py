"""Grids become specs in order, with names that tell them apart; and they grow."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.grids import Grid
from core.spec import Spec
from core.sweep_faults import BadSweep
from core.sweeps import SweepRequest, grids_and_specs, larger_grids_and_specs
from tests.unit.core.builders import Json, valid_specs

BASE = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 2}


def sweep(**request: Any) -> list[Spec]:
    return grids_and_specs(SweepRequest.model_validate(request))[1]


def test_the_last_axis_varies_fastest() -> None:
    specs = sweep(base=BASE, axes={"importance_weight": ["16:1", "1:16"], "seed": [3, 1, 2]})
    assert [(spec.importance_weight, spec.seed) for spec in specs] == [
        *(("16:1", seed) for seed in (3, 1, 2)),
        *(("1:16", seed) for seed in (3, 1, 2)),
    ]


def test_a_base_without_axes_is_a_sweep_of_one() -> None:
    (spec,) = sweep(base=BASE)
    assert spec.digest == Spec.model_validate(BASE).digest


def test_any_field_may_be_an_axis_whole_objects_too() -> None:
    models: list[Json] = [{"name": "linear"}, {"name": "cnn", "width": 4}]
    specs = sweep(base=BASE, axes={"model": models, "optimizer.weight_decay": [0, 1e-3], "dataset.seed": [0, 7]})
    assert [spec.model.model_dump(exclude_unset=True) for spec in specs[::4]] == models
    assert [spec.optimizer.weight_decay for spec in specs[:4]] == [0, 0, 1e-3, 1e-3]
    assert [spec.dataset.seed for spec in specs[:4]] == [0, 7, 0, 7]


def test_an_axis_inside_of_a_model_that_is_not_said_is_of_the_default_model() -> None:
    base = {"dataset": {"name": "digits"}, "importance_weight": "1:1"}
    specs = sweep(base=base, axes={"model.width": [4, 8], "loss.normalization": ["batch_size"]})
    assert [spec.model.model_dump()["width"] for spec in specs] == [4, 8]
    assert {spec.loss.normalization for spec in specs} == {"batch_size"}
    named = sweep(base=base | {"model": {"width": 4}}, axes={"loss": [{}, {"normalization": "batch_size"}]})
    assert [(spec.model.name, spec.loss.normalization) for spec in named] == [
        ("cnn", "weight_sum"),
        ("cnn", "batch_size"),
    ]
    with pytest.raises(BadSweep) as refused:
        sweep(base={"importance_weight": "1:1"}, axes={"dataset.seed": [0]})
    assert [fault.pointer for fault in refused.value.faults] == ["/base/dataset/name"]


def test_losses_and_their_fields_are_axes() -> None:
    names = ["cross_entropy", "polynomial", "logit_adjusted", "vs", "ldam", "focal"]
    specs = sweep(base=BASE, axes={"loss.name": names, "importance_weight": ["16:1", "1:16"]})
    assert [spec.loss.name for spec in specs[::2]] == names
    assert len({spec.digest for spec in specs}) == 12
    assert [spec.name for spec in specs[2:4]] == ["polynomial, 16:1", "polynomial, 1:16"]
    gammas = sweep(base={**BASE, "loss": {"name": "focal"}}, axes={"loss.gamma": [0, 1, 2]})
    assert [spec.loss.model_dump()["gamma"] for spec in gammas] == [0, 1, 2]
    assert [spec.name for spec in gammas] == ["gamma 0", "gamma 1", "gamma 2"]


def test_members_are_named_by_where_they_stand() -> None:
    axes = {"importance_weight": ["16:1"], "optimizer.weight_decay": [0.5], "seed": [3]}
    assert [spec.name for spec in sweep(name="mine", base=BASE, axes=axes)] == ["16:1, weight_decay 0.5, seed 3"]
    assert sweep(name="mine", preset="figure-2", axes={"seed": [3]})[0].name == "256:1, seed 3"
    assert [spec.name for spec in sweep(name="mine", base=BASE)] == [""]
    assert [spec.name for spec in sweep(name="mine", base={**BASE, "name": "x"})] == ["x"]
    assert [spec.name for spec in sweep(base={**BASE, "name": "x"}, axes=axes)] == ["x 16:1, weight_decay 0.5, seed 3"]
    assert [spec.name for spec in sweep(base={**BASE, "name": "x" * 200}, axes={"seed": [1, 2]})] == [
        f"{'x' * 193} seed {seed}" for seed in (1, 2)
    ]
    assert [spec.name for spec in sweep(base=BASE, axes={"name": ["a"], "seed": [1]})] == ["a"]


@given(valid_specs(), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True))
def test_a_member_is_the_spec_that_would_have_been_sent_alone(value: Json, seeds: list[int]) -> None:
    specs = sweep(base=value, axes={"seed": seeds})
    assert [spec.digest for spec in specs] == [Spec.model_validate({**value, "seed": seed}).digest for seed in seeds]


@pytest.mark.parametrize(
    "request_", [{"bse": {}}, {"axes": {"seed": 1}}, {"preset": "figure-9"}, {"base": []}, {"name": "\0"}]
)
def test_a_request_of_another_shape_is_refused(request_: Json) -> None:
    with pytest.raises(ValidationError):
        SweepRequest.model_validate(request_)


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, math.nan, "x" * 900_000, [[[]]]], ids=range(5))
def test_of_the_base_only_what_was_validated_is_kept(value: Any) -> None:
    request = SweepRequest(base={**BASE, "seed": value, "optimizer": {"lr": value}}, axes={"seed": [1]})
    with pytest.raises(BadSweep) as refused:
        grids_and_specs(request)
    assert [fault.pointer for fault in refused.value.faults] == ["/base/optimizer/lr"]
    request = SweepRequest(
        base={**BASE, "seed": value, "optimizer": {"lr": value, "momentum": 0.5}},
        axes={"seed": [1], "optimizer.lr": [1.0]},
    )
    ((grid,), (spec,)) = grids_and_specs(request)
    assert grid.base == {**BASE, "optimizer": {"momentum": 0.5}}
    assert (spec.seed, spec.optimizer.lr, spec.optimizer.momentum) == (1, 1.0, 0.5)


def test_the_figures_of_the_paper_are_told_apart_by_their_names() -> None:
    names = [spec.name for spec in sweep(preset="paper")]
    assert len(set(names)) == 60
    assert (names[0], names[-1]) == ("figure-1 256:1", "figure-8 1:256")
    assert sweep(preset="paper", name="mine")[9].name == "figure-2 256:1"


def test_the_name_of_a_member_tells_two_seeds_apart() -> None:
    (spec,) = sweep(base=BASE, axes={"model.name": ["mlp"], "dataset.seed": [7], "seed": [3]})
    assert spec.name == "mlp, dataset.seed 7, seed 3"


class TestGrowth:
    def grow(self, more: Json, **request: Any) -> tuple[list[Grid], list[Spec]]:
        grids, _ = grids_and_specs(SweepRequest.model_validate(request))
        stored = [Grid(*grid) for grid in json.loads(json.dumps(grids))]
        return larger_grids_and_specs(stored, more)

    def test_more_seeds_go_with_every_weight(self) -> None:
        start = {"base": BASE, "axes": {"importance_weight": ["16:1", "1:16"], "seed": [0]}}
        grids, specs = self.grow({"seed": [0, 1]}, **start)
        assert grids[0].axes == {"importance_weight": ["16:1", "1:16"], "seed": [0, 1]}
        assert [(spec.importance_weight, spec.seed) for spec in specs] == [
            ("16:1", 0),
            ("16:1", 1),
            ("1:16", 0),
            ("1:16", 1),
        ]

    def test_a_new_axis_begins_with_the_value_so_far(self) -> None:
        grids, specs = self.grow({"optimizer.weight_decay": [0.1]}, base=BASE, axes={"seed": [0, 1]})
        assert grids[0].axes == {"seed": [0, 1], "optimizer.weight_decay": [0.0, 0.1]}
        assert {spec.digest for spec in sweep(base=BASE, axes={"seed": [0, 1]})} < {spec.digest for spec in specs}

    def test_every_grid_of_a_preset_grows(self) -> None:
        _, specs = self.grow({"seed": [0, 1]}, preset="paper")
        assert len(specs) == 120
        assert specs[-1].name == "figure-8 1:256, seed 1"

    def test_the_same_in_another_writing_is_the_same(self) -> None:
        _, specs = self.grow({"importance_weight": ["1.0:1"]}, base=BASE, axes={"seed": [0]})
        assert len(specs) == 1
