"""A host that trains: a launcher and its workers, as `ballast worker` starts them, over a store and a broker."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from core.broker.doorbell import Doorbell
from core.results import EpochResult
from core.settings import Settings
from core.spec import Spec
from core.states import ENDED, Ask, State, WorkerState
from core.store import curves, events, experiments, wishes, workers
from core.store.session import Store
from tests.servers import wait_until

DIGITS = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "16:1", "epochs": 3}

# A worker is given up after 3 s, not 20: for the tests that wait for it. In others a busy machine would do it.
SHORT = {"heartbeat_seconds": 0.5, "lease_seconds": 3}


def settings_of(home: Path, **values: Any) -> Settings:
    return Settings.model_validate({"home": home, "device": "cpu", "heartbeat_seconds": 0.5, **values})


def settings_over(template: Path, folder: Path, **values: Any) -> Settings:
    """Over a copy of a migrated SQLite database, with everything in `folder`."""
    file = folder / "ballast.db"
    shutil.copy(template, file)
    return settings_of(folder / "home", database_url=f"sqlite:///{file}", **values)


def launcher(workers: int = 1) -> list[str]:
    return [sys.executable, "-P", "-m", "worker", "--processes", str(workers)]


class Books:
    """What the store says of experiments and workers."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def experiment(self, experiment_id: int) -> experiments.Experiment:
        with self.store.reading() as tx:
            return experiments.get(tx, experiment_id)

    def events(self, experiment_id: int) -> list[events.Event]:
        with self.store.reading() as tx:
            return events.read(tx, experiment_id)

    def kinds(self, experiment_id: int) -> list[str]:
        return [event.kind for event in self.events(experiment_id)]

    def curve(self, experiment_id: int) -> list[EpochResult]:
        with self.store.reading() as tx:
            return curves.read(tx, experiment_id)[1]

    def workers(self) -> list[workers.Worker]:
        with self.store.reading() as tx:
            return workers.all_workers(tx, 50)

    def ask(self, experiment_id: int, what: Ask) -> None:
        with self.store.writing() as tx:
            wishes.ask(tx, experiment_id, what)

    def cancel(self, experiment_id: int) -> None:
        self.ask(experiment_id, Ask.CANCEL)

    def wait_for_end(self, experiment_id: int) -> experiments.Experiment:
        wait_until(lambda: self.experiment(experiment_id).state in ENDED)
        return self.experiment(experiment_id)

    def wait_for_epoch(self, experiment_id: int, epoch: int = 1) -> None:
        wait_until(lambda: self.experiment(experiment_id).epochs_done >= epoch)


class Host(Books):
    """`python -P -m worker`, or another command, with its log; the store and the doorbell that it shares with the
    tests."""

    def __init__(
        self,
        settings: Settings,
        workers: int = 1,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        super().__init__(Store(settings.database_url))
        self._doorbell = Doorbell(settings)
        settings.home.mkdir(parents=True, exist_ok=True)
        self._log = settings.home / "worker.log"
        with self._log.open("ab") as log:
            self.launcher = subprocess.Popen(
                command or launcher(workers),
                env=settings.child_environment() | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.launcher.poll() is not None or self.log_text().count("ready ") >= workers)
        assert self.launcher.poll() is None, self.log_text()

    def log_text(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[str]:
        return self.log_text().splitlines()

    def processes(self) -> list[psutil.Process]:
        """The worker processes."""
        return [each for each in self.children() if not is_guard(each)]

    def children(self) -> list[psutil.Process]:
        """The worker processes, and their guard."""
        return psutil.Process(self.launcher.pid).children()

    def pids(self) -> set[int]:
        return {process.pid for process in self.processes()}

    def send(self, number: signal.Signals) -> None:
        self.launcher.send_signal(number)

    def ring(self) -> None:
        self._doorbell.ring()

    def submit(self, ring: bool = True, **fields: Any) -> int:
        with self.store.writing() as tx:
            experiment = experiments.submit(tx, Spec.model_validate(DIGITS | fields))
        if ring:
            self.ring()
        return experiment.id

    def wait_until_idle(self) -> None:
        """Until nothing runs and every worker has said so."""
        wait_until(lambda: all(w.state is WorkerState.IDLE for w in self.workers()))

    def end(self) -> None:
        if self.launcher.poll() is None:
            family = [psutil.Process(self.launcher.pid), *self.children()]
            self.send(signal.SIGTERM)
            _, left = psutil.wait_procs(family, timeout=12)
            for process in left:
                process.kill()
        self.launcher.wait()
        self._doorbell.close()
        self.store.close()


def is_guard(process: psutil.Process) -> bool:
    try:
        return "worker.guard" in process.cmdline()
    except psutil.NoSuchProcess:  # a worker that has died
        return False


@contextmanager
def running(host: Host) -> Iterator[Host]:
    try:
        yield host
    except BaseException:
        print(host.log_text())
        raise
    finally:
        host.end()


def ran_once(host: Host, experiment_id: int) -> None:
    """It succeeds, in one attempt."""
    ended = host.wait_for_end(experiment_id)
    assert ended.state is State.SUCCEEDED, ended.error
    assert host.kinds(experiment_id) == ["submitted", "claimed", "succeeded"]


def same(one: list[EpochResult], two: list[EpochResult]) -> bool:
    return len(one) == len(two) and all(a.same_as(b) for a, b in zip(one, two, strict=True))
