"""Devices: what is not there is said by the name that people use. GPUs are pretended: this host has none."""

from unittest import mock

import pytest
import torch

from core.training import DeviceUnusable, devices


@pytest.mark.parametrize(("visible", "where"), [(None, "on this host"), ("GPU-3", "is GPU-3"), ("", "is empty")])
def test_a_gpu_that_is_not_there_is_said_by_its_own_name(
    visible: str | None, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with (
        mock.patch.object(torch.cuda, "device_count", return_value=0),
        pytest.raises(DeviceUnusable, match=f"there is no device cuda:3: torch .* sees 0 GPUs .*{where}$"),
    ):
        devices.require("cuda:0", "cuda:3")


def test_the_kind_of_a_gpu_is_its_model_and_a_cpu_is_a_cpu() -> None:
    with mock.patch.object(torch.cuda, "get_device_name", return_value="NVIDIA H100 80GB HBM3") as name:
        assert devices.kind("cuda:1") == "NVIDIA H100 80GB HBM3"
        name.assert_called_once_with("cuda:1")
        assert devices.kind("cpu") == "cpu"


def test_only_a_gpu_has_memory_to_give_back() -> None:
    with mock.patch.object(torch.cuda, "empty_cache") as empty:
        devices.release("cpu")
        empty.assert_not_called()
        devices.release("cuda:0")
        empty.assert_called_once_with()
