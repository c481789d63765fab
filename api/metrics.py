"""What Prometheus scrapes: how long requests take, which this process counts, and the rest as it is in the database at
each scrape, so that nothing of a dead worker stays behind. The statements are in core.store.metrics.
"""

import time
from collections.abc import Iterator
from importlib import metadata

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.states import ErrorKind
from core.store import metrics, schema
from core.store.errors import StoreError
from core.store.metrics import Facts
from core.store.session import UNFORESEEN, Store
from core.store.tallies import Tally

MEDIA_TYPE = CONTENT_TYPE_LATEST

_MIB = 1024 * 1024
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds; large sweeps and reports too
_METHODS = frozenset({"GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"})

_COUNTERS = {
    Tally.EPOCHS: ("ballast_epochs", "Epochs whose rows were recorded, those trained again too."),
    Tally.IMAGES: ("ballast_images_trained", "Images that were trained on in these."),
    Tally.LEASES_LOST: ("ballast_lease_losses", "Experiments taken back from a worker that fell silent."),
    Tally.STALE_WRITES: ("ballast_stale_writes_refused", "Writes of workers that no longer held the experiment."),
}


class Metrics:
    """Of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "ballast_http_request_seconds",
            "How long requests took, by route.",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=_BUCKETS,
        )

    def scraped(self, store: Store) -> bytes:
        """Prometheus' text, with what is in the database now."""
        of_now = CollectorRegistry()
        of_now.register(_FromSql(store))
        return generate_latest(of_now) + generate_latest(self._registry)


class Timed:
    """ASGI middleware: how long each request takes, by the template of its route, since paths are without number."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500  # which is answered further out, where nothing else was

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path_format", "none")
            of_app: Metrics = scope["app"].state.metrics
            of_app.request_seconds.labels(method, route, status).observe(time.perf_counter() - began)


class _FromSql(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """With the database away, that it is."""
        yield InfoMetricFamily(
            "ballast",
            "Which Ballast this is, and the revision of the tables that it needs.",
            {"version": metadata.version("ballast"), "revision": schema.REVISION},
        )
        try:
            with self._store.reading() as tx:
                facts = metrics.facts(tx)
        except (StoreError, *UNFORESEEN):
            facts = None
        yield GaugeMetricFamily("ballast_database_up", "Whether the database answers.", float(facts is not None))
        if facts is not None:
            yield from _queue(facts)
            yield from _workers(facts)
            yield from _counters(facts)


def _queue(facts: Facts) -> Iterator[Metric]:
    which = ("owner", "device")
    queued = GaugeMetricFamily("ballast_experiments_queued", "Experiments that wait for a worker.", labels=which)
    oldest = GaugeMetricFamily("ballast_queue_oldest_seconds", "How long the first of them waits.", labels=which)
    running = GaugeMetricFamily("ballast_experiments_running", "Experiments that a worker holds.", labels=which)
    for load in facts.loads:
        queued.add_metric((load.owner, load.device), load.queued)
        oldest.add_metric((load.owner, load.device), load.oldest_seconds or 0)
        running.add_metric((load.owner, load.device), load.running)
    yield from (queued, oldest, running)


def _workers(facts: Facts) -> Iterator[Metric]:
    alive = GaugeMetricFamily("ballast_workers", "Workers that are alive.", labels=("state", "device_kind"))
    for (state, kind), n in facts.workers.items():
        alive.add_metric((state, kind), n)
    epoch = GaugeMetricFamily("ballast_epoch_seconds", "An epoch of what runs, the median.", labels=("device_kind",))
    for kind, seconds in facts.epoch_seconds.items():
        epoch.add_metric((kind,), seconds)
    yield from (alive, epoch)
    where = ("host", "device")
    used = GaugeMetricFamily("ballast_gpu_memory_used_bytes", "Of the whole GPU, by whomever.", labels=where)
    total = GaugeMetricFamily("ballast_gpu_memory_total_bytes", "Of the whole GPU.", labels=where)
    utilisation = GaugeMetricFamily("ballast_gpu_utilisation_ratio", "0 to 1, of the whole GPU.", labels=where)
    for gpu in facts.gpus:
        used.add_metric((gpu.host, gpu.device), gpu.use.memory_used_mib * _MIB)
        total.add_metric((gpu.host, gpu.device), gpu.use.memory_total_mib * _MIB)
        if gpu.use.utilisation is not None:
            utilisation.add_metric((gpu.host, gpu.device), gpu.use.utilisation / 100)
    yield from (used, total, utilisation)


def _counters(facts: Facts) -> Iterator[Metric]:
    """From 0 on, so that a first one is a rise."""
    for tally, (name, says) in _COUNTERS.items():
        yield CounterMetricFamily(name, says, facts.totals.get((tally, None), 0))
    failures = CounterMetricFamily("ballast_failures", "Experiments that failed, by kind of error.", labels=("kind",))
    for kind in ErrorKind:
        failures.add_metric((kind,), facts.totals.get((Tally.FAILURES, kind), 0))
    yield failures
    yield GaugeMetricFamily(
        "ballast_database_round_trip_seconds", "A statement to the database, and back.", facts.round_trip_seconds
    )
