"""How full a GPU is: as the driver tells, which may fail, know nothing or hang."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pynvml
import pytest

from core.store.workers import GpuUse
from tests.servers import wait_until
from worker import gpu
from worker.gpu import GpuMeter

GIB = 1024**3


@pytest.fixture
def driver() -> Iterator[mock.Mock]:
    """A stand-in for NVML: there is no GPU where tests run."""
    answers = mock.Mock()
    answers.memory.return_value = SimpleNamespace(used=60 * GIB, total=80 * GIB)
    answers.rates.return_value = SimpleNamespace(gpu=97)
    calls = {
        "nvmlInit": answers.init,
        "nvmlDeviceGetHandleByUUID": answers.handle,
        "nvmlDeviceGetMemoryInfo": answers.memory,
        "nvmlDeviceGetUtilizationRates": answers.rates,
    }
    with mock.patch.multiple(gpu.pynvml, **calls):
        yield answers


def read(meter: GpuMeter) -> GpuUse | None:
    meter.read()
    return meter.last_use()


def test_it_is_that_of_the_gpu_as_a_whole_by_its_uuid(driver: mock.Mock) -> None:
    meter = GpuMeter("GPU-33", 5)
    assert meter.last_use() is None
    assert read(meter) == read(meter) == GpuUse(60 * 1024, 80 * 1024, 97)
    assert driver.handle.call_args.args == ("GPU-33",)
    assert driver.init.call_count == 1


def test_a_slice_is_found_by_its_own_and_has_no_utilisation(driver: mock.Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-7")
    driver.rates.side_effect = pynvml.NVMLError_NotSupported
    assert read(GpuMeter("GPU-33", 5)) == GpuUse(60 * 1024, 80 * 1024, None)
    assert driver.handle.call_args.args == ("MIG-7",)


def test_without_a_driver_nothing_is_told(driver: mock.Mock) -> None:
    driver.init.side_effect = pynvml.NVMLError_LibraryNotFound
    assert read(GpuMeter("GPU-33", 5)) is None


def test_a_gpu_that_is_lost_is_told_no_more_and_again_when_it_is_back(driver: mock.Mock) -> None:
    meter = GpuMeter("GPU-33", 5)
    assert read(meter)
    driver.handle.side_effect = pynvml.NVMLError_GpuIsLost
    assert read(meter) is None
    driver.handle.side_effect = None
    assert read(meter)


def test_a_driver_that_hangs_holds_nobody_up_and_what_it_said_before_is_forgotten(driver: mock.Mock) -> None:
    meter = GpuMeter("GPU-33", 0.05)
    assert read(meter)
    hanging, free = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hanging.set()
        free.wait()

    driver.memory.side_effect = hang
    meter.start()
    assert hanging.wait(60)
    wait_until(lambda: meter.last_use() is None)
    driver.memory.side_effect = None
    free.set()
