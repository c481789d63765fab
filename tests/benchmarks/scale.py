"""`make bench-scale`: a hundred thousand experiments queued on a real PostgreSQL, and a thousand workers that do
everything but train. Claims as fast as they go, 8000 curves as fast as they arrive, and a fleet at its own pace.
"""

import heapq
import itertools
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
from sqlalchemy import select, text

from core.states import State, WorkerState
from core.store import attempts, claims, leases, schema, turns, workers
from core.store import experiments as experiments_store
from core.store.events import EventKind
from core.store.leases import Claim
from core.store.session import Store
from core.store.tables import events, experiments
from core.tokens import WORKER
from tests.benchmarks.harness import Measurement, report
from tests.servers import Postgres
from tests.unit.store.builders import analyzed, result, spec

QUEUED = 100_000
OWNERS = 20  # the first has half of what is queued
CLAIMS = 1_000  # as many as there are workers
CLAIMERS = 16  # at once
CURVES = 8_000
EPOCHS = 3  # of each
WORKERS = 1_000
COMING_S = 30.0  # in which a fleet comes to work, and nothing is measured yet
FLEET_S = 90.0
HEARTBEAT_S = 5.0  # as shipped
EPOCH_S = 10.0
NEWCOMERS = 20  # of an owner who comes when everything is busy
SITES = 8  # processes that simulate
THREADS = 8  # of each, of a fleet: more would wait for each other, as workers, each a process, do not
LEASE_MS = 120_000  # none ends: what is simulated here are no deaths


def measure() -> Iterator[Measurement]:
    with Postgres() as server:
        server.execute("CREATE DATABASE scale TEMPLATE template0")
        url = server.url_of("scale")
        schema.upgrade(url)
        with closing(Store(url)) as store:
            _fill(store)
            yield from _claims(server, store, url)
            yield from _curves(server, url)
            yield from _fleet(server, store, url)


def _fill(store: Store) -> None:
    with store.writing() as tx:
        for number in range(OWNERS):
            turns.remember(tx, _owner(number))
        tx.execute(
            text(
                "INSERT INTO experiments (revision, name, state, spec, digest, pack_key, dataset, model, "
                "importance_weight, owner, priority, queued_ms, rank, attempt, failures, epochs_done, epochs_total, "
                "created_ms) SELECT 1, 'n', 'queued', :spec, 'd', 'p', 'mnist', 'cnn', '16:1', "
                "'owner-' || CASE WHEN i % 2 = 0 THEN 0 ELSE i % :owners END, 0, i, i, 0, 0, 0, :epochs, 0 "
                "FROM generate_series(1, :n) i"
            ),
            {"spec": spec(epochs=EPOCHS).model_dump_json(), "n": QUEUED, "owners": OWNERS, "epochs": EPOCHS},
        )
    analyzed(store)


def _owner(number: int) -> str:
    return f"owner-{number}"


# Claims as fast as they go.


