"""Show 9: whatever happens to experiments in whatever order, over two connections, what the house promises holds
(DESIGN §5, CONTRACT §2).

Every claim ever made goes on writing, stale ones too; a transaction may break off before its commit, or be told twice, as
after a connection that was lost in the commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, text

from core.states import ENDED, MOVES, Ask, ErrorKind, State
from core.store import checkpoints, claims, curves, events, experiments, extensions, wishes
from core.store.checkpoints import Saved
from core.store.claims import Claim
from core.store.errors import ClaimLost, NotAllowed, NotFound, NotLonger
from core.store.experiments import Experiment, ExperimentError
from core.store.session import Store
from tests.chaos.conftest import Tell
from tests.unit.store.builders import ENDED as LEASE_ENDED
from tests.unit.store.builders import MINUTE, a_worker, result, spec

MAX_FAILURES = 3
EPOCHS = 4
STEPS = 10  # an epoch
KINDS = ("cpu", "H200")

REFUSALS = (ClaimLost, NotAllowed, NotFound, NotLonger)

TABLES = ("events", "checkpoints", "predictions", "weights", "curve_rows", "experiments", "workers")


class BrokenOff(Exception):
    """A process or a connection that ends in the middle of a transaction."""


@dataclass
class Seen:
    """What may only grow, or never change."""

    revision: int
    attempt: int
    epochs_done: int
    checkpoint_step: int
    rows: list[Any]


def machine_over(stores: tuple[Store, Store], count: list[int]) -> type[RuleBasedStateMachine]:
    """Two connections to one database."""
    worker_ids = [a_worker(stores[0], pid=pid) for pid in (1, 2)]

    class House(RuleBasedStateMachine):
        made: Bundle[Claim] = Bundle("made")
        fates = st.sampled_from(["commits", "commits", "commits", "breaks off", "is told twice"])
        hands = st.sampled_from([0, 1])

        @initialize()
        def begin(self) -> None:
            count[0] += 1
            with stores[0].writing() as tx:
                for table in TABLES:
                    if table != "workers":
                        tx.execute(text(f"DELETE FROM {table}"))
            self.ids: list[int] = []
            self.seen: dict[int, Seen] = {}

        def _write(self, hand: int, fate: str, write: Callable[[Connection], Any]) -> Any:
            """None where it was refused or broke off."""
            answer = None
            try:
                for _ in range(2 if fate == "is told twice" else 1):
                    with stores[hand].writing() as tx:
                        answer = write(tx)
                        if fate == "breaks off":
                            raise BrokenOff
            except BrokenOff:
                return None
            except REFUSALS:
                return answer
            return answer

        @rule(hand=hands, every=st.integers(1, 3))
        def submit(self, hand: int, every: int) -> None:
            submitted = spec(epochs=EPOCHS, eval_every=every)
            self.ids.append(self._write(hand, "commits", lambda tx: experiments.submit(tx, submitted)).id)

        @rule(
            target=made,
            hand=hands,
            lease_ms=st.sampled_from([LEASE_ENDED, MINUTE]),
            kind=st.sampled_from(KINDS),
            fate=st.sampled_from(["commits", "commits", "breaks off"]),
        )
        def claim(self, hand: int, lease_ms: int, kind: str, fate: str) -> Any:
            claim = self._write(hand, fate, lambda tx: claims.claim(tx, worker_ids[hand], lease_ms, kind))
            if claim is None:
                return multiple()
            with stores[hand].reading() as tx:
                now = experiments.get(tx, claim.experiment_id)
            assert (now.state, now.attempt) == (State.RUNNING, claim.attempt)
            assert now.checkpoint_kind in (None, kind)  # nobody's ten minutes are over
            return claim

        @rule(claim=made, hand=hands, fate=fates, lease_ms=st.sampled_from([LEASE_ENDED, MINUTE]))
        def renew(self, claim: Claim, hand: int, fate: str, lease_ms: int) -> None:
            self._write(hand, fate, lambda tx: claims.renew(tx, claim, lease_ms))

        @rule(claim=made, hand=hands, fate=fates, epoch=st.integers(1, EPOCHS - 1), base=st.sampled_from([100, 100, 7]))
        def record(self, claim: Claim, hand: int, fate: str, epoch: int, base: int) -> None:
            """A worker writes its rows in order; a stale one, or one of an attempt that went on from elsewhere, any."""
            if claim.spec.evaluated(epoch):
                row = result(epoch, base_in_domain=base)
                self._write(hand, fate, lambda tx: claims.record(tx, claim, row, 1.0))

        @rule(claim=made, hand=hands, fate=fates, epoch=st.integers(0, EPOCHS - 1), step=st.integers(0, STEPS - 1))
        def save(self, claim: Claim, hand: int, fate: str, epoch: int, step: int) -> None:
            """A worker saves only behind its rows: that is the writer's part of the promise."""
            if claim.spec.row_before(epoch) <= self._epochs_done(claim):
                self._write(hand, fate, lambda tx: claims.save(tx, claim, saved(claim, epoch, step)))

        @rule(claim=made, hand=hands, epoch=st.integers(1, EPOCHS))
        def save_ahead_of_the_rows(self, claim: Claim, hand: int, epoch: int) -> None:
            if claim.spec.row_before(epoch) > self._epochs_done(claim):
                with pytest.raises(Exception, match=f"checkpoint_row|{ClaimLost.__name__}|no longer held"):
                    with stores[hand].writing() as tx:
                        claims.save(tx, claim, saved(claim, epoch, 0))

        @rule(claim=made, hand=hands, fate=fates)
        def go_on(self, claim: Claim, hand: int, fate: str) -> None:
            def write(tx: Connection) -> None:
                for pointer in checkpoints.newest_first(tx, claim.experiment_id)[:1]:
                    claims.resume(tx, claim, pointer, "{}")

            self._write(hand, fate, write)

        @rule(claim=made, hand=hands, fate=fates)
        def give_up_a_checkpoint(self, claim: Claim, hand: int, fate: str) -> None:
            def write(tx: Connection) -> None:
                for pointer in checkpoints.newest_first(tx, claim.experiment_id)[:1]:
                    claims.give_up(tx, claim, pointer, "damaged")

            self._write(hand, fate, write)

        @rule(claim=made, hand=hands, fate=fates, with_checkpoint=st.booleans())
        def succeed(self, claim: Claim, hand: int, fate: str, with_checkpoint: bool) -> None:
            end = saved(claim, EPOCHS, 0) if with_checkpoint else None
            self._write(
                hand, fate, lambda tx: claims.finish(tx, claim, result(EPOCHS), State.SUCCEEDED, None, 1.0, end)
            )

        @rule(claim=made, hand=hands, fate=fates, kind=st.sampled_from([ErrorKind.BAD_DATA, ErrorKind.INTERNAL]))
        def fail(self, claim: Claim, hand: int, fate: str, kind: ErrorKind) -> None:
            error = ExperimentError(kind, "x")
            self._write(hand, fate, lambda tx: claims.finish(tx, claim, None, State.FAILED, error))

        @rule(claim=made, hand=hands, fate=fates)
        def release(self, claim: Claim, hand: int, fate: str) -> None:
            self._write(hand, fate, lambda tx: claims.release(tx, claim))

        @rule(hand=hands, fate=fates)
        def expire(self, hand: int, fate: str) -> None:
            self._write(hand, fate, lambda tx: claims.expire(tx, MAX_FAILURES))

        @rule(hand=hands, fate=fates, which=st.integers(0, 9), what=st.sampled_from(Ask))
        def wish(self, hand: int, fate: str, which: int, what: Ask) -> None:
            if self.ids:
                number = self.ids[which % len(self.ids)]
                self._write(hand, fate, lambda tx: wishes.ask(tx, number, what))

        @rule(hand=hands, which=st.integers(0, 9), epochs=st.integers(EPOCHS, EPOCHS + 2))
        def extend(self, hand: int, which: int, epochs: int) -> None:
            if self.ids:
                number = self.ids[which % len(self.ids)]
                child = self._write(hand, "commits", lambda tx: extensions.extend(tx, number, epochs))
                if child is not None:
                    self.ids.append(child.id)

        @rule(hand=hands, which=st.integers(0, 9), fate=fates)
        def delete(self, hand: int, which: int, fate: str) -> None:
            if self.ids:
                number = self.ids[which % len(self.ids)]
                folders = self._write(hand, fate, lambda tx: experiments.remove(tx, number))
                if folders is not None:
                    self.ids.remove(number)
                    self.seen.pop(number, None)

        @invariant()
        def every_promise_holds(self) -> None:
            if not hasattr(self, "ids"):
                return
            with stores[1].reading() as tx:
                for number in self.ids:
                    now = experiments.get(tx, number)
                    _, rows = curves.read(tx, number)
                    check_state(now)
                    check_rows(now, rows)
                    check_checkpoints(tx, now)
                    check_events(now, events.read(tx, number))
                    self.seen[number] = self._grown(now, rows)

        def _grown(self, now: Experiment, rows: list[Any]) -> Seen:
            new = Seen(now.revision, now.attempt, now.epochs_done, now.checkpoint_step, list(rows))
            old = self.seen.get(now.id, new)
            for what in ("revision", "attempt", "epochs_done", "checkpoint_step"):
                assert getattr(new, what) >= getattr(old, what), what
            assert [row for row in rows if row in old.rows] == old.rows  # what stands is never rewritten
            return new

        def _epochs_done(self, claim: Claim) -> int:
            with stores[0].reading() as tx:
                try:
                    return experiments.get(tx, claim.experiment_id).epochs_done
                except NotFound:
                    return EPOCHS

    return House


