"""Whatever happens to experiments in whatever order, over two connections, what the house promises holds
(core/store/README.md, "The fence"; api/README.md, "States").

Every claim ever made goes on writing, stale ones too; a transaction may break off before its commit, or be tried twice,
as after a connection that was lost in the commit.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from core.results import EpochResult
from core.states import ENDED, MOVES, Ask, ErrorKind, State, Wish
from core.store import attempts, checkpoints, claims, curves, events, experiments, extensions, leases, wishes
from core.store.checkpoints import Saved
from core.store.errors import ClaimLost, NotAllowed, NotFound, NotLonger
from core.store.experiments import Experiment, ExperimentError
from core.store.leases import Claim
from core.store.session import Store
from tests.chaos.conftest import Summarize
from tests.unit.store.builders import ENDED as LEASE_ENDED
from tests.unit.store.builders import MINUTE, PROVENANCE, a_worker, result, spec

MAX_FAILURES = 3
EPOCHS = 4
STEPS = 10  # an epoch
MANY = 1000 if os.environ.get("BALLAST_TEST_LONG") else 400  # examples of the slow trial
KINDS = ("cpu", "H200")


REFUSALS = (ClaimLost, NotAllowed, NotFound, NotLonger)

TABLES = ("events", "checkpoints", "predictions", "weights", "curve_rows", "experiments")

FATES = st.sampled_from(["commits", "commits", "commits", "breaks off", "is tried twice"])
HANDS = st.sampled_from([0, 1])  # which connection
LEASES = st.sampled_from([LEASE_ENDED, MINUTE])
WHICH = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5])


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
        @initialize(every=st.lists(st.integers(1, 3), min_size=1, max_size=2))
        def begin(self, every: list[int]) -> None:
            count[0] += 1
            with stores[0].writing() as tx:
                for table in TABLES:
                    tx.execute(text(f"DELETE FROM {table}"))
            self.claims: list[Claim] = []
            self.ids: list[int] = []
            self.seen: dict[int, Seen] = {}
            self.states: dict[int, State] = {}
            for each in every:
                self._submit(0, each)

        @precondition(lambda self: not self._any(State.QUEUED, State.RUNNING))
        @rule(hand=HANDS, every=st.integers(1, 3))
        def submit(self, hand: int, every: int) -> None:
            self._submit(hand, every)

        @precondition(lambda self: self._any(State.QUEUED))
        @rule(hand=HANDS, lease_ms=LEASES, kind=st.sampled_from(KINDS), breaks_off=st.booleans())
        def claim(self, hand: int, lease_ms: int, kind: str, breaks_off: bool) -> None:
            fate = "breaks off" if breaks_off else "commits"
            claim = self._write(hand, fate, lambda tx: claims.claim(tx, worker_ids[hand], lease_ms, kind))
            if claim is not None:
                self.claims.append(claim)
                now = self._now(claim.experiment_id)
                assert now is not None
                assert (now.state, now.attempt) == (State.RUNNING, claim.attempt)
                assert now.checkpoint_device_kind in (None, kind)  # nobody's ten minutes are over

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, lease_ms=LEASES)
        def renew(self, which: int, hand: int, fate: str, lease_ms: int) -> None:
            claim = self._claim(which)
            self._fenced(hand, fate, claim, lambda tx: leases.renew(tx, claim, lease_ms))

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, back=st.integers(-1, 2), base=st.sampled_from([100, 100, 7]))
        def record(self, which: int, hand: int, fate: str, back: int, base: int) -> None:
            """The next row, or one again, by an attempt that has gone on from before it."""
            claim = self._claim(which)
            epoch = self._row(claim, -back)
            if not 0 < epoch < claim.spec.epochs:
                return
            row = result(epoch, base_in_domain=base)
            standing = self._standing(claim.experiment_id, epoch)
            if self._fenced(hand, fate, claim, lambda tx: attempts.record(tx, claim, row, 1.0)):
                now = self._now(claim.experiment_id)
                if now and standing and not standing.same_as(row):
                    assert now.replay_mismatch_from is not None
                    assert now.replay_mismatch_from <= epoch

        @precondition(lambda self: self._any(State.RUNNING))
        @rule(which=WHICH, hand=HANDS, rows=st.integers(1, EPOCHS), saves=st.booleans())
        def train(self, which: int, hand: int, rows: int, saves: bool) -> None:
            """What a worker does when nothing happens to it."""
            for _ in range(rows):
                self.record(which=which, hand=hand, fate="commits", back=-1, base=100)
                if saves:
                    self.save(which=which, hand=hand, fate="commits", back=0, step=0)

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, back=st.integers(0, 1), step=st.integers(0, STEPS - 1))
        def save(self, which: int, hand: int, fate: str, back: int, step: int) -> None:
            claim = self._claim(which)
            epoch = self._row(claim, -back)
            if epoch == claim.spec.epochs or (epoch, step) == (0, 0):
                return
            before, now = self._now(claim.experiment_id), saved(claim, epoch, step)
            if self._fenced(hand, fate, claim, lambda tx: attempts.save(tx, claim, now)):
                after = self._now(claim.experiment_id)
                assert before
                assert after
                farther = now.iteration > before.checkpoint_step
                assert after.failures == (0 if farther else before.failures)
                passed = [each for each in self._pointed(claim.experiment_id) if each.iteration <= now.iteration]
                assert now.path in [each.path for each in passed]
                assert len(passed) <= checkpoints.KEPT

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS)
        def save_ahead_of_the_rows(self, which: int, hand: int) -> None:
            claim = self._claim(which)
            epoch = self._row(claim, 1)
            if epoch <= claim.spec.epochs and self._now(claim.experiment_id):
                with pytest.raises((IntegrityError, ClaimLost)), stores[hand].writing() as tx:
                    attempts.save(tx, claim, saved(claim, epoch, 0))

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, found=st.sampled_from(["the farthest", "an older", "none"]))
        def begin_to_train(self, which: int, hand: int, fate: str, found: str) -> None:
            """From the farthest checkpoint; or from another, or from none, where it cannot be reached."""
            claim = self._claim(which)
            pointers = self._pointed(claim.experiment_id)
            reached = {"the farthest": pointers, "an older": pointers[1:], "none": []}[found]
            pointer = reached[0] if reached else None
            if self._fenced(hand, fate, claim, lambda tx: attempts.begin(tx, claim, PROVENANCE, pointer)):
                assert self._pointed(claim.experiment_id) == pointers

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES)
        def give_up(self, which: int, hand: int, fate: str) -> None:
            """A checkpoint that is damaged."""
            claim = self._claim(which)
            pointers = self._pointed(claim.experiment_id)
            if pointers and self._fenced(hand, fate, claim, lambda tx: attempts.give_up(tx, claim, pointers[0], "x")):
                assert self._pointed(claim.experiment_id) == pointers[1:]

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, with_checkpoint=st.booleans())
        def succeed(self, which: int, hand: int, fate: str, with_checkpoint: bool) -> None:
            claim = self._claim(which)
            if self._row(claim, 1) != claim.spec.epochs:
                return  # rows are missing: training does not come to its end
            last = claim.spec.epochs
            end = saved(claim, last, 0) if with_checkpoint else None
            row = result(last)
            self._fenced(hand, fate, claim, lambda tx: attempts.finish(tx, claim, row, State.SUCCEEDED, None, 1.0, end))

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES, kind=st.sampled_from([ErrorKind.BAD_DATA, ErrorKind.INTERNAL]))
        def fail(self, which: int, hand: int, fate: str, kind: ErrorKind) -> None:
            claim, error = self._claim(which), ExperimentError(kind, "x")
            self._fenced(hand, fate, claim, lambda tx: attempts.finish(tx, claim, None, State.FAILED, error))

        @precondition(lambda self: self.claims)
        @rule(which=WHICH, hand=HANDS, fate=FATES)
        def release(self, which: int, hand: int, fate: str) -> None:
            claim = self._claim(which)
            before = self._now(claim.experiment_id)
            if self._fenced(hand, fate, claim, lambda tx: leases.release(tx, claim)):
                after = self._now(claim.experiment_id)
                assert before
                assert after
                assert after.state is wished(before, State.QUEUED)
                assert (after.failures, after.rank) == (before.failures, before.rank)

        @precondition(lambda self: self._any(State.RUNNING))
        @rule(hand=HANDS, fate=FATES)
        def expire(self, hand: int, fate: str) -> None:
            before = [now for number in self.ids if (now := self._now(number))]
            if self._write(hand, fate, lambda tx: leases.expire(tx, MAX_FAILURES)) is None:
                return
            for old in before:
                now = self._now(old.id)
                assert now
                if old.state is not State.RUNNING or (old.lease_until_ms or 0) >= old.read_ms:
                    assert now.state is old.state
                elif wished(old, None):
                    assert (now.state, now.failures) == (wished(old, None), old.failures)
                else:
                    lost = old.failures + 1 >= MAX_FAILURES
                    assert now.failures == old.failures + 1
                    assert now.state is (State.FAILED if lost else State.QUEUED)

        @precondition(lambda self: self.ids)
        @rule(hand=HANDS, fate=FATES, which=WHICH, what=st.sampled_from(Ask))
        def wish(self, hand: int, fate: str, which: int, what: Ask) -> None:
            number = self._id(which)
            self._write(hand, fate, lambda tx: wishes.ask(tx, number, what))

        @precondition(lambda self: self._any(State.SUCCEEDED))
        @rule(hand=HANDS, which=WHICH, longer=st.integers(0, 2))
        def extend(self, hand: int, which: int, longer: int) -> None:
            parent = self._now(self._id(which))
            assert parent
            epochs = parent.epochs_total + longer
            child = self._write(hand, "commits", lambda tx: extensions.extend(tx, parent.id, epochs))
            assert child is None or (longer and parent.state is State.SUCCEEDED)
            if child is not None:
                self.ids.append(child.id)

        @precondition(lambda self: self._any(*ENDED))
        @rule(hand=HANDS, which=WHICH, fate=FATES)
        def delete(self, hand: int, which: int, fate: str) -> None:
            number = self._id(which)
            before = self._now(number)
            assert before
            if self._write(hand, fate, lambda tx: experiments.remove(tx, number)) is not None:
                assert before.state in ENDED
                self.ids.remove(number)
                self.seen.pop(number, None)

        @invariant()
        def every_promise_holds(self) -> None:
            with stores[1].reading() as tx:
                for number in getattr(self, "ids", ()):
                    now = experiments.get(tx, number)
                    _, rows = curves.read(tx, number)
                    check_state(now)
                    check_rows(now, rows)
                    check_checkpoints(tx, now)
                    check_events(now, events.read(tx, number))
                    self.seen[number] = self._grown(now, rows)
                    self.states[number] = now.state

        def _any(self, *states: State) -> bool:
            return any(self.states.get(number) in states for number in self.ids)

        def _submit(self, hand: int, every: int) -> None:
            wanted = spec(epochs=EPOCHS, eval_every=every)
            self.ids.append(self._write(hand, "commits", lambda tx: experiments.submit(tx, wanted)).id)

        def _write(self, hand: int, fate: str, write: Callable[[Connection], Any]) -> Any:
            """None where it was refused or broke off."""
            answer = None
            try:
                for _ in range(2 if fate == "is tried twice" else 1):
                    with stores[hand].writing() as tx:
                        answer = write(tx)
                        if fate == "breaks off":
                            raise BrokenOff
            except BrokenOff:
                return None
            except REFUSALS:
                return answer
            return answer

        def _fenced(self, hand: int, fate: str, claim: Claim, write: Callable[[Connection], Any]) -> bool:
            """Whether it was written: if, and only if, the claim holds the experiment."""
            before = self._now(claim.experiment_id)
            holds = before is not None and (before.state, before.attempt) == (State.RUNNING, claim.attempt)
            written = self._write(hand, fate, lambda tx: (write(tx),)) is not None
            if fate == "breaks off":
                assert self._now(claim.experiment_id) == before
            else:
                assert written == holds
                assert holds or self._now(claim.experiment_id) == before
            return written

        def _grown(self, now: Experiment, rows: list[EpochResult]) -> Seen:
            new = Seen(now.revision, now.attempt, now.epochs_done, now.checkpoint_step, list(rows))
            old = self.seen.get(now.id, new)
            for what in ("revision", "attempt", "epochs_done", "checkpoint_step"):
                assert getattr(new, what) >= getattr(old, what), what
            assert [row for row in rows if row in old.rows] == old.rows  # what stands is never rewritten
            return new

        def _claim(self, which: int) -> Claim:
            """Mostly one of the latest."""
            return self.claims[-1 - which % len(self.claims)]

        def _id(self, which: int) -> int:
            return self.ids[which % len(self.ids)]

        def _now(self, number: int) -> Experiment | None:
            with stores[0].reading() as tx:
                try:
                    return experiments.get(tx, number)
                except NotFound:
                    return None

        def _row(self, claim: Claim, ahead: int) -> int:
            """The epoch of the row that is so many ahead of the last that stands; 0 where there is none."""
            now = self._now(claim.experiment_id)
            rows = [0, *(epoch for epoch in range(1, claim.spec.epochs + 1) if claim.spec.evaluated(epoch))]
            last = rows.index(now.epochs_done) if now else 0
            return rows[min(max(last + ahead, 0), len(rows) - 1)]

        def _standing(self, number: int, epoch: int) -> EpochResult | None:
            with stores[0].reading() as tx:
                try:
                    rows = curves.read(tx, number)[1]
                except NotFound:
                    return None
            return next((row for row in rows if row.epoch == epoch), None)

        def _pointed(self, number: int) -> list[checkpoints.Pointer]:
            with stores[0].reading() as tx:
                return checkpoints.farthest_first(tx, number)

    return House


def wished(now: Experiment, otherwise: State | None) -> State | None:
    obeyed = {Wish.CANCEL: State.CANCELLED, Wish.PAUSE: State.PAUSED}
    return obeyed[now.requested] if now.requested else otherwise


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
    pointers = checkpoints.farthest_first(tx, now.id)
    assert len({pointer.path for pointer in pointers}) == len(pointers)
    assert now.checkpoint_row <= now.epochs_done
    assert all(pointer.iteration <= now.checkpoint_step for pointer in pointers)
    assert all(pointer.epoch <= now.epochs_done or not now.spec.evaluated(pointer.epoch) for pointer in pointers)


def check_events(now: Experiment, told: list[events.Event]) -> None:
    """They tell the whole way: each begins where the one before ended, the last where it stands."""
    moves = [(event.from_state, event.to_state) for event in told if event.to_state]
    assert moves[0] == (None, State.QUEUED)
    assert all(origin is before[1] for before, (origin, _) in pairwise(moves))
    assert all(to in MOVES[origin] for origin, to in moves[1:] if origin and to)
    assert moves[-1][1] is now.state
    assert sum(event.kind == "claimed" for event in told) == now.attempt
    assert (now.replay_mismatch_from is not None) >= any(event.kind == "replay_mismatch" for event in told)


@pytest.mark.parametrize("examples", [25, pytest.param(MANY, marks=pytest.mark.slow)])
def test_no_order_of_steps_breaks_a_promise(
    examples: int, store: Store, database_url: str, summarize: Summarize
) -> None:
    other = Store(database_url)
    ran = [0]
    try:
        run_state_machine_as_test(
            machine_over((store, other), ran),
            settings=settings(
                max_examples=examples,
                stateful_step_count=15,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        other.close()
    summarize(f"state machine, {store.dialect}", trials=ran[0])
