"""Which process gets which device: of hosts with and without GPUs, and with some of them hidden."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

import pynvml
import pytest

from worker import devices
from worker.capacity import Capacity, capacity
from worker.devices import Device, DevicesMistyped, NoGpu

CORES = capacity().processes


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def no_driver() -> Iterator[None]:
    with mock.patch.object(devices.pynvml, "nvmlInit", side_effect=pynvml.NVMLError_LibraryNotFound):
        yield


@pytest.fixture
def four_gpus() -> Iterator[None]:
    """The third fell off the bus."""

    def uuid(index: int) -> str:
        if index == 2:
            raise pynvml.NVMLError_GpuIsLost
        return f"GPU-{index}{index}"

    driver = {
        "nvmlInit": mock.Mock(),
        "nvmlShutdown": mock.Mock(),
        "nvmlDeviceGetCount": lambda: 4,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": uuid,
    }
    with mock.patch.multiple(devices.pynvml, **driver):
        yield
    assert driver["nvmlInit"].call_count == driver["nvmlShutdown"].call_count


FOUR = [Device("cuda:0", "GPU-00"), Device("cuda:1", "GPU-11"), Device("cuda:2", ""), Device("cuda:3", "GPU-33")]


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(
    ("wanted", "processes", "planned"),
    [
        ("auto", None, [Device("cpu")] * CORES),
        ("auto", 6, [Device("cpu")] * 6),
        ("cpu", None, [Device("cpu")] * CORES),
        ("cpu", 3, [Device("cpu")] * 3),
        ("cuda:1", None, [Device("cuda:1")]),  # whose process says that it is not there
        ("cuda:1", 2, [Device("cuda:1")] * 2),
    ],
)
def test_without_gpus(wanted: str, processes: int | None, planned: list[Device]) -> None:
    assert devices.plan(wanted, processes) == planned


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("wanted", "processes", "planned"),
    [
        ("auto", None, FOUR),
        ("auto", 2, FOUR[:2]),
        ("auto", 9, FOUR),
        ("all", None, FOUR),
        ("cpu", None, [Device("cpu")] * CORES),
        ("cuda:3", None, FOUR[3:]),
        ("cuda:3", 2, FOUR[3:] * 2),
        ("cuda:3,cuda:0", None, [FOUR[3], FOUR[0]]),
        ("cuda:0,cuda:4", None, [FOUR[0], Device("cuda:4")]),
    ],
)
def test_a_process_a_gpu_each_by_its_uuid(wanted: str, processes: int | None, planned: list[Device]) -> None:
    assert devices.plan(wanted, processes) == planned


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("given", "entries"),
    [
        ("3,1", ["3", "1"]),
        (" 3 , GPU-11", ["3", "GPU-11"]),
        ("MIG-1f,MIG-2e", ["MIG-1f", "MIG-2e"]),
        ("2,-1,3", ["2"]),  # as CUDA reads it
        ("1,,3", ["1"]),
    ],
)
def test_what_we_were_given_is_passed_on_one_by_one(
    given: str, entries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    everything = [Device(f"cuda:{place}", entry) for place, entry in enumerate(entries)]
    assert devices.plan("all", None) == everything
    assert devices.plan("auto", 1) == everything[:1]
    assert devices.plan("cuda:1", None) == (everything[1:2] or [Device("cuda:1")])


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize("given", ["", "-1", "NoDevFiles"])
def test_where_all_are_hidden_there_is_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert devices.plan("auto", 1) == [Device("cpu")]
    with pytest.raises(NoGpu):
        devices.plan("all", None)


@pytest.mark.usefixtures("no_driver")
def test_all_gpus_of_a_host_without_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(NoGpu, match="say --devices cpu"):
        devices.plan("all", None)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("wanted", "processes", "todo"),
    [
        ("gpu", None, "say all, cpu, cuda:0 or cuda:0,cuda:1"),
        ("", None, "say all, cpu"),
        ("cuda", None, "say all, cpu"),
        ("cuda:0,cpu", None, "say all, cpu"),
        ("cuda:0,", None, "say all, cpu"),
        ("cuda:00", None, "say all, cpu"),
        ("cuda:256", None, "say all, cpu"),
        ("cuda:1,cuda:1", None, "say --devices cuda:1 --processes 2"),
        ("all", 2, "leave it out"),
        ("cuda:0,cuda:1", 2, "leave it out"),
    ],
)
def test_what_means_nothing_is_refused(wanted: str, processes: int | None, todo: str) -> None:
    with pytest.raises(DevicesMistyped, match=todo):
        devices.plan(wanted, processes)


def test_a_process_that_sees_one_gpu_calls_it_the_first() -> None:
    assert Device("cuda:3", "GPU-33").name_inside == "cuda:0"
    assert Device("cuda:3").name_inside == "cuda:3"
    assert Device("cpu").name_inside == "cpu"


def test_doctor_and_bench_are_told_in_json() -> None:
    program = [sys.executable, "-P", "-m", "worker.devices"]
    environment = os.environ | {"BALLAST_DEVICE": "cuda:1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"devices": ["cuda:1"], "visible": [None], "gpus": 0, "on_cpu": ""}
    done = subprocess.run(program, env=environment | {"BALLAST_DEVICE": "cpu"}, capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert (told["devices"], told["visible"], told["gpus"]) == (["cpu"] * CORES, [None] * CORES, 0)
    assert told["on_cpu"].partition(" (")[0] == str(capacity()).partition(" (")[0]


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(("cores", "gibibytes", "processes"), [(12, 64, 12), (12, 3, 4), (2, 0, 1)])
def test_the_cpu_has_a_process_a_core_as_memory_allows(cores: int, gibibytes: int, processes: int) -> None:
    with mock.patch.object(devices, "capacity", return_value=Capacity(cores, gibibytes * 2**30)):
        assert devices.plan("auto", None) == [Device("cpu")] * processes
        assert devices.plan("cpu", 5) == [Device("cpu")] * 5


def test_planning_imports_no_torch() -> None:
    program = "import sys, worker.devices, worker.launch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 0