def saved(claim: Claim, epoch: int, step: int) -> Saved:
    path = f"{claim.folder}/{claim.attempt}-{epoch}-{step}"
    return Saved(epoch, step, epoch * STEPS + step, path, "sha256", "{}", KINDS[claim.attempt % 2])


def check_state(now: Experiment) -> None:
    held = now.state is State.RUNNING
    assert held == (now.worker_id is not None) == (now.lease_until_ms is not None)
    assert now.requested is None or held
    assert (now.state in ENDED) == (now.ended_ms is not None)
    assert (now.state is State.FAILED) == (now.error is not None)
    assert now.failures < MAX_FAILURES or (now.error is not None and now.error.kind is ErrorKind.LOST)


def check_rows(now: Experiment, rows: list[Any]) -> None:
    epochs = [row.epoch for row in rows]
    assert epochs == sorted(set(epochs))
    assert now.epochs_done == max(epochs, default=0)
    assert now.state is not State.SUCCEEDED or now.epochs_done == now.epochs_total


def check_checkpoints(tx: Connection, now: Experiment) -> None:
    pointers = checkpoints.newest_first(tx, now.id)
    assert len(pointers) <= checkpoints.KEPT
    assert len({pointer.path for pointer in pointers}) == len(pointers)
    assert now.checkpoint_row <= now.epochs_done
    assert all(pointer.epoch * STEPS + pointer.step <= now.checkpoint_step for pointer in pointers)


def check_events(now: Experiment, told: list[events.Event]) -> None:
    """They tell the whole way: each begins where the one before ended, the last where it stands."""
    moves = [(event.from_state, event.to_state) for event in told if event.to_state]
    assert moves[0] == (None, State.QUEUED)
    assert all(origin is before[1] for before, (origin, _) in pairwise(moves))
    assert all(to in MOVES[origin] for origin, to in moves[1:] if origin and to)
    assert moves[-1][1] is now.state
    assert sum(event.kind == "claimed" for event in told) == now.attempt
    assert (now.replay_mismatch_from is not None) >= any(event.kind == "replay_mismatch" for event in told)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_order_of_steps_breaks_a_promise(examples: int, store: Store, database_url: str, tell: Tell) -> None:
    other = Store(database_url)
    ran = [0]
    try:
        run_state_machine_as_test(
            machine_over((store, other), ran),
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        other.close()
    tell(f"state machine, {store.dialect}", trials=ran[0])
