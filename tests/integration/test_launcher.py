"""The launcher: as many processes as devices, restarted when they die, gone when it goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from core.environment import KEPT_MEMORY
from core.settings import Settings
from core.states import State, WorkerState
from tests.freezing import freeze
from tests.integration.hosts import Host, is_guard, ran_once, running, same
from tests.servers import PATIENCE_S, is_there, wait_until, wait_until_gone
from worker.ending import DEVICE_UNUSABLE

ENDLESS = {"epochs": 1_000_000, "eval_every": 10}


DRIVER = """
class NVMLError(Exception): pass
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return ("GPU-a", "GPU-b")[handle]
"""


def launched(settings: Settings, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A launcher that ends by itself."""
    inherited = settings.child_environment()
    inherited.pop("CUDA_VISIBLE_DEVICES", None)
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker", *options],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


STUCK = """
import sys
if "worker.process" in sys.orig_argv:
    import collections, itertools, pathlib, threading, time
    def hold():
        while not pathlib.Path(__file__).with_name("stuck").exists():
            time.sleep(0.1)
        pathlib.Path(__file__).with_name("held").touch()
        collections.deque(itertools.repeat(0), maxlen=0)
    threading.Thread(target=hold, daemon=True).start()
"""


def guards(host: Host) -> list[psutil.Process]:
    return list(filter(is_guard, host.children()))


def test_a_killed_worker_is_replaced_and_its_experiment_goes_on_after_its_lease(in_folder: Settings) -> None:
    with running(Host(in_folder.model_copy(update={"lease_seconds": 3.0}))) as host:
        undisturbed = host.submit(epochs=100)
        ran_once(host, undisturbed)
        experiment = host.submit(epochs=100)
        host.wait_for_epoch(experiment, 20)
        (first,) = host.processes()
        first.kill()
        ended = host.wait_for_end(experiment)
        (second,) = host.processes()
        assert second.pid != first.pid
        assert (ended.state, ended.attempt, ended.failures) == (State.SUCCEEDED, 2, 1)
        assert host.kinds(experiment) == ["submitted", "claimed", "lease_lost", "claimed", "succeeded"]
        assert same(host.curve(experiment), host.curve(undisturbed))
        assert ended.replay_mismatch_from is None
        wait_until(lambda: {w.pid: w.state for w in host.workers()}[first.pid] is WorkerState.DEAD)


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_restarted_ever_more_slowly(in_folder: Settings) -> None:
    with running(Host(in_folder)) as host:
        for wait in ("0.5", "1"):
            host.processes()[0].kill()
            wait_until(lambda wait=wait: f"restart_in_seconds={wait} " in host.log_text())
            wait_until(lambda: len(host.processes()) == 1 and host.processes()[0].is_running())
        assert host.log_text().count("a worker process died") == 2
        ran_once(host, host.submit())


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc here")
def test_a_worker_keeps_its_memory(in_folder: Settings) -> None:
    with running(Host(in_folder)) as host:
        (worker,) = host.processes()
        tunables = worker.environ()["GLIBC_TUNABLES"]  # an older glibc cuts it into pieces as it reads it
        assert tunables == KEPT_MEMORY[: len(tunables)] != ""


def test_a_device_that_is_not_there_ends_the_launcher_in_a_sentence(in_folder: Settings) -> None:
    done = launched(in_folder, "--processes", "2", BALLAST_DEVICE="cuda:99")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("ballast: ")]
    assert len(said) == 2
    assert all("there is no device cuda:99: torch " in line for line in said)
    assert "restart" not in done.stderr


@pytest.mark.slow
def test_a_device_that_is_not_there_is_given_up_also_where_nobody_can_read_why(in_folder: Settings) -> None:
    device = f"{sys.executable} -P -m worker.process --device cuda:99 --name cuda:99 --slot 0"
    done = subprocess.run(["bash", "-c", f"{device} 2>/dev/full"], env=in_folder.child_environment(), check=False)
    assert done.returncode == DEVICE_UNUSABLE


def test_devices_that_mean_nothing_are_a_usage_error_in_a_sentence(in_folder: Settings) -> None:
    done = launched(in_folder, "--devices", "cuda:0,cuda:1", "--processes", "2")
    assert done.returncode == 2
    assert done.stderr == (
        "ballast: --processes is for the CPU or a single GPU: leave it out, and each GPU has one process\n"
    )


