"""Devices: whether one can be used, before anything depends on it; what kind it is; its memory, used up and
given back."""

import os

import torch

from core.training.errors import DeviceUnusable, TrainingError


def require(device: str, name: str | None = None) -> None:
    """Raises DeviceUnusable where this host or this torch has no such device, TrainingError where it fails now. `name`
    is what people call it, where this process sees it as another."""
    name = name or device
    index, gpus = torch.device(device).index or 0, torch.cuda.device_count()
    if _is_gpu(device) and index >= gpus:
        raise DeviceUnusable(f"there is no device {name}: torch {torch.__version__} sees {gpus} GPUs {_where()}")
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"the device {name} does not work now ({reason})") from error


def _where() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "on this host" if visible is None else f"where CUDA_VISIBLE_DEVICES is {visible or 'empty'}"


def kind(device: str) -> str:
    """The model of a GPU, as torch tells it, or "cpu"."""
    return torch.cuda.get_device_name(device) if _is_gpu(device) else "cpu"


def uuid(device: str) -> str | None:
    """Of a GPU, as its driver writes it; None of a CPU."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if _is_gpu(device) else None


def wait(device: str) -> None:
    """Until `device` has done all that this process has asked of it."""
    if _is_gpu(device):
        torch.cuda.synchronize(device)


def is_out_of_memory(error: Exception) -> bool:
    """torch has an error of its own for a GPU only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def release(device: str) -> None:
    """Give back the memory of `device` that torch keeps for later: another process can use it. What a tensor still
    holds stays."""
    if _is_gpu(device):
        torch.cuda.empty_cache()


def _is_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"
