"""Reading a long curve from a database to JSON, as the API does."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from core.curve import curve_json
from core.results import LossPoint
from core.store import attempts, curves, schema
from core.store.session import Store
from tests.benchmarks.harness import Measurement
from tests.unit.store.builders import claimed, result, submitted

ROWS = 1000
TRIALS = 50


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ballast.db'}"
        schema.upgrade(url)
        store = Store(url)
        experiment = _with_rows(store)
        _milliseconds(store, experiment)
        yield Measurement(
            f"a curve of {ROWS} rows, SQLite to JSON", [_milliseconds(store, experiment) for _ in range(TRIALS)], "ms"
        )
        store.close()


def _with_rows(store: Store) -> int:
    experiment = submitted(store, epochs=ROWS)
    claim = claimed(store)
    with store.writing() as tx:
        for epoch in range(1, ROWS + 1):
            points = tuple(LossPoint(600 * (epoch - 1) + 100 * (i + 1), 0.25) for i in range(6))  # as on MNIST
            attempts.record(tx, claim, result(epoch, train_loss=0.5, loss=points))
    return experiment


def _milliseconds(store: Store, experiment_id: int) -> float:
    began = time.perf_counter()
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert len(orjson.dumps(curve_json(head, rows))) > ROWS
    return 1000 * (time.perf_counter() - began)
