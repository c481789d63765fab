"""Rivals take turns, A B C A B C …, each in its own process, so that nothing runs beside what is measured. No torch."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from core.settings import load_settings
from tests.benchmarks.training.subjects import Subject


class Answer(NamedTuple):
    """One epoch; of several processes at once, what one epoch of all has come to."""

    seconds: float  # of the wall clock
    cpu_seconds: float  # with those of its children
    peak_mib: float  # the most that a process has held so far


class Lane(NamedTuple):
    """A rival as it is started. `threads` 0: as many as torch takes by itself."""

    rival: str
    precision: str = "fp32"
    threads: int = 1
    workers: int = 0
    processes: int = 1  # that run an epoch each, at once

    @property
    def name(self) -> str:
        how = f" × {self.processes}" if self.processes > 1 else "" if self.threads else " on all cores"
        return f"{self.rival} {self.precision}{how}"

    @property
    def arguments(self) -> list[str]:
        options = {"precision": self.precision, "threads": self.threads, "workers": self.workers}
        return [self.rival, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]


SCRIPTS = tuple(Lane("script", threads=threads, workers=workers) for workers in (0, 2) for threads in (0, 1))


class Runner:
    """A process that runs an epoch when it is told to, or several that do so at once."""

    def __init__(self, lane: Lane, subject: Subject, *options: str) -> None:
        # Ours runs in the environment that a worker's processes get; the others in the user's.
        environment = load_settings().child_environment() if lane.rival == "ours" else None
        command = [sys.executable, "-m", "tests.benchmarks.training.rivals", *lane.arguments, *options, subject.name]
        self._popens = [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(lane.processes)
        ]
        self._lines()

    def epoch(self) -> Answer:
        for popen in self._popens:
            assert popen.stdin is not None
            print(file=popen.stdin, flush=True)
        answers = [Answer(**json.loads(line)) for line in self._lines()]
        return Answer(
            seconds=max(each.seconds for each in answers) / len(answers),
            cpu_seconds=sum(each.cpu_seconds for each in answers) / len(answers),
            peak_mib=max(each.peak_mib for each in answers),
        )

    def end(self) -> None:
        for popen in self._popens:
            popen.communicate()

    def _lines(self) -> list[str]:
        """One of each."""
        lines = []
        for popen in self._popens:
            assert popen.stdout is not None
            lines.append(popen.stdout.readline())
            if not lines[-1]:
                raise RuntimeError(f"a rival has ended: {' '.join(map(str, popen.args))}")
        return lines


@contextmanager
def started(lanes: Sequence[Lane], subject: Subject, *options: str) -> Iterator[dict[Lane, Runner]]:
    with ExitStack() as stack:
        runners = {}
        for lane in lanes:
            runners[lane] = Runner(lane, subject, *options)
            stack.callback(runners[lane].end)
        yield runners


def race(lanes: Sequence[Lane], subject: Subject, rounds: int) -> dict[Lane, list[Answer]]:
    with started(lanes, subject) as runners:
        answers: dict[Lane, list[Answer]] = {lane: [] for lane in lanes}
        for _ in range(rounds):
            for lane, runner in runners.items():
                answers[lane].append(runner.epoch())
        return answers


def seconds(answers: Mapping[Lane, Sequence[Answer]], lane: Lane) -> list[float]:
    return [answer.seconds for answer in answers[lane]]


def best_scripts(subject: Subject) -> list[Lane]:
    """Of the script with torch's own number of threads, and with one: with the DataLoader's workers or without,
    whichever had the fastest epoch of two."""
    trial = race(SCRIPTS, subject, rounds=2)
    threads = dict.fromkeys(lane.threads for lane in SCRIPTS)
    return [
        min((lane for lane in SCRIPTS if lane.threads == n), key=lambda lane: min(seconds(trial, lane)))
        for n in threads
    ]
