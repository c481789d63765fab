"""Worker processes that a trial kills: the real ones, each telling in a shared page at which step it is."""

import mmap
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sqlalchemy import text

from core.settings import Settings
from core.spec import Spec
from core.states import State, WorkerState
from core.store import checkpoints, experiments
from core.store.session import Store
from tests.freezing import freeze
from tests.integration.hosts import Books
from tests.servers import PATIENCE_S, wait_until

# After every step, experiment and step are in the page; who is called poison kills its worker in its second epoch, and
# who is called stuck never ends a step of it.
_WATCHED = """
import mmap, os, struct, sys, time
from core.training.experiment import Experiment
from worker import process, runner
page = mmap.mmap(os.open(sys.argv.pop(), os.O_RDWR), 64)
step, run = Experiment._take_a_step, runner.Runner.run
def stepped(self):
    step(self)
    page[8:24] = struct.pack("<qq", self.epoch, self._open.step)
    if self.epoch and self.spec.name == "poison":
        os.kill(os.getpid(), 9)
    if self.epoch and self.spec.name == "stuck":
        time.sleep(3600)
def ran(self, held):
    page[:24] = struct.pack("<qqq", held.claim.experiment_id, 0, 0)
    run(self, held)
Experiment._take_a_step, runner.Runner.run = stepped, ran
process.main()
"""


class At(NamedTuple):
    """Where an experiment is in its training."""

    epoch: int
    step: int


class Hand(NamedTuple):
    """One process of the crew."""

    popen: subprocess.Popen[bytes]
    page: mmap.mmap


class Crew(Books):
    """So many worker processes, without a launcher: who is killed is replaced at once."""

    def __init__(self, settings: Settings, size: int) -> None:
        self.settings = settings
        super().__init__(Store(settings.database_url))
        settings.home.mkdir(parents=True, exist_ok=True)
        self._log = settings.home / "crew.log"
        self._slots = [self._started(slot) for slot in range(size)]

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.says().count("ready ") >= len(self._slots))

    def says(self) -> str:
        return self._log.read_text()

    def submit(self, specs: list[Spec]) -> list[int]:
        with self.store.writing() as tx:
            return [experiments.submit(tx, spec).id for spec in specs]

    def submit_all(self, specs: Sequence[dict[str, Any]]) -> list[int]:
        return self.submit([Spec.model_validate(spec) for spec in specs])

    def attempts(self, experiment_id: int) -> list[tuple[int, int]]:
        """Of each row: its epoch, and the attempt that wrote it."""
        query = "SELECT epoch, attempt FROM curve_rows WHERE experiment_id = :id ORDER BY epoch"
        with self.store.reading() as tx:
            return [(row.epoch, row.attempt) for row in tx.execute(text(query), {"id": experiment_id})]

    def is_idle(self, held: experiments.Experiment) -> bool:
        """Whether who held it waits for work."""
        return any(each.id == held.worker_id and each.state is WorkerState.IDLE for each in self.workers())

    def running(self) -> list[experiments.Experiment]:
        with self.store.reading() as tx:
            return experiments.list_newest(tx, state=State.RUNNING, limit=100)

    def all_ended(self, ids: list[int]) -> bool:
        with self.store.reading() as tx:
            return all(experiments.get(tx, each).ended_ms is not None for each in ids)

    def pointers(self, experiment_id: int) -> list[checkpoints.Pointer]:
        with self.store.reading() as tx:
            return checkpoints.farthest_first(tx, experiment_id)

    def pid_of(self, experiment: experiments.Experiment) -> int:
        """Of the process that holds it."""
        return int((experiment.worker or ":0").rpartition(":")[2])

    def at(self, experiment: experiments.Experiment) -> At | None:
        """Where its training is; None before its first step."""
        for popen, page in self._slots:
            number, epoch, step = struct.unpack("<qqq", page[:24])
            if popen.pid == self.pid_of(experiment) and number == experiment.id and (epoch, step) != (0, 0):
                return At(epoch, step)
        return None

    def where(self) -> dict[int, At]:
        """How far the experiments are that are held: from the pages, without asking the store."""
        pages = [struct.unpack("<qqq", page[:24]) for _, page in self._slots]
        return {number: At(epoch, step) for number, epoch, step in pages}

    def at_of(self, experiment_id: int) -> At | None:
        return self.at(self.experiment(experiment_id))

    def kill(self, experiment: experiments.Experiment) -> At | None:
        """`kill -9` of who holds it, and a new process in its place. None where nobody of the crew does."""
        for slot, (popen, page) in enumerate(self._slots):
            if popen.pid == self.pid_of(experiment) and popen.poll() is None:
                _end(popen)
                _, epoch, step = struct.unpack("<qqq", page[:24])
                self._slots[slot] = self._started(slot)
                return At(epoch, step)
        return None

    def send(self, experiment: experiments.Experiment, number: signal.Signals) -> None:
        os.kill(self.pid_of(experiment), number)

    def freeze(self, experiment: experiments.Experiment) -> None:
        """Whoever holds it, outside of a transaction."""
        freeze(psutil.Process(self.pid_of(experiment)), self.settings)

    def replace_ended(self) -> list[int]:
        """New processes in the place of those that have ended. Returns their exit statuses."""
        ended = [(slot, popen) for slot, (popen, _) in enumerate(self._slots) if popen.poll() is not None]
        for slot, popen in ended:
            _end(popen)
            self._slots[slot] = self._started(slot)
        return [popen.returncode for _, popen in ended]

    def replace_one(self) -> tuple[int, At]:
        """SIGTERM to the only one, and another when it has left. Returns its exit status, and where it stopped."""
        popen, page = self._slots[0]
        popen.send_signal(signal.SIGTERM)
        status = popen.wait(PATIENCE_S)
        _, epoch, step = struct.unpack("<qqq", page[:24])
        self.replace_ended()
        return status, At(epoch, step)

    def replace_all(self) -> list[int]:
        """SIGTERM to all at once, and new ones when they have left. Returns their exit statuses."""
        for popen, _ in self._slots:
            popen.send_signal(signal.SIGTERM)
        statuses = [popen.wait(PATIENCE_S) for popen, _ in self._slots]
        for popen, _ in self._slots:
            _end(popen)
        self._slots = [self._started(slot) for slot in range(len(self._slots))]
        return statuses

    def end(self) -> None:
        for popen, _ in self._slots:
            _end(popen)
        self.store.close()

    def _started(self, slot: int) -> Hand:
        file = self.settings.home / f"page-{slot}"
        file.write_bytes(bytes(64))
        with file.open("r+b") as opened:
            page = mmap.mmap(opened.fileno(), 64)
        with self._log.open("ab") as log:
            options = ["--device", "cpu", "--name", "cpu", "--slot", str(slot)]
            popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _WATCHED, *options, str(file)],
                env=self.settings.child_environment() | {"PYTHONPATH": str(Path.cwd())},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        return Hand(popen, page)


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()
    assert popen.stdin is not None
    popen.stdin.close()


@contextmanager
def at_work(crew: Crew) -> Iterator[Crew]:
    try:
        crew.wait_until_ready()
        yield crew
    except BaseException:
        print(crew.says()[-5000:])
        raise
    finally:
        crew.end()
