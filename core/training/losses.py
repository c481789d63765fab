"""The importance-weighted loss in its three normalisations (PROTOCOL §1)."""

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from core.spec import CrossEntropy, ImportanceWeight


def output_weights(
    loss: CrossEntropy, weights: ImportanceWeight, base_index: int, class_sizes: tuple[int, int]
) -> Tensor:
    """The weight of an image by its output index: float64 [2] on the CPU. `class_sizes` counts the training images by
    output index; under `dataset_mean` the weights are scaled to mean 1 over them (Wang et al. 2022)."""
    by_output = [weights.base, weights.other] if base_index == 0 else [weights.other, weights.base]
    scale = 1.0
    if loss.normalization == "dataset_mean":
        total = sum(weight * size for weight, size in zip(by_output, class_sizes, strict=True))
        scale = sum(class_sizes) / total
    return torch.tensor([weight * scale for weight in by_output], dtype=torch.float64)


def weighted_cross_entropy(loss: CrossEntropy, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The loss of a batch, a scalar: Σwℓ / Σw under `weight_sum`, else Σwℓ / n. `logits` [n, 2], `labels` int64 [n],
    `weights` [2] as `output_weights` gives them, in the logits' dtype."""
    if loss.normalization == "weight_sum":
        return F.cross_entropy(logits, labels, weights)
    return F.cross_entropy(logits, labels, weights, reduction="sum") / len(labels)
