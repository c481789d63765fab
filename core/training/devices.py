"""Whether a device can be used, before anything depends on it."""

import torch

from core.training.errors import DeviceUnusable


def require(device: str) -> None:
    """Raises DeviceUnusable."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise DeviceUnusable(f"the device {device} cannot be used ({reason}): set BALLAST_DEVICE to another") from error
