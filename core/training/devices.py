"""Whether a device can be used, before anything depends on it."""

import torch

from core.training.errors import DeviceUnusable, TrainingError


def require(name: str) -> None:
    """Raises DeviceUnusable where this host or this torch has no such device, TrainingError where it fails now."""
    device, gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise DeviceUnusable(f"there is no device {name}: torch {torch.__version__} sees {gpus} GPUs on this host")
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"the device {name} does not work now ({reason})") from error


def kind(device: str) -> str:
    """The model of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"


def release(device: str) -> None:
    """Give back what was cached of the device's memory."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
