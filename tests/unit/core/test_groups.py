"""Panels of a figure: experiments that differ in weight and seed share one, and titles tell the panels apart."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.analysis.groups import Line, differences_in_words, grouped, line_of_curve, shared_in_words
from core.spec import Spec
from core.sweeps import SweepRequest, grids_and_specs
from tests.unit.core.builders import valid_specs

BASE = {"dataset": {"name": "digits"}, "importance_weight": "1:1"}


def groups(specs: list[Spec]) -> list[tuple[str, list[Spec]]]:
    return grouped([(spec.model_dump(mode="json"), spec) for spec in specs])


def titles(specs: list[Spec]) -> list[str]:
    return [title for title, _ in groups(specs)]


def sweep(**request: Any) -> list[Spec]:
    return grids_and_specs(SweepRequest.model_validate(request))[1]


def test_weights_and_seeds_share_a_panel_without_a_title() -> None:
    axes = {"importance_weight": ["2:1", "1:2"], "seed": [0, 1], "name": ["mine"]}
    ((title, own),) = groups(sweep(base=BASE, axes=axes))
    assert title == ""
    assert [(spec.importance_weight, spec.seed) for spec in own] == [*(("2:1", 0), ("2:1", 1), ("1:2", 0), ("1:2", 1))]


def test_a_title_says_what_differs_and_no_more() -> None:
    assert titles(sweep(base=BASE, axes={"optimizer.weight_decay": [0, 0.01], "seed": [0, 1]})) == [
        "weight_decay 0",
        "weight_decay 0.01",
    ]
    assert titles(sweep(base=BASE, axes={"model": [{"name": "cnn", "width": 4}, {"name": "mlp"}]})) == ["cnn", "mlp"]
    assert titles(sweep(base=BASE, axes={"batch_size": [16, None]})) == ["batch_size 16", "batch_size null"]


def test_the_seed_of_the_data_set_is_not_taken_for_that_of_the_training() -> None:
    assert titles(sweep(base=BASE, axes={"dataset.seed": [0, 1]})) == ["dataset.seed 0", "dataset.seed 1"]


def test_the_figures_of_the_paper() -> None:
    assert titles(sweep(preset="paper")) == [
        "cifar10, cnn, dropout 0, lr 0.1, weight_decay 0",
        "mnist, cnn, dropout 0, lr 0.1, weight_decay 0",
        "cifar10, cnn, dropout 0, lr 0.1, weight_decay 0.001",
        "cifar10, cnn, dropout 0.5, lr 0.05, weight_decay 0",
        "mnist, cnn, dropout 0.5, lr 0.05, weight_decay 0",
        "cifar10, resnet, lr 0.1, weight_decay 0, batch_norm true",
        "mnist, resnet, lr 0.1, weight_decay 0, batch_norm true",
        "cifar10, resnet, lr 0.1, weight_decay 0, batch_norm false",
    ]


def test_nothing_differs_between_none_or_one() -> None:
    assert differences_in_words([]) == []
    assert differences_in_words([spec.model_dump(mode="json") for spec in sweep(base=BASE)]) == [""]


def test_what_is_shared_is_said_as_far_as_it_is_no_default() -> None:
    specs = [spec.model_dump(mode="json") for spec in sweep(base=BASE | {"batch_size": 8}, axes={"seed": [1, 2]})]
    assert shared_in_words(specs) == "digits, cnn, batch_size 8, epochs 1000"
    assert shared_in_words([]) == ""
    assert (
        shared_in_words([{**specs[0], "label_noise": 0.1}]) == "digits, cnn, epochs 1000"
    )  # which a newer Ballast knows


def test_a_curve_of_the_api_becomes_a_line() -> None:
    curve = {"epoch": [1, 2], "base_fraction_in_domain": [0.9, None], "base_fraction_out_of_domain": [0.8, 0.7]}
    assert line_of_curve("16:1", 3, curve | {"diverged_at": None}) == Line("16:1", 3, [1, 2], [0.9, None], [0.8, 0.7])
    assert line_of_curve("16:1", 3, curve | {"diverged_at": 2}).diverged


@given(st.lists(valid_specs(), min_size=1, max_size=6))
def test_no_two_panels_have_one_title(values: list[dict[str, Any]]) -> None:
    found = titles([Spec.model_validate(value) for value in values])
    assert len(set(found)) == len(found)
