"""Whatever happens in whatever order, what the house promises of an experiment holds (DESIGN §5)."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.states import MOVES, Ask, State
from core.store import claims, curves, events, experiments, wishes
from core.store.claims import Claim
from core.store.errors import ClaimLost, NotAllowed
from core.store.session import Store
from tests.unit.store.builders import ENDED, MINUTE, a_worker, result, spec

STEPS = st.lists(
    st.one_of(
        st.just(("submit", 0, 0)),
        st.tuples(st.just("claim"), st.sampled_from([ENDED, MINUTE]), st.just(0)),
        st.tuples(st.just("record"), st.integers(0, 9), st.integers(1, 3)),
        st.tuples(st.just("finish"), st.integers(0, 9), st.just(3)),
        st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
        st.just(("expire", 0, 0)),
    ),
    max_size=25,
)


class House:
    """Takes steps, with every claim ever made, stale ones too; and remembers what may only grow."""

    def __init__(self, store: Store, worker_id: int) -> None:
        self.store, self.worker_id = store, worker_id
        self.ids: list[int] = []
        self.claims: list[Claim] = []
        self.rows: dict[int, list[object]] = {}
        self.seen: dict[int, tuple[int, int, int]] = {}

    def take(self, step: str, which: int, epoch: int) -> None:
        try:
            with self.store.writing() as tx:
                match step:
                    case "submit":
                        self.ids.append(experiments.submit(tx, spec()).id)
                    case "claim" if claim := claims.claim(tx, self.worker_id, which):
                        self.claims.append(claim)
                    case "expire":
                        claims.expire(tx, max_failures=3)
                    case "cancel" if self.ids:
                        wishes.ask(tx, self.ids[which % len(self.ids)], Ask.CANCEL)
                    case "record" if self.claims:
                        claims.record(tx, self._claim(which), result(epoch, base_in_domain=which))
                    case "finish" if self.claims:
                        claims.finish(tx, self._claim(which), result(epoch), State.SUCCEEDED, None)
                    case "release" if self.claims:
                        claims.release(tx, self._claim(which))
        except (ClaimLost, NotAllowed):
            pass

    def _claim(self, which: int) -> Claim:
        return self.claims[which % len(self.claims)]

    def check(self) -> None:
        with self.store.reading() as tx:
            for experiment_id in self.ids:
                self._check(tx, experiment_id)

    def _check(self, tx: experiments.Connection, experiment_id: int) -> None:
        now = experiments.get(tx, experiment_id)
        _, rows = curves.read(tx, experiment_id)
        told = events.read(tx, experiment_id)
        assert (now.state is State.RUNNING) == (now.worker_id is not None) == (now.lease_until_ms is not None)
        assert now.requested is None or now.state is State.RUNNING
        assert now.failures <= now.attempt
        assert now.epochs_done == max((row.epoch for row in rows), default=0)
        # Written rows stay as they are, and what only grows has grown.
        standing = self.rows.get(experiment_id, [])
        assert [row for row in rows if row in standing] == standing
        self.rows[experiment_id] = list(rows)
        grown = (now.revision, now.attempt, now.epochs_done)
        assert all(a >= b for a, b in zip(grown, self.seen.get(experiment_id, grown), strict=True))
        self.seen[experiment_id] = grown
        # The events tell the whole way: each begins where the one before ended, the last where it stands.
        moves = [(event.from_state, event.to_state) for event in told if event.to_state]
        assert moves[0] == (None, State.QUEUED)
        assert all(origin is before[1] for before, (origin, _) in pairwise(moves))
        assert all(to in MOVES[origin] for origin, to in moves[1:] if origin and to)
        assert moves[-1][1] is now.state
        assert sum(event.kind == "claimed" for event in told) == now.attempt


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_order_of_steps_breaks_a_promise(store: Store, steps: list[tuple[str, int, int]]) -> None:
    house = House(store, a_worker(store))
    for step in steps:
        house.take(*step)
    house.check()
