"""Pages of a list of 100 000 experiments, from both databases, as the API reads them."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.states import State
from core.store import experiments, schema, sweeps
from core.store.outlook import outlook
from core.store.session import Store
from tests.benchmarks.harness import Measurement
from tests.servers import Postgres
from tests.unit.store.builders import analyzed, filled

N = 100_000
TRIALS = 30
PAGE = 51
AT_MOST = 50.0  # ms


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure(f"sqlite:///{Path(folder) / 'ballast.db'}", "SQLite")
    with Postgres() as server:
        server.execute("CREATE DATABASE lists TEMPLATE template0")
        yield from _measure(server.url_of("lists"), "PostgreSQL")


def _measure(url: str, name: str) -> Iterator[Measurement]:
    schema.upgrade(url)
    store = Store(url)
    filled(store, N)
    if store.dialect == "postgresql":
        analyzed(store)
    reads: dict[str, Callable[[], object]] = {
        "first page": lambda: _page(store),
        "last page": lambda: _page(store, before=PAGE),
        "every filter together": lambda: _page(
            store, state=State.FAILED, sweep_id=7, dataset="mnist", model="cnn", importance_weight="16:1"
        ),
        "what is queued, with its place": lambda: _page(store, state=State.QUEUED),
    }
    for what, read in reads.items():
        yield Measurement(f"{what}, of {N}, {name}", _milliseconds(read), "ms", at_most=AT_MOST)
    # Without a promise: what no experiment matches, so that all are read, by their keys; and half of all counted.
    nothing = {"state": State.FAILED, "dataset": "mnist", "model": "cnn", "importance_weight": "16:1"}
    yield Measurement(
        f"all filters but the sweep, no match, {name}", _milliseconds(lambda: _page(store, **nothing)), "ms"
    )
    yield Measurement(f"50 sweeps of 1000 each, {name}", _milliseconds(lambda: _sweeps(store)), "ms")
    store.close()


def _page(store: Store, **wanted: object) -> None:
    with store.reading() as tx:
        found = experiments.list_newest(tx, limit=PAGE, **wanted)  # type: ignore[arg-type]
        outlook(tx, found)


def _sweeps(store: Store) -> None:
    with store.reading() as tx:
        sweeps.list_newest(tx, PAGE)


def _milliseconds(read: Callable[[], object]) -> list[float]:
    read()
    return [_once(read) for _ in range(TRIALS)]


def _once(read: Callable[[], object]) -> float:
    began = time.perf_counter()
    read()
    return 1000 * (time.perf_counter() - began)
