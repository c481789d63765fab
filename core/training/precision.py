"""In which numbers a network computes: fp32, or the faster ones that its convolutions and dense layers may take.

What must not be rounded stays in fp32 whatever is chosen here: the weights that are trained, batch norm's statistics,
the last layer, the loss, the descent (core/training/README.md, "Precision").
"""

from contextlib import AbstractContextManager, nullcontext

import torch

from core import processor
from core.spec import OF_A_GPU, Precision
from core.training.errors import BadDevice

_FP32: AbstractContextManager[None] = nullcontext()


def require(precision: Precision, device: str) -> None:
    """Raises BadDevice where a device of this kind cannot compute so."""
    if precision == OF_A_GPU and torch.device(device).type != "cuda":
        raise BadDevice(
            "precision tf32 is a GPU's, and this worker trains on a CPU: submit it with fp32 or bf16, or let "
            "only workers with GPUs serve"
        )


def warnings(precision: Precision, device: str) -> list[str]:
    """Sentences on what a device of this kind computes so, but slower than in fp32."""
    on_cpu = torch.device(device).type == "cpu"
    return [processor.SLOW_BF16] if precision == "bf16" and on_cpu and processor.computes_bf16() is False else []


def prepare(precision: Precision, device: str) -> None:
    """Let this process's GPU compute so, with equal bits each time. A CPU needs nothing."""
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def layers_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Within it, convolutions and dense layers compute in `precision`, forward and backward: their inputs and weights
    are rounded to it, and what they give; their sums are in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else _FP32