def _claims(server: Postgres, store: Store, url: str) -> Iterator[Measurement]:
    with _load(server) as load:
        seconds = list(itertools.chain(*_at_sites(partial(_claim_many, url, CLAIMS // SITES))))
    yield Measurement(f"claims, of {QUEUED} queued, by {CLAIMERS} at once", [CLAIMS / load.seconds], "/s", at_least=300)
    yield load.of("database, of a core, while they claim")
    yield Measurement("a claim among so many", [1000 * each for each in seconds], "ms")
    _require_in_turn(store)


def _claim_many(url: str, n: int) -> list[float]:
    with closing(Store(url)) as store:
        mine = [_registered(store) for _ in range(CLAIMERS // SITES)]
        left = iter(range(n))
        one_at_a_time = threading.Lock()

        def claim_until_done(worker_id: int) -> list[float]:
            taken = []
            while True:
                with one_at_a_time:
                    if next(left, None) is None:
                        return taken
                taken.append(_timed(partial(_claim, store, worker_id))[0])

        with ThreadPoolExecutor(len(mine)) as threads:
            return list(itertools.chain(*threads.map(claim_until_done, mine)))


def _require_in_turn(store: Store) -> None:
    """None twice; each owner's in the order of their ranks; and at no time did one have two more than another."""
    with store.reading() as tx:
        order = tx.execute(
            select(experiments.c.owner, experiments.c.rank, experiments.c.id)
            .join(events, events.c.experiment_id == experiments.c.id)
            .where(events.c.kind == EventKind.CLAIMED)
            .order_by(events.c.id)
        ).all()
    assert len({each.id for each in order}) == len(order) == CLAIMS
    ranks: dict[str, list[int]] = {}
    running: Counter[str] = Counter({_owner(number): 0 for number in range(OWNERS) if number % 2 or not number})
    for each in order:
        ranks.setdefault(each.owner, []).append(each.rank)
        running[each.owner] += 1
        assert max(running.values()) - min(running.values()) <= 1, running
    assert all(each == sorted(each) for each in ranks.values())


# Curves as fast as they arrive.


def _curves(server: Postgres, url: str) -> Iterator[Measurement]:
    with _load(server) as load:
        _at_sites(partial(_train_many, url, CURVES // SITES))
    yield Measurement(f"{CURVES} runs of {EPOCHS} epochs, claimed and written", [CURVES / load.seconds], "runs/s")
    yield load.of("database, of a core, while they arrive")


def _train_many(url: str, n: int) -> None:
    with closing(Store(url)) as store:
        mine = [_registered(store) for _ in range(CLAIMERS // SITES)]

        def train(worker_id: int) -> None:
            for _ in range(n // len(mine)):
                claim = _claim(store, worker_id)
                assert claim is not None
                for epoch in range(1, EPOCHS + 1):
                    _write_row(store, claim, epoch)

        with ThreadPoolExecutor(len(mine)) as threads:
            list(threads.map(train, mine))


# A fleet at its own pace.


@dataclass
class _Fleet:
    """What a site has measured, in seconds."""

    claim: list[float] = field(default_factory=list)
    heartbeat: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # behind their time: whether the simulation itself kept up

    def begin_again(self) -> float:
        """Once all have come. Returns the seconds until the next time: never."""
        for each in (self.claim, self.heartbeat, self.row, self.late):
            each.clear()
        return FLEET_S


def _fleet(server: Postgres, store: Store, url: str) -> Iterator[Measurement]:
    with ThreadPoolExecutor() as background, _load(server) as load:
        newcomer = background.submit(_come_later, store)
        sites = _at_sites(partial(_live, url, WORKERS // SITES))
    yield load.of(f"database, of a core, under {WORKERS} workers")
    for name, at_most in (("claim", 100.0), ("heartbeat", None), ("row", None), ("late", None)):
        values = sorted(1000 * each for site in sites for each in getattr(site, name))
        rate = len(values) / (FLEET_S - COMING_S)
        p99 = values[int(0.99 * len(values))]
        yield Measurement(f"p99 of a {name}, {rate:.0f} a second", values, "ms", at_most=at_most, middle=p99)
    yield Measurement(f"a newcomer's {NEWCOMERS} runs, until claimed", newcomer.result(), "s")
    with store.reading() as tx:
        ids = list(tx.scalars(select(events.c.experiment_id).where(events.c.kind == EventKind.CLAIMED)))
    assert len(ids) == len(set(ids)), "claimed twice"


def _come_later(store: Store) -> list[float]:
    """Half way, when everything is busy and others have tens of thousands queued."""
    time.sleep(COMING_S + (FLEET_S - COMING_S) / 2)
    with store.writing("newcomer") as tx:
        ids = [experiments_store.submit(tx, spec(epochs=EPOCHS, seed=seed)).id for seed in range(NEWCOMERS)]
    time.sleep((FLEET_S - COMING_S) / 3)
    at = select(events.c.experiment_id, events.c.kind, events.c.at_ms).where(events.c.experiment_id.in_(ids))
    with store.reading() as tx:
        when = {(each.experiment_id, each.kind): each.at_ms for each in tx.execute(at)}
    return [(when[(each, "claimed")] - when[(each, "submitted")]) / 1000 for each in ids]


class _Worker:
    """What one does but train: claims, writes a row whenever an epoch would have ended, and beats."""

    def __init__(self, store: Store, measured: _Fleet) -> None:
        self._store = store
        self._measured = measured
        self._id = _registered(store)
        self._claim: Claim | None = None
        self._epoch = 0
        self._one_at_a_time = threading.Lock()  # as a real one's heart: not in the middle of a claim

    def step(self) -> float:
        """The end of an epoch, or the beginning of a run. Returns the seconds until the next."""
        with self._one_at_a_time:
            if self._claim is not None:
                self._epoch += 1
                self._measured.row.append(_timed(partial(_write_row, self._store, self._claim, self._epoch))[0])
            if self._claim is None or self._epoch == EPOCHS:
                seconds, self._claim = _timed(partial(_claim, self._store, self._id))
                self._epoch = 0
                self._measured.claim.append(seconds)
            return EPOCH_S * random.uniform(0.8, 1.2)

    def beat(self) -> float:
        with self._one_at_a_time:
            self._measured.heartbeat.append(_timed(self._renew_and_report)[0])
            return HEARTBEAT_S

    def _renew_and_report(self) -> None:
        if self._claim is not None:
            with self._store.writing(WORKER) as tx:
                leases.renew(tx, self._claim, LEASE_MS)
        with self._store.writing(WORKER) as tx:
            busy = WorkerState.BUSY if self._claim else WorkerState.IDLE
            workers.report(tx, self._id, busy, self._claim and self._claim.experiment_id)


def _live(url: str, n: int) -> _Fleet:
    """So many workers for FLEET_S seconds: what each does next stands in a heap by its time."""
    measured = _Fleet()
    with closing(Store(url)) as store:
        begun = time.monotonic()
        order = itertools.count()
        heap: list[tuple[float, int, Callable[[], float]]] = []
        for _ in range(n):
            one = _Worker(store, measured)
            heap.append((begun + random.uniform(0, COMING_S), next(order), one.step))
            heap.append((begun + random.uniform(0, HEARTBEAT_S), next(order), one.beat))
        heap.append((begun + COMING_S, next(order), measured.begin_again))
        heapq.heapify(heap)
        taking = threading.Lock()

        def act() -> None:
            while True:
                with taking:
                    due, _, what = heapq.heappop(heap)
                    if due > begun + FLEET_S:
                        heapq.heappush(heap, (due, next(order), what))
                        return
                time.sleep(max(0.0, due - time.monotonic()))
                measured.late.append(time.monotonic() - due)
                again = due + what()
                with taking:
                    heapq.heappush(heap, (again, next(order), what))

        with ThreadPoolExecutor(THREADS) as threads:
            for each in [threads.submit(act) for _ in range(THREADS)]:
                each.result()
    return measured


# What each of them does.


def _registered(store: Store) -> int:
    with store.writing(WORKER) as tx:
        return workers.register(tx, "simulated", 1, "cpu", "cpu")


def _claim(store: Store, worker_id: int) -> Claim | None:
    """As `worker.loop` does."""
    with store.writing(WORKER) as tx:
        claim = claims.claim(tx, worker_id, LEASE_MS)
        if claim:
            workers.report(tx, worker_id, WorkerState.BUSY, claim.experiment_id)
        return claim


def _write_row(store: Store, claim: Claim, epoch: int) -> None:
    with store.writing(WORKER) as tx:
        if epoch == EPOCHS:
            attempts.finish(tx, claim, result(epoch), State.SUCCEEDED, None, EPOCH_S)
        else:
            attempts.record(tx, claim, result(epoch), EPOCH_S)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    outcome = call()
    return time.perf_counter() - began, outcome


def _at_sites(work: Callable[[], Any]) -> list[Any]:
    """What each process of the simulation returns."""
    with multiprocessing.get_context("spawn").Pool(SITES, sys.setswitchinterval, (0.0002,)) as sites:
        return [each.get() for each in [sites.apply_async(work) for _ in range(SITES)]]


@dataclass
class _Load:
    seconds: float = 0.0
    cpu: float = 0.0

    def of(self, what: str) -> Measurement:
        return Measurement(what, [self.cpu / self.seconds], "cores")


@contextmanager
def _load(server: Postgres) -> Iterator[_Load]:
    """What the database needs of the machine meanwhile."""
    load, began, cpu = _Load(), time.perf_counter(), _cpu_seconds(server)
    yield load
    load.seconds, load.cpu = time.perf_counter() - began, _cpu_seconds(server) - cpu


def _cpu_seconds(server: Postgres) -> float:
    """Of the server and all its processes, also of those that have ended."""
    root = psutil.Process(server.pid)
    now = [each.cpu_times() for each in (root, *root.children(recursive=True))]
    own = root.cpu_times()
    return sum(each.user + each.system for each in now) + own.children_user + own.children_system


if __name__ == "__main__":
    sys.exit(0 if report([measure]) else 1)
