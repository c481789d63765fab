"""The launcher of a host: one worker process per device, restarted with backoff when it dies, drained on SIGTERM.

Children sit in sessions of their own, so that Ctrl-C reaches only the launcher, and on a leash: their standard input
ends with the launcher, whatever ends it, and they leave in order. What does not, the guard kills after the grace time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import structlog

from core.restarts import RestartedProcess
from core.settings import Settings
from worker.devices import Device
from worker.ending import DEVICE_UNUSABLE
from worker.guard import Guard

log = structlog.get_logger()

MARGIN_SECONDS = 0.5  # beyond the grace time, at whose end a worker ends by itself


class Slot:
    """One device and the process that serves it."""

    def __init__(self, settings: Settings, device: Device, index: int) -> None:
        self._command = [
            *(sys.executable, "-P", "-m", "worker.process"),
            *("--device", device.name_inside, "--name", device.name, "--slot", str(index)),
        ]
        self._environment = settings.child_environment()
        if device.visible is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = device.visible
        self._device = device.name
        self.gave_up = False
        self._process = RestartedProcess("a worker process", self._start, device=device.name)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # logs go to standard error; Celery prints a goodbye here
            start_new_session=True,
        )

    def keep_running(self) -> bool:
        """Restart what died, when its time has come. False once it has ended in order: it was told to, or could not use
        its device from the start. (A device that was lost may come back.)"""
        status = self._process.status()
        if status is None:
            return True
        if status == DEVICE_UNUSABLE and not self._process.deaths:
            log.error("there is no such device: it is given up", device=self._device)
            self.gave_up = True
        if status == 0 or self.gave_up:
            return False
        self._process.restart_when_due()
        return True

    @property
    def running(self) -> subprocess.Popen[bytes] | None:
        return self._process.running

    def send(self, number: signal.Signals) -> None:
        if process := self.running:
            process.send_signal(number)


class Launcher:
    def __init__(self, settings: Settings, devices: Sequence[Device]) -> None:
        self._settings = settings
        self._devices = devices
        self._patience = settings.grace_seconds + MARGIN_SECONDS
        # No Event: its lock is not reentrant, and a handler that sets it while we wait on it may hang for ever.
        self._signals = 0  # that told it to leave
        self._orphaned = False

    def run(self, on_leash: bool) -> bool:
        """Serve until SIGTERM, SIGINT or, on a leash, the end of standard input. A second signal ends everything. False
        where no device could be used."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._count_signal())
        if on_leash:
            threading.Thread(target=self._read_leash, daemon=True).start()
        guard = Guard(self._patience)
        all_slots = [Slot(self._settings, device, index) for index, device in enumerate(self._devices)]
        slots = all_slots
        while slots and not self._signals and not self._orphaned:
            slots = [slot for slot in slots if slot.keep_running()]
            guard.watch([process.pid for slot in slots if (process := slot.running)])
            time.sleep(0.1)
        self._drain(slots)
        return not all(slot.gave_up for slot in all_slots)

    def _drain(self, slots: list[Slot]) -> None:
        deadline = time.monotonic() + self._patience
        for slot in slots:
            slot.send(signal.SIGTERM)
        while any(slot.running for slot in slots) and time.monotonic() < deadline and self._signals < 2:
            time.sleep(0.05)
        for slot in slots:
            slot.send(signal.SIGKILL)

    def _count_signal(self) -> None:
        self._signals += 1

    def _read_leash(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self._orphaned = True