@pytest.mark.slow
def test_the_process_of_a_gpu_is_shown_that_one_alone(in_folder: Settings, tmp_path: Path) -> None:
    """There is none here, so each says what it was shown."""
    (tmp_path / "pynvml.py").write_text(DRIVER)
    done = launched(in_folder, "--devices", "all", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    said = sorted(line for line in done.stderr.splitlines() if line.startswith("ballast: "))
    assert [line.partition(": torch ")[0] for line in said] == [
        "ballast: there is no device cuda:0",
        "ballast: there is no device cuda:1",
    ]
    for line, uuid in zip(said, ("GPU-a", "GPU-b"), strict=True):
        assert line.endswith(f"sees 0 GPUs where CUDA_VISIBLE_DEVICES is {uuid}")
    assert done.stderr.count("there is no such device: it is given up") == 2


def test_a_place_for_checkpoints_that_there_cannot_be_is_refused_in_a_sentence(in_folder: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker"],
        env=in_folder.child_environment() | {"BALLAST_CHECKPOINT_URL": "s4://bucket"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("ballast: checkpoints cannot be reached below s4://bucket: Protocol not known: s4")
    assert done.stderr.count("\n") == 1


def test_nothing_is_left_when_the_launcher_is_killed(in_folder: Settings) -> None:
    with running(Host(in_folder, workers=2)) as host:
        experiment = host.submit(**ENDLESS)
        host.wait_for_epoch(experiment)
        children = host.children()
        host.send(signal.SIGKILL)
        wait_until_gone(children)
        assert host.experiment(experiment).state is State.QUEUED
        assert host.experiment(experiment).failures == 0


@pytest.mark.slow
def test_a_frozen_orphan_is_killed_while_another_leaves_in_order(in_folder: Settings) -> None:
    with running(Host(in_folder, workers=2)) as host:
        experiment = host.submit(**ENDLESS)
        host.wait_for_epoch(experiment)
        trains = next(worker.pid for worker in host.workers() if worker.state is WorkerState.BUSY)
        frozen = next(process for process in host.processes() if process.pid != trains)
        freeze(frozen, host.settings)  # who holds SQLite's lock would keep the other from writing that it leaves
        children = host.children()
        host.send(signal.SIGKILL)
        wait_until_gone([psutil.Process(trains)])
        assert host.kinds(experiment) == ["submitted", "claimed", "released"]
        assert frozen.status() == psutil.STATUS_STOPPED
        wait_until_gone(children)


@pytest.mark.slow
def test_an_orphan_that_never_lets_go_of_pythons_lock_is_killed(in_folder: Settings, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STUCK)
    settings = in_folder.model_copy(update={"grace_seconds": 1.0})
    with running(Host(settings, environment={"PYTHONPATH": str(tmp_path)})) as host:
        children = host.children()
        (tmp_path / "stuck").touch()
        wait_until((tmp_path / "held").exists)
        host.send(signal.SIGKILL)
        wait_until_gone(children)
        assert [each.state for each in host.workers()] == [WorkerState.IDLE]  # it has not left


@pytest.mark.slow
def test_a_guard_that_dies_is_replaced_and_knows_all_workers(in_folder: Settings) -> None:
    settings = in_folder.model_copy(update={"grace_seconds": 1.0})
    with running(Host(settings)) as host:
        (first,) = guards(host)
        first.kill()
        wait_until(lambda: any(each.pid != first.pid for each in guards(host)))
        host.processes()[0].kill()  # so that the guard hears of another one, too
        wait_until(lambda: host.log_text().count("ready ") == 2)
        (worker,) = host.processes()
        worker.suspend()
        children = host.children()
        host.send(signal.SIGKILL)
        wait_until_gone(children)


@pytest.mark.slow
def test_sigterm_ends_three_workers_in_order(on_redis: Settings) -> None:
    with running(Host(on_redis, workers=3)) as host:
        children = host.processes()
        assert len(children) == 3
        experiments = [host.submit(**ENDLESS) for _ in range(2)]
        for experiment in experiments:
            host.wait_for_epoch(experiment)
        host.send(signal.SIGTERM)
        assert host.launcher.wait(PATIENCE_S) == 0
        assert not any(map(is_there, children))
        for experiment in experiments:
            assert host.kinds(experiment) == ["submitted", "claimed", "released"]
            assert host.experiment(experiment).failures == 0
        assert [worker.state for worker in host.workers()] == [WorkerState.GONE] * 3
        assert "Traceback" not in host.log_text()


@pytest.mark.slow
def test_a_frozen_worker_is_killed_after_the_grace_time(in_folder: Settings) -> None:
    with running(Host(in_folder.model_copy(update={"grace_seconds": 1.0}))) as host:
        (child,) = host.processes()
        child.suspend()
        host.send(signal.SIGTERM)
        assert host.launcher.wait(PATIENCE_S) == 0
        assert not is_there(child)


@pytest.mark.slow
def test_a_step_that_hangs_is_given_up_after_the_grace_time_and_its_lease_ends(in_folder: Settings) -> None:
    settings = in_folder.model_copy(update={"grace_seconds": 1.0, "lease_seconds": 3.0})
    settings.locks_dir.mkdir(parents=True)
    with running(Host(settings)) as host, FileLock(settings.locks_dir / "mnist.lock"):  # so its data never come
        experiment = host.submit(dataset={"name": "mnist"})
        (worker,) = host.processes()
        wait_until(lambda: "/PIL/" in Path(f"/proc/{worker.pid}/maps").read_text())  # torchvision's: the lock is next
        host.send(signal.SIGTERM)
        assert host.launcher.wait(PATIENCE_S) == 0
        assert "did not stop in time" in host.log_text()
        assert host.experiment(experiment).state is State.RUNNING
    with running(Host(settings)) as host:
        wait_until(lambda: "lease_lost" in host.kinds(experiment))
        host.cancel(experiment)


@pytest.mark.slow
def test_signals_that_come_thick_and_fast_do_not_hang_the_launcher(in_folder: Settings) -> None:
    with running(Host(in_folder)) as host:
        children = host.children()
        for _ in range(50):
            host.send(signal.SIGTERM)
        assert host.launcher.wait(PATIENCE_S) == 0
        wait_until_gone(children)
