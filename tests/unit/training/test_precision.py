"""Which device computes in which precision, and what a GPU is told. That a network obeys it: test_models, and bit by
bit test_reference."""

from collections.abc import Iterator
from unittest import mock

import pytest
import torch

from core import processor
from core.training import BadDevice, Member, precision, train
from tests.unit.training.builders import invented, spec_of


@pytest.fixture
def flags() -> Iterator[None]:
    """What is set for the whole process, put back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    yield
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def test_a_cpu_refuses_tf32_with_what_to_do() -> None:
    spec = spec_of(model={"name": "cnn", "width": 2}, precision="tf32")
    with pytest.raises(
        BadDevice, match=r"precision tf32 is a GPU's, .* submit it with fp32 or bf16, or let only workers"
    ):
        next(train([Member(spec)], invented(channels=1)))


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("chosen", ["fp32", "bf16", "tf32"])
def test_a_gpu_computes_in_tf32_only_where_the_spec_says_so(chosen: str) -> None:
    """The flags alone: there is no GPU here."""
    torch.backends.cudnn.benchmark = True
    precision.require(chosen, "cuda:0")
    precision.prepare(chosen, "cuda:0")
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is (chosen == "tf32")
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("computes_bf16", [True, False])
def test_bf16_is_warned_of_on_a_processor_without_it_alone(computes_bf16: bool) -> None:
    with mock.patch.object(processor, "computes_bf16", return_value=computes_bf16):
        assert precision.warnings("bf16", "cpu") == ([] if computes_bf16 else [processor.SLOW_BF16])
        for chosen, device in (("fp32", "cpu"), ("bf16", "cuda:0"), ("tf32", "cuda:0")):
            assert precision.warnings(chosen, device) == []
