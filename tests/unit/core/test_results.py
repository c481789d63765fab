"""When two rows are the same, and when one diverged."""

import math
import struct
from typing import Any

import pytest

from core.results import Diagnostics, EpochResult, LossPoint, Predictions
from tests.unit.store.builders import DIAGNOSTICS, result

BESIDE = ("predictions", "weights")
NOT_A_NUMBER = (
    struct.unpack("<f", b"\x00\x00\xc0\x7f")[0],
    struct.unpack("<f", b"\x01\x00\xc0\xff")[0],  # another payload, another sign
)


@pytest.mark.parametrize(
    ("fields", "diverged"),
    [
        ({}, False),
        ({"train_loss": math.nan}, True),
        ({"train_loss": math.inf}, True),
        ({"finite_in_domain": 199}, True),
        ({"finite_out_of_domain": 0}, True),
        ({"loss": (LossPoint(100, math.inf),)}, False),
    ],
    ids=str,
)
def test_a_row_diverged_if_its_loss_or_a_logit_is_not_finite(fields: dict[str, Any], diverged: bool) -> None:
    assert result(1, **fields).diverged is diverged


def test_seconds_need_not_be_the_same() -> None:
    assert result(1, seconds=1.0).same_as(result(1, seconds=2.0))


def test_what_is_kept_beside_a_row_is_not_compared() -> None:
    assert result(1).same_as(result(1)._replace(predictions=Predictions(b"\x80", b""), weights=b"safetensors"))


@pytest.mark.parametrize("one", NOT_A_NUMBER)
@pytest.mark.parametrize("other", NOT_A_NUMBER)
def test_nan_is_the_same_as_nan(one: float, other: float) -> None:
    assert result(1, train_loss=one, loss=(LossPoint(100, one),)).same_as(
        result(1, train_loss=other, loss=(LossPoint(100, other),))
    )


def test_packed_diagnostics_come_back_bit_for_bit() -> None:
    back = Diagnostics.unpacked(DIAGNOSTICS.packed())
    assert repr(back) == repr(DIAGNOSTICS)
    for layers in ((), (0.5,)):
        assert Diagnostics.unpacked(DIAGNOSTICS._replace(dead_units=layers, margin_low_other=0.0).packed()) == (
            DIAGNOSTICS._replace(dead_units=layers, margin_low_other=0.0)
        )


def test_the_layout_of_packed_diagnostics_is_frozen() -> None:
    """What is stored must be read for ever: a version, then float32."""
    packed = Diagnostics(*(float(i) for i in range(9)), 9, 10, 11, (12.0,)).packed()
    assert packed == b"\x01" + struct.pack("<13f", *range(13))
    assert Diagnostics.unpacked(b"\x02" + packed[1:]) is None


@pytest.mark.parametrize("one", NOT_A_NUMBER)
@pytest.mark.parametrize("other", NOT_A_NUMBER)
def test_a_nan_of_diagnostics_is_the_same_as_nan(one: float, other: float) -> None:
    rows = [result(1, diagnostics=DIAGNOSTICS._replace(loss_base=nan)) for nan in (one, other)]
    assert rows[0].same_as(rows[1])


@pytest.mark.parametrize("name", Diagnostics._fields)
def test_one_bit_of_diagnostics_makes_rows_differ(name: str) -> None:
    others = {"bias_difference": 0.0, "norm": 7.0000005, "dead_units": (0.0, 0.25)}  # -0.0 before; the next float32
    changed = others.get(name, 7.0)
    row = result(1, diagnostics=DIAGNOSTICS)
    assert not row.same_as(row._replace(diagnostics=DIAGNOSTICS._replace(**{name: changed})))
    assert not row.same_as(row._replace(diagnostics=None))


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {name: 7}
            for name in EpochResult._fields
            if name not in ("train_loss", "loss", "seconds", "diagnostics", *BESIDE)
        ),
        {"train_loss": math.nan},
        {"train_loss": 0.50000006},  # the next float32
        {"loss": ()},
        {"loss": (LossPoint(100, -0.25),)},
        {"loss": (LossPoint(200, 0.25),)},
        {"loss": (LossPoint(100, math.nan),)},
        {"loss": (LossPoint(100, 0.25), LossPoint(200, 0.25))},
    ],
    ids=str,
)
def test_one_bit_makes_rows_differ(changed: dict[str, Any]) -> None:
    row = result(1)
    assert not row.same_as(row._replace(**changed))
    assert not row._replace(**changed).same_as(row)


def test_minus_zero_is_not_zero() -> None:
    assert not result(1, train_loss=0.0).same_as(result(1, train_loss=-0.0))
