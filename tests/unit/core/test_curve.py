"""The curve as columns, with a null and a note where nothing finite was measured."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curve import CurveHead, LearnedAt, curve_json, learned_at
from core.results import LossPoint
from tests.unit.core.builders import COLUMNS
from tests.unit.store.builders import DIAGNOSTICS, result

HEAD = CurveHead(417, "running", 1, 3, 50, None, None, complete=False)


def test_a_curve_has_the_keys_of_the_contract_and_columns_as_long_as_its_epochs() -> None:
    whole = curve_json(HEAD, [result(1), result(2), result(3)])
    assert list(whole) == [
        *("id", "state", "attempt", "epochs_done", "epochs_total", "epoch"),
        *COLUMNS,
        *("loss", "nonfinite", "diverged_at", "replay_mismatch_from", "next_after", "complete"),
    ]
    assert whole["epoch"] == [1, 2, 3]
    assert {len(whole[column]) for column in COLUMNS} == {3}
    assert (whole["id"], whole["state"], whole["complete"]) == (417, "running", False)


def test_the_columns_are_shares_of_whole_images() -> None:
    row = result(
        1,
        n_in_domain=91,
        n_out_of_domain=1437,
        base_in_domain=45,
        base_out_of_domain=1000,
        correct_in_domain=90,
        finite_in_domain=91,
        finite_out_of_domain=1437,
        train_n_base=8,
        train_n_other=5,
        train_correct_base=7,
        train_correct_other=1,
        train_loss=0.25,
        seconds=1.23456789,
    )
    assert {column: curve_json(HEAD, [row])[column] for column in COLUMNS} == {
        "base_fraction_in_domain": [45 / 91],
        "base_fraction_out_of_domain": [1000 / 1437],
        "train_loss": [0.25],
        "accuracy_in_domain": [90 / 91],
        "train_accuracy_base": [7 / 8],
        "train_accuracy_other": [1 / 5],
        "finite_logits": [1.0],
        "seconds": [1.2346],
    }


def test_loss_points_of_all_rows_stand_in_one_list() -> None:
    rows = [result(1, loss=()), result(2, loss=(LossPoint(100, 0.5), LossPoint(200, 0.25))), result(3)]
    assert curve_json(HEAD, rows)["loss"] == {"iteration": [100, 200, 300], "value": [0.5, 0.25, 0.25]}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_loss_on_the_curve_is_the_float32_that_was_measured(loss: float) -> None:
    seen = json.loads(json.dumps(curve_json(HEAD, [result(1, train_loss=loss)])))["train_loss"][0]
    assert struct.pack("<f", seen) == struct.pack("<f", loss)


def test_a_set_without_images_gives_null_and_no_note() -> None:
    row = result(
        1, n_out_of_domain=0, base_out_of_domain=0, finite_out_of_domain=0, train_n_base=0, train_correct_base=0
    )
    seen = curve_json(HEAD, [row])
    assert (seen["base_fraction_out_of_domain"], seen["train_accuracy_base"]) == ([None], [None])
    assert seen["finite_logits"] == [1.0]
    assert seen["nonfinite"] == {}


@pytest.mark.parametrize(("value", "name"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_a_loss_that_is_not_finite_is_null_and_named_by_epoch_and_iteration(value: float, name: str) -> None:
    row = result(3, train_loss=value, loss=(LossPoint(200, 1.5), LossPoint(300, value)))
    seen = curve_json(HEAD, [result(2), row])
    assert seen["train_loss"] == [0.25, None]
    assert seen["loss"]["value"] == [0.25, 1.5, None]
    assert seen["nonfinite"]["train_loss"] == {"3": name}
    assert seen["nonfinite"]["loss"] == {"300": name}
    assert seen["train_accuracy_base"] == [0.8, None]
    assert seen["nonfinite"]["train_accuracy_base"] == seen["nonfinite"]["train_accuracy_other"] == {"3": "nan"}
    json.dumps(seen, allow_nan=False)


def test_predictions_from_logits_that_are_not_finite_are_not_shown_as_measured() -> None:
    row = result(3, finite_out_of_domain=400, base_out_of_domain=800)
    seen = curve_json(HEAD, [row])
    assert seen["base_fraction_out_of_domain"] == [None]
    assert seen["nonfinite"] == {"base_fraction_out_of_domain": {"3": "nan"}}
    assert seen["base_fraction_in_domain"] == [0.5]
    assert seen["accuracy_in_domain"] == [0.95]
    assert seen["finite_logits"] == [600 / 1000]


def test_next_after_is_the_last_epoch_returned_else_what_was_given() -> None:
    assert curve_json(HEAD, [result(2), result(4)], after=1)["next_after"] == 4
    assert curve_json(HEAD, [], after=7)["next_after"] == 7
    assert curve_json(HEAD, [])["next_after"] == 0


def test_tails_put_together_are_the_whole_curve() -> None:
    rows = [result(epoch) for epoch in range(1, 8)]
    together: dict[str, list[Any]] = {column: [] for column in ("epoch", *COLUMNS)}
    points: list[int] = []
    after = 0
    for upto in (2, 2, 5, 7):
        tail = curve_json(HEAD, [row for row in rows[:upto] if row.epoch > after], after)
        after = tail["next_after"]
        for column, values in together.items():
            values += tail[column]
        points += tail["loss"]["iteration"]
    whole = curve_json(HEAD, rows)
    assert together == {column: whole[column] for column in together}
    assert points == whole["loss"]["iteration"]


DIAGNOSED = HEAD._replace(learned_at=LearnedAt(2, None))
DIAGNOSTIC_COLUMNS = [
    *("loss_base", "loss_other", "margin_base", "margin_other", "margin_low_base", "margin_low_other"),
    *("norm", "norm_last_layer", "bias_difference", "base_fraction_noise", "dead_units"),
]


def test_diagnostics_are_columns_as_long_as_the_epochs_even_where_there_are_none() -> None:
    assert "diagnostics" not in curve_json(HEAD, [result(1)])
    for rows in ([], [result(1, diagnostics=DIAGNOSTICS)], [result(1), result(2)]):
        whole = curve_json(DIAGNOSED, rows)
        assert list(whole)[-7:-5] == ["loss", "diagnostics"]
        assert list(whole["diagnostics"]) == [*DIAGNOSTIC_COLUMNS, "learned_at"]
        assert {len(whole["diagnostics"][column]) for column in DIAGNOSTIC_COLUMNS} == {len(rows)}
        assert whole["diagnostics"]["learned_at"] == {"base": 2, "other": None}


def test_diagnostics_that_are_not_finite_are_null_and_named() -> None:
    seen = curve_json(DIAGNOSED, [result(4), result(5, diagnostics=DIAGNOSTICS)])
    assert {name: seen["diagnostics"][name][1] for name in DIAGNOSTIC_COLUMNS} == {
        "loss_base": 0.5,
        "loss_other": 0.25,
        "margin_base": 1.5,
        "margin_other": -1.5,
        "margin_low_base": 0.125,
        "margin_low_other": None,
        "norm": 7.0,
        "norm_last_layer": None,
        "bias_difference": -0.0,
        "base_fraction_noise": None,  # one of a thousand images has a logit that is not finite
        "dead_units": [0.0, 0.25, 1.0],
    }
    assert seen["nonfinite"] == {
        "diagnostics.margin_low_other": {"5": "nan"},
        "diagnostics.norm_last_layer": {"5": "inf"},
        "diagnostics.base_fraction_noise": {"5": "nan"},
    }
    assert {seen["diagnostics"][name][0] for name in DIAGNOSTIC_COLUMNS} == {None}
    json.dumps(seen, allow_nan=False)


def test_what_was_not_there_to_be_measured_is_null_without_a_note() -> None:
    """No image of the class in the epoch's batches, no images of noise."""
    nothing = DIAGNOSTICS._replace(
        **dict.fromkeys(("loss_base", "margin_base", "margin_low_base"), math.nan),
        **dict.fromkeys(("n_noise", "base_noise", "finite_noise"), 0),
        **dict.fromkeys(("margin_low_other", "norm_last_layer"), 1.0),
    )
    seen = curve_json(DIAGNOSED, [result(1, train_n_base=0, train_correct_base=0, diagnostics=nothing)])
    for name in ("loss_base", "margin_base", "margin_low_base", "base_fraction_noise"):
        assert seen["diagnostics"][name] == [None]
    assert seen["nonfinite"] == {}
    noise = DIAGNOSTICS._replace(finite_noise=1000)
    assert curve_json(DIAGNOSED, [result(1, diagnostics=noise)])["diagnostics"]["base_fraction_noise"] == [0.512]


def test_a_class_is_learned_at_the_first_row_all_of_whose_images_were_right() -> None:
    rows = [
        result(2, train_correct_other=50, train_loss=math.nan),  # NaN is class 0, and may be right
        result(4, train_n_base=0, train_correct_base=0),
        result(6, train_correct_base=49),
        result(8, train_correct_base=50),
        result(10),
        result(12, train_correct_base=50, train_correct_other=50),
    ]
    assert learned_at(rows) == LearnedAt(8, 12)
    assert learned_at(rows[:5]) == LearnedAt(8, None)
    assert learned_at([]) == LearnedAt(None, None)
