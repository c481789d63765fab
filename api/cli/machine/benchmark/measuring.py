"""What is measured, and the processes that do: as many as would train on this host, asked at once so that they measure
at once. What their rates mean is the concern of `findings`.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from signal import Signals
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from api.cli.errors import BenchFailed
from core.cost import Rate, network_of
from core.settings import Settings
from core.spec import Precision, Spec

# The paper's networks, and the demo's.
_MODELS: tuple[dict[str, Any], ...] = (
    {"name": "cnn"},
    {"name": "resnet", "batch_norm": True},
    {"name": "resnet", "batch_norm": False},
    {"name": "mlp"},
)


class Device(NamedTuple):
    """What one process trains on, as `worker.devices` tells it."""

    name: str
    visible: str | None  # all that its process is shown as CUDA_VISIBLE_DEVICES; None: what we are shown


class Trial(NamedTuple):
    """A network in a precision, on so many processes at once."""

    spec: Spec
    processes: int

    def __str__(self) -> str:
        return f"{network_of(self.spec.model)} in {self.spec.precision}, {self.processes} at once"


class Measured(NamedTuple):
    """What came of a trial on the devices of one kind."""

    trial: Trial
    device_kind: str
    rates: tuple[Rate, ...]  # one a process; none where it failed
    error: str | None = None
    core_share: float = 1.0  # of the time that one process took, how much it had a core; the least of all

    @property
    def rate(self) -> Rate:
        """Of one process, while the others work."""
        n = len(self.rates)
        return Rate(sum(each.train for each in self.rates) / n, sum(each.evaluate for each in self.rates) / n)


def trials(devices: Sequence[Device]) -> list[Trial]:
    """On a CPU one process alone, half of `devices` and all of them; GPUs all at once."""
    n = len(devices)
    on_cpu = devices[0].name == "cpu"
    counts = sorted({1, max(1, n // 2), n}) if on_cpu else [n]
    return [Trial(spec, count) for count in counts for spec in _specs(on_cpu)]


def _specs(on_cpu: bool) -> Iterator[Spec]:
    """In every precision that a spec of the network may have, on this kind of device."""
    for model in _MODELS:
        for precision in get_args(Precision):
            if on_cpu and precision == "tf32":
                continue
            spec = {"dataset": {"name": "cifar10"}, "model": model, "importance_weight": "1:1", "precision": precision}
            with suppress(ValidationError):  # a precision in which this network is not offered
                yield Spec.model_validate(spec)


def planned_devices(settings: Settings) -> list[Device]:
    """The device of each process that would train here. Raises BenchFailed."""
    command = [sys.executable, "-P", "-m", "worker.devices"]
    done = subprocess.run(command, env=settings.child_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"the devices of this host are not known: {_last_line(done.stderr, done.returncode)}")
    told = json.loads(done.stdout)
    return [Device(*each) for each in zip(told["devices"], told["visible"], strict=True)]


class _Process:
    """One that measures. In a session of its own, so that Ctrl-C does not reach it, and on a leash: it ends when its
    standard input does, whatever ends us."""

    def __init__(self, settings: Settings, device: Device, seconds: float) -> None:
        self._device = device.name
        name_inside, environment = device.name, settings.child_environment()
        if device.visible is not None:  # then it is the only one
            name_inside, environment["CUDA_VISIBLE_DEVICES"] = "cuda:0", device.visible
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "core.training.programs.bench", "--device", name_inside),
                *("--threads", str(settings.threads), "--seconds", str(seconds)),
            ],
            env=environment,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        self.device_kind = ""  # until it is ready

    def wait_until_ready(self) -> None:
        self.device_kind = self.answer()["device_kind"]

    def ask(self, spec: Spec) -> None:
        assert self._popen.stdin
        with suppress(BrokenPipeError):  # it has died: that its answer is missing says so
            self._popen.stdin.write(f"{spec.model_dump_json()}\n".encode())

    def answer(self) -> dict[str, Any]:
        """Raises BenchFailed where it has ended instead."""
        assert self._popen.stdout
        line = self._popen.stdout.readline()
        if not line.endswith(b"\n"):
            raise BenchFailed(f"the process that measures on {self._device} ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        status = self._popen.wait()
        self._said.seek(0)
        return _last_line(self._said.read().decode("utf-8", "replace"), status)

    def close(self) -> None:
        with self._popen, self._said:
            self._popen.kill()


def _last_line(said: str, status: int) -> str:
    """Of a process that ended with `status`."""
    if status < 0:
        name = Signals(-status).name
        return f"killed by {name}, as where memory is short" if name == "SIGKILL" else f"killed by {name}"
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("ballast: ") if lines else f"exit code {status}"


class Processes:
    """All that would train here, ready to measure."""

    def __init__(self, processes: Sequence[_Process]) -> None:
        self._processes = processes

    def measure(self, trial: Trial) -> list[Measured]:
        """By kind of device. Raises BenchFailed where a process has ended."""
        at_work = self._processes[: trial.processes]
        for process in at_work:
            process.ask(trial.spec)
        answers = defaultdict(list)
        for process in at_work:
            answers[process.device_kind].append(process.answer())
        return [_measured(trial, kind, of_kind) for kind, of_kind in answers.items()]


def _measured(trial: Trial, device_kind: str, answers: Sequence[dict[str, Any]]) -> Measured:
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        return Measured(trial, device_kind, (), errors[0])
    rates = tuple(Rate(each["train_rate"], each["evaluate_rate"]) for each in answers)
    return Measured(trial, device_kind, rates, core_share=min(each["core_share"] for each in answers))


@contextmanager
def started(settings: Settings, devices: Sequence[Device], seconds: float) -> Iterator[Processes]:
    """One process for each of `devices`; when the context ends, none is left. Raises BenchFailed where one does not
    start."""
    with ExitStack() as stack:
        processes = [stack.enter_context(closing(_Process(settings, device, seconds))) for device in devices]
        for process in processes:
            process.wait_until_ready()
        yield Processes(processes)
