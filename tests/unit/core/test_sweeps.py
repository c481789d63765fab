"""Grids become specs in order; what is wrong is told where it was sent."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.spec import Spec
from core.sweeps import MAX_FAULTS, MAX_MEMBERS, BadSweep, Grid, SweepRequest, expanded, grown
from tests.unit.core.builders import Json, valid_specs

BASE = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 2}


def sweep(**request: Any) -> list[Spec]:
    return expanded(SweepRequest.model_validate(request))[1]


def faults(**request: Any) -> list[tuple[str, str]]:
    with pytest.raises(BadSweep) as refused:
        sweep(**request)
    return [(fault.pointer, fault.detail) for fault in refused.value.faults]


def pointers(**request: Any) -> list[str]:
    return [pointer for pointer, _ in faults(**request)]


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
    ("axes", "expected"),
    [
        ({"importance_weight": ["1:1", "0:1"]}, ["/axes/importance_weight/1"]),
        ({"importance_weight": ["1:1", 16]}, ["/axes/importance_weight/1"]),
        ({"sede": [1]}, ["/axes/sede/0"]),
        ({"": [1]}, ["/axes//0"]),
        ({"optimizer.lrr": [0.1]}, ["/axes/optimizer.lrr/0"]),
        ({"seed.x": [0]}, ["/axes/seed.x/0"]),
        ({"seed": [0, "1", 2, None]}, ["/axes/seed/1", "/axes/seed/3"]),
        ({"seed": []}, ["/axes/seed"]),
        ({"model": [{"name": "mlp", "hidden": 0}]}, ["/axes/model/0/hidden"]),
        ({"model": ["mlp"]}, ["/axes/model/0"]),
        ({"model.name": ["mlp", "svm"]}, ["/axes/model.name/1"]),
        ({"model.width": [4]}, ["/axes/model.width/0"]),
        ({"dataset.other_class": ["1", "0"]}, ["/axes/dataset.other_class/1"]),
        ({"dataset.base_class": ["0", "1"]}, ["/axes/dataset.base_class/1"]),
        ({"dataset.train_per_class": [100, 4]}, ["/axes/dataset.train_per_class/1"]),
        ({"optimizer": [{}], "optimizer.lr": [0.1]}, ["/axes/optimizer.lr"]),
        ({"epochs.x": [0], "importance_weight.y.z": [0]}, ["/axes/epochs.x", "/axes/importance_weight.y.z"]),
        ({".".join("a" * 5000): [0]}, ["/axes/" + ".".join("a" * 5000)]),
        ({"a/b~c": [0]}, ["/axes/a~1b~0c/0"]),
        ({"seed": [0], "epochs": [0]}, ["/axes/epochs/0"]),
        ({"seed": [math.nan]}, ["/axes/seed/0"]),
        ({"optimizer.lr": [math.inf]}, ["/axes/optimizer.lr/0"]),
        ({"name": ["a", "b"]}, ["/axes/name/1"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_impossible_axis_is_named_with_its_index(axes: Json, expected: list[str]) -> None:
    assert pointers(base=BASE, axes=axes) == expected


def test_what_is_wrong_in_the_base_is_told_once_there() -> None:
    base = {"dataset": {"name": "digits", "base_class": "10"}, "epoch": 3}
    assert sorted(pointers(base=base, axes={"seed": list(range(50))})) == [
        "/base/dataset/base_class",
        "/base/epoch",
        "/base/importance_weight",
    ]


@pytest.mark.parametrize(
    ("axes", "place"),
    [
        ({"seed": [1, 2, 1]}, "/axes/seed/2"),
        ({"optimizer.lr": [0.1, 1e-1]}, "/axes/optimizer.lr/1"),
        ({"importance_weight": ["1:1", "1.0:1"]}, "/axes/importance_weight/1"),
        ({"optimizer.weight_decay": [0, 0.0], "seed": [1]}, "/axes/optimizer.weight_decay/1"),
    ],
)
def test_the_same_spec_twice_is_refused(axes: Json, place: str) -> None:
    assert faults(base=BASE, axes=axes) == [(place, "makes a member that there is already")]


def test_ten_thousand_members_are_made_and_one_more_is_refused_with_the_count() -> None:
    assert len(sweep(base=BASE, axes={"seed": list(range(MAX_MEMBERS))})) == MAX_MEMBERS
    assert faults(base=BASE, axes={"seed": list(range(MAX_MEMBERS + 1))}) == [("/axes", "make 10001 members")]
    assert faults(base=BASE, axes={"seed": list(range(10**5)), "epochs": list(range(10**5))}) == [
        ("/axes", "make 10000000000 members")
    ]


def test_faults_without_end_are_cut() -> None:
    assert len(pointers(base=BASE, axes={"seed": [-1] * 9_000})) == MAX_FAULTS
    assert len(pointers(base=BASE, axes={f"x{i}": [] for i in range(9_000)})) == MAX_FAULTS


@pytest.mark.parametrize(
    "request_", [{"bse": {}}, {"axes": {"seed": 1}}, {"preset": "figure-9"}, {"base": []}, {"name": "\0"}]
)
def test_a_request_of_another_shape_is_refused(request_: Json) -> None:
    with pytest.raises(ValidationError):
        SweepRequest.model_validate(request_)


def test_a_request_as_large_as_a_body_may_be_is_refused() -> None:
    """Each of these took minutes once."""
    assert len(pointers(base=BASE, axes={f"a{i}": [0] for i in range(50_000)})) == MAX_FAULTS
    assert len(pointers(base=BASE, axes={f"a{i}" + ".x" * 9: [0] for i in range(50_000)})) == MAX_FAULTS
    assert pointers(base={**BASE, "zz": [0] * 300_000}, axes={"seed": list(range(10_000))}) == ["/base/zz"]
    assert len(pointers(base={**BASE, **{f"z{i}": 0 for i in range(99)}}, axes={"seed": list(range(10_000))})) == 99
    assert len(pointers(base={**BASE, **{f"z{i}": 0 for i in range(50_000)}}, axes={"seed": [0, 1]})) == MAX_FAULTS


@pytest.mark.parametrize("request_", [{"base": BASE}, {"preset": "figure-4", "axes": {"importance_weight": ["2:1"]}}])
def test_as_drawn_means_nothing_without_the_weights_of_a_preset(request_: Json) -> None:
    assert pointers(**request_, as_drawn=True) == ["/as_drawn"]


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, math.nan, "x" * 900_000, [[[]]]], ids=range(5))
def test_of_the_base_only_what_was_validated_is_kept(value: Any) -> None:
    request = SweepRequest(base={**BASE, "seed": value, "optimizer": {"lr": value}}, axes={"seed": [1]})
    assert pointers(**request.model_dump()) == ["/base/optimizer/lr"]
    request = SweepRequest(
        base={**BASE, "seed": value, "optimizer": {"lr": value, "momentum": 0.5}},
        axes={"seed": [1], "optimizer.lr": [1.0]},
    )
    ((grid,), (spec,)) = expanded(request)
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
        grids, _ = expanded(SweepRequest.model_validate(request))
        stored = [Grid(*grid) for grid in json.loads(json.dumps(grids))]
        return grown(stored, more)

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

    @pytest.mark.parametrize(
        ("axes", "expected"),
        [
            ({}, ["/axes"]),
            ({"seed": []}, ["/axes/seed"]),
            ({"seed": [0, -1]}, ["/axes/seed/1"]),
            ({"seed": [1, 2, 1]}, ["/axes/seed/2"]),
            ({"sede": [3]}, ["/axes/sede/0"]),
            ({"sede.x.y": [3]}, ["/axes/sede.x.y/0"]),
            ({"dataset.train_per_class": [4]}, ["/axes/dataset.train_per_class/0"]),
            ({"seed": list(range(10_001))}, ["/axes"]),
            ({"epochs.x": [1]}, ["/axes/epochs.x"]),
            ({"name": ["a"]}, ["/axes/name"]),
            ({"optimizer": [{"momentum": 0.5}]}, ["/axes/optimizer"]),
            ({"optimizer.lr.x": [1]}, ["/axes/optimizer.lr.x"]),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_is_wrong_is_told_where_it_was_sent(self, axes: Json, expected: list[str]) -> None:
        with pytest.raises(BadSweep) as refused:
            self.grow(axes, base=BASE, axes={"optimizer.lr": [0.1, 0.2], "seed": [0]})
        assert [fault.pointer for fault in refused.value.faults] == expected
