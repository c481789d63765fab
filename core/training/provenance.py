"""Where a curve comes from: code, packages, device, threads, the very images; and what must be equal for bits to be
equal (core/training/README.md, "Numerics key"). No names of hosts, no paths: it may be published."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from core import processor
from core.results import CodeVersion, DataFacts, DeviceFacts, NumericsKey, Provenance
from core.spec import Spec
from core.training import models
from core.training.datasets import Data

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "safetensors")
_CLONE = Path(__file__).parents[2]
_GIT_SECONDS = 5


def provenance(spec: Spec, data: Data, device: str) -> Provenance:
    """What `spec` is trained with on `device`."""
    return Provenance(
        code=_code(),
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in _PACKAGES},
        device=_device(device),
        threads=torch.get_num_threads(),
        dataset=DataFacts(spec.dataset.name, data.sha256),
        numerics_key=_numerics_key(spec, device),
    )


def _numerics_key(spec: Spec, device: str) -> NumericsKey:
    known = _device(device)
    return NumericsKey(
        engine="plain",
        precision=spec.precision,
        memory_format=models.memory_format(spec.model),
        torch=torch.__version__,
        device=known.name,
        capability=known.capability,
        cudnn=known.cudnn,
        threads=torch.get_num_threads(),
    )


@functools.cache
def _code() -> CodeVersion:
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return CodeVersion(_version("ballast"), commit, dirty=None if changes is None else bool(changes))


def _git(*arguments: str) -> str | None:
    if not (_CLONE / ".git").exists():  # a folder above may be somebody else's repository
        return None
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(_CLONE), *arguments],
            env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},  # of other clones
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _device(device: str) -> DeviceFacts:
    if torch.device(device).type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return DeviceFacts(
            type="cuda",
            name=torch.cuda.get_device_name(device),
            capability=f"{major}.{minor}",
            driver=_driver(),
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        )
    return DeviceFacts(
        type="cpu",
        name=processor.name(),
        capability=torch.backends.cpu.get_cpu_capability(),
        driver=None,
        cuda=None,
        cudnn=None,
    )


def _driver() -> str | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # not installed, or no driver that it can ask: the curve is no worse for it
        return None
