"""Curve rows: what goes in comes out, bit for bit, in one snapshot."""

import math
import struct
from typing import Any

import pytest
from sqlalchemy import update

from core.curve import learned_at
from core.results import EpochResult, LossPoint
from core.store import attempts, curves
from core.store.errors import NotFound
from core.store.session import Store
from core.store.tables import curve_rows
from tests.unit.store.builders import DIAGNOSTICS, claimed, result, submitted


def stored(store: Store, *rows: EpochResult, **fields: Any) -> int:
    experiment_id = submitted(store, **fields)
    claim = claimed(store)
    for row in rows:
        with store.writing() as tx:
            attempts.record(tx, claim, row)
    return experiment_id


def read(store: Store, experiment_id: int, after: int = 0) -> list[EpochResult]:
    with store.reading() as tx:
        return curves.read(tx, experiment_id, after)[1]


FLOAT32 = struct.unpack("<f", struct.pack("<f", 0.1))[0]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, FLOAT32, 0.0, -0.0, 1e-45, 3.4028234663852886e38])
def test_a_loss_comes_back_bit_for_bit_be_it_finite_or_not(store: Store, loss: float) -> None:
    row = result(1, train_loss=loss, loss=(LossPoint(100, loss), LossPoint(200, 0.5)))
    (back,) = read(store, stored(store, row))
    assert back.same_as(row)
    assert struct.pack("<f", back.train_loss) == struct.pack("<f", loss)


def test_loss_points_keep_their_iterations(store: Store) -> None:
    rows = [
        result(1, loss=()),
        result(2, loss=(LossPoint(300, 0.5), LossPoint(400, 0.25), LossPoint(500, 0.125))),
    ]
    assert read(store, stored(store, *rows)) == rows


def test_loss_points_with_a_gap_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="every 100th"):
        stored(store, result(1, loss=(LossPoint(100, 0.5), LossPoint(300, 0.5))))


@pytest.mark.parametrize("dead_units", [(), (0.5,), (0.0, 0.25, 1.0)])
def test_diagnostics_come_back_bit_for_bit(store: Store, dead_units: tuple[float, ...]) -> None:
    row = result(1, diagnostics=DIAGNOSTICS._replace(dead_units=dead_units))
    (back,) = read(store, stored(store, row))
    assert back.same_as(row)
    assert repr(back.diagnostics) == repr(row.diagnostics)


def test_diagnostics_that_a_newer_ballast_has_packed_are_not_read_and_the_row_is(store: Store) -> None:
    experiment_id = stored(store, result(1, diagnostics=DIAGNOSTICS))
    with store.writing() as tx:
        tx.execute(update(curve_rows).values(diagnostics=b"\x02" + bytes(16)))
    assert read(store, experiment_id) == [result(1)]


def test_rows_come_in_the_order_of_their_epochs_and_after_a_given_one(store: Store) -> None:
    experiment_id = stored(store, *(result(epoch) for epoch in (2, 1, 3)))
    assert [row.epoch for row in read(store, experiment_id)] == [1, 2, 3]
    assert [row.epoch for row in read(store, experiment_id, after=2)] == [3]
    assert read(store, experiment_id, after=10**30) == []


@pytest.mark.parametrize("no_such_id", [0, 99, 2**63, 10**30])
def test_the_curve_of_no_experiment_is_not_found(store: Store, no_such_id: int) -> None:
    with store.reading() as tx, pytest.raises(NotFound):
        curves.read(tx, no_such_id)


def test_a_head_says_when_each_class_was_learned_whatever_tail_is_read(store: Store) -> None:
    rows = [
        result(1, train_correct_base=50, train_loss=math.nan),
        result(2, train_n_other=0, train_correct_other=0),
        result(3, train_correct_base=50, diagnostics=DIAGNOSTICS),
        result(4, train_correct_base=50, train_correct_other=50),
        result(5),
    ]
    without = stored(store, *rows)
    experiment_id = stored(store, *rows, diagnostics=True)
    for after in (0, 3, 9):
        with store.reading() as tx:
            assert curves.read(tx, experiment_id, after)[0].learned_at == learned_at(rows) == (3, 4)
            assert curves.read(tx, without, after)[0].learned_at is None


def test_head_and_rows_are_of_one_moment(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.reading() as snapshot:
        before, _ = curves.read(snapshot, experiment_id)
        with store.writing() as tx:
            attempts.record(tx, claim, result(1))
        assert curves.read(snapshot, experiment_id) == (before, [])
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert (head.epochs_done, head.complete, len(rows)) == (1, False, 1)
