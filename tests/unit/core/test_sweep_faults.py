"""What is wrong with a sweep, told at the place where it was sent."""

import json
import math
from typing import Any

import pytest

from core.grids import Grid
from core.sweep_faults import MAX_FAULTS, MAX_MEMBERS, BadSweep
from core.sweeps import SweepRequest, grids_and_specs, larger_grids_and_specs
from tests.unit.core.builders import Json

BASE = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 2}


def faults(**request: Any) -> list[tuple[str, str]]:
    with pytest.raises(BadSweep) as refused:
        grids_and_specs(SweepRequest.model_validate(request))
    return [(fault.pointer, fault.detail) for fault in refused.value.faults]


def pointers(**request: Any) -> list[str]:
    return [pointer for pointer, _ in faults(**request)]


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
        ({"loss.name": ["focal", "hinge"]}, ["/axes/loss.name/1"]),
        ({"loss.name": ["focal"], "loss.gamma": [0, -1]}, ["/axes/loss.gamma/1"]),
        ({"loss.name": ["focal", "polynomial"], "loss.gamma": [1]}, ["/axes/loss.gamma/0"]),
        ({"loss.gamma": [1]}, ["/axes/loss.gamma/0"]),
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
    _, specs = grids_and_specs(SweepRequest(base=BASE, axes={"seed": list(range(MAX_MEMBERS))}))
    assert len(specs) == MAX_MEMBERS
    assert faults(base=BASE, axes={"seed": list(range(MAX_MEMBERS + 1))}) == [("/axes", "make 10001 members")]
    assert faults(base=BASE, axes={"seed": list(range(10**5)), "epochs": list(range(10**5))}) == [
        ("/axes", "make 10000000000 members")
    ]


def test_faults_without_end_are_cut() -> None:
    assert len(pointers(base=BASE, axes={"seed": [-1] * 9_000})) == MAX_FAULTS
    assert len(pointers(base=BASE, axes={f"x{i}": [] for i in range(9_000)})) == MAX_FAULTS


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
def test_what_is_wrong_with_a_growth_is_told_where_it_was_sent(axes: Json, expected: list[str]) -> None:
    grids, _ = grids_and_specs(SweepRequest(base=BASE, axes={"optimizer.lr": [0.1, 0.2], "seed": [0]}))
    stored = [Grid(*grid) for grid in json.loads(json.dumps(grids))]
    with pytest.raises(BadSweep) as refused:
        larger_grids_and_specs(stored, axes)
    assert [fault.pointer for fault in refused.value.faults] == expected
