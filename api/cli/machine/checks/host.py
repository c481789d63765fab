"""What this host has: packages, its home, data sets, devices."""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from api.cli.machine.checks.finding import INSTALL_WORKER, Finding, failed_check, installed_version
from api.cli.machine.checks.space import LITTLE_SPACE
from core import processor
from core.locks import NoLocks, require_locks
from core.settings import Settings

_PACKAGES = ("sqlalchemy", "celery", "fastapi", "torch", "torchvision")
_DEVICES_PATIENCE = 4.5  # seconds: the process that looks ends before the examination does
_DATA_SETS = {
    "MNIST": "mnist",
    "FashionMNIST": "fashion_mnist",
    "cifar-10-batches-py": "cifar10",
}  # by torchvision's name


def check_versions() -> Iterator[Finding]:
    known = {"ballast": installed_version("ballast"), "python": platform.python_version()}
    known |= {name: installed_version(name) for name in _PACKAGES}
    yield Finding("versions", "ok", ", ".join(f"{name} {version}" for name, version in known.items() if version))
    if not known["torch"]:
        yield Finding("torch", "warning", "not installed: this host cannot train", INSTALL_WORKER)


def check_home(settings: Settings) -> Iterator[Finding]:
    try:
        place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=place):  # rights alone know nothing of read-only disks
            free = shutil.disk_usage(place).free
    except OSError as error:
        yield failed_check("home", f"cannot write to {settings.home} ({error.strerror})")
        return
    try:
        require_locks(place)
    except NoLocks as error:
        yield Finding("home", "wrong", error.found, error.todo)
        return
    found = f"{settings.home}, {free / 2**30:.0f} GiB free"
    if free < LITTLE_SPACE:
        yield Finding("home", "warning", found, "make room, or set BALLAST_HOME to a larger disk")
    else:
        yield Finding("home", "ok", found)


def check_data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        there = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        yield Finding("data", "ok", f"{folder} is not there yet: the first download makes it")
        return
    except OSError as error:
        yield failed_check("data", f"cannot read {folder} ({error.strerror})")
        return
    data_sets = [name for entry, name in _DATA_SETS.items() if entry in there and _holds_files(folder / entry)]
    folders = sorted(f"folders/{each.parent.name}" for each in folder.glob("folders/*/train"))
    yield Finding("data", "ok", f"{folder} seems to hold {', '.join(data_sets + folders) or 'nothing'}")


def _holds_files(folder: Path) -> bool:
    return any(entry.is_file() for entry in folder.rglob("*"))


def check_devices(settings: Settings) -> Iterator[Finding]:
    """Asked of the worker's own code, in a process of its own: the API's host needs none of what a worker needs."""
    torch = installed_version("torch")
    if torch is None:
        return
    command = [sys.executable, "-P", "-m", "worker.devices"]
    try:
        done = subprocess.run(
            command,
            env=settings.child_environment(),
            capture_output=True,
            text=True,
            timeout=_DEVICES_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield failed_check("devices", f"no answer within {_DEVICES_PATIENCE:g} s")
        return
    if done.returncode != 0:
        yield failed_check("devices", (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
        return
    told = json.loads(done.stdout)
    yield _usable_devices(told["devices"], told["gpus"], told["on_cpu"], torch)


def _usable_devices(devices: list[str], gpus: int, on_cpu: str, torch: str) -> Finding:
    wanted = {int(device.removeprefix("cuda:")) for device in devices if device != "cpu"}
    if any(index >= gpus for index in wanted):
        found = f"{devices[0]} is wanted, and this host has {gpus} GPUs"
        return Finding("devices", "warning", found, "set BALLAST_DEVICE to auto, cpu or a GPU that is there")
    if wanted and torch.endswith("+cpu"):
        found = f"this host has {gpus} GPUs, and torch {torch} uses none"
        return Finding("devices", "warning", found, "install a torch with CUDA, or set BALLAST_DEVICE=cpu")
    if on_cpu:
        remark = f"; {processor.SLOW_BF16}" if processor.computes_bf16() is False else ""
        return Finding("devices", "ok", f"cpu: {on_cpu}{remark}")
    return Finding("devices", "ok", f"a worker process for each of {', '.join(devices)}")
