"""What tells the explanations of a curve apart (core/training/README.md, "Diagnostics"): made, in float64, of what
training and evaluation compute anyway. It changes nothing of either.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.results import Diagnostics
from core.training.evaluation import Outputs
from core.training.experiment import Met
from core.training.models import Network

_ONE_IN = 20  # margins lies at or below the 5 % quantile


class _OfClass(NamedTuple):
    loss: float
    margin: float
    margin_low: float


@contextmanager
def peaks(layers: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """While it is open, the largest output so far of each unit of each layer, [units], in the order in which the layers
    compute; a unit of a convolution is a channel. Where an output was NaN, it is NaN."""
    highest: dict[nn.Module, Tensor] = {}

    def note(layer: nn.Module, _inputs: object, outputs: Tensor) -> None:
        # Now: a ReLU may be about to work in place. By `max`: `amax` takes four times as long in channels_last.
        peak = outputs.movedim(1, -1).flatten(0, -2).max(0).values
        highest[layer] = torch.maximum(highest[layer], peak) if layer in highest else peak

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield highest
    finally:
        for hook in hooks:
            hook.remove()


def dead_shares(highest: dict[nn.Module, Tensor]) -> tuple[float, ...]:
    """Of each layer that `peaks` has watched, the share of the units that ReLU left at 0 throughout."""
    return tuple(_rounded((peak <= 0).double().mean()) for peak in highest.values())


@torch.no_grad()
def diagnose(
    network: Network, met: Met, base_index: int, dead_units: tuple[float, ...], noise: Outputs | None = None
) -> Diagnostics:
    """Of `network` after an epoch that `met` these batches; `noise` is what it says of the images of noise, where there
    are some."""
    logits, labels = met.logits.flatten(0, 1).cpu().double(), met.labels.flatten().cpu()
    gap = logits[:, base_index] - logits[:, 1 - base_index]
    base, other = _of_class(gap[labels == base_index]), _of_class(-gap[labels != base_index])
    bias = network.output.bias.double()
    return Diagnostics(
        loss_base=base.loss,
        loss_other=other.loss,
        margin_base=base.margin,
        margin_other=other.margin,
        margin_low_base=base.margin_low,
        margin_low_other=other.margin_low,
        norm=_norm(network.parameters()),
        norm_last_layer=_norm(network.output.parameters()),
        bias_difference=_rounded(bias[base_index] - bias[1 - base_index]),
        n_noise=0 if noise is None else len(noise.indices),
        base_noise=0 if noise is None else int((noise.indices == base_index).sum()),
        finite_noise=0 if noise is None else int(noise.finite.sum()),
        dead_units=dead_units,
    )


def _of_class(margins: Tensor) -> _OfClass:
    """`margins` float64 [n], on the CPU: by how much the right logit exceeds the other one."""
    n = len(margins)
    if not n or margins.isnan().any():
        return _OfClass(math.nan, math.nan, math.nan)
    losses = torch.logaddexp(torch.zeros_like(margins), -margins)  # -log softmax of the right output
    low = margins.kthvalue(-(-n // _ONE_IN)).values
    return _OfClass(_rounded(losses.mean()), _rounded(margins.mean()), _rounded(low))


def _norm(parameters: Iterable[Tensor]) -> float:
    norms = [torch.linalg.vector_norm(each, dtype=torch.float64) for each in parameters]
    return _rounded(torch.linalg.vector_norm(torch.stack(norms)))


def _rounded(value: Tensor) -> float:
    """To float32."""
    return value.float().item()
