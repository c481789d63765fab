"""What a beat tells: that a claim is lost, which is counted, and how full the GPU is."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pynvml

from core.settings import load_settings
from core.store import tallies, workers
from core.store.session import Store
from core.store.tallies import Tally
from core.store.workers import GpuUse
from tests.unit.store.builders import a_worker, claimed, released, submitted
from worker import gpu
from worker.gpu import GpuMeter
from worker.heartbeat import Heartbeat
from worker.held import Held
from worker.leave import Leave


def heartbeat(store: Store, home: Path, worker_id: int, meter: GpuMeter | None = None) -> Heartbeat:
    return Heartbeat(store, load_settings(home=home, database_url="", broker_url=""), worker_id, Leave(), meter)


def test_a_renewal_that_is_refused_is_counted_once(store: Store, tmp_path: Path) -> None:
    submitted(store)
    worker_id = a_worker(store)
    claim = claimed(store, worker_id=worker_id)
    beating = heartbeat(store, tmp_path, worker_id)
    beating.held = Held(claim, Leave())
    released(store, claim)
    for _ in range(3):
        beating.beat()
    assert beating.held.lost
    with store.reading() as tx:
        assert tallies.totals(tx) == {(Tally.STALE_WRITES, None): 1}


def test_a_beat_tells_how_full_the_gpu_is_and_no_more_once_the_driver_does_not(store: Store, tmp_path: Path) -> None:
    worker_id, meter = a_worker(store), GpuMeter("GPU-33", 5)
    beating = heartbeat(store, tmp_path, worker_id, meter)

    def told() -> GpuUse | None:
        meter.read()
        beating.beat()
        with store.reading() as tx:
            return workers.all_workers(tx, 1)[0].gpu

    driver = {
        "nvmlInit": mock.Mock(),
        "nvmlDeviceGetHandleByUUID": mock.Mock(),
        "nvmlDeviceGetMemoryInfo": mock.Mock(return_value=SimpleNamespace(used=2**30, total=2**32)),
        "nvmlDeviceGetUtilizationRates": mock.Mock(return_value=SimpleNamespace(gpu=7)),
    }
    with mock.patch.multiple(gpu.pynvml, **driver):
        assert told() == GpuUse(1024, 4096, 7)
        driver["nvmlDeviceGetHandleByUUID"].side_effect = pynvml.NVMLError_GpuIsLost
        assert told() is None
