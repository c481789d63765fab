"""Moves: every one that the table of states allows, no other, and none from a state that has passed."""

import pytest

from core.states import MOVES, State, clause
from core.store import moves
from core.store.errors import ClaimLost, NotAllowed
from core.store.session import Store
from tests.unit.store.builders import cancelled, submitted


def test_every_row_of_the_table_of_states_and_no_other_can_be_moved(store: Store) -> None:
    experiment_id = submitted(store)
    for origin in State:
        for to in State:
            if to in MOVES[origin]:
                continue
            with pytest.raises(NotAllowed, match=clause(origin)), store.writing() as tx:
                moves.move(tx, experiment_id, 0, origin, to)


def test_a_move_from_a_state_that_has_passed_is_refused(store: Store) -> None:
    experiment_id = submitted(store)
    cancelled(store, experiment_id)
    with pytest.raises(ClaimLost), store.writing() as tx:
        moves.move(tx, experiment_id, 0, State.QUEUED, State.PAUSED)
