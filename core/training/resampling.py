"""Which examples an epoch consists of: all, or so many of each class as their weights say (core/training/README.md,
"Resampling")."""

import torch
from torch import Tensor

from core.spec import Spec, epoch_sizes, resampling_fault
from core.training import seeding
from core.training.datasets import Data
from core.training.errors import BadData


def examples_of_epoch(spec: Spec, data: Data) -> Tensor:
    """Indices into the training set, of which an epoch is a permutation: int64 [n], on the CPU. Raises BadData where
    `resample` leaves nothing of a class, or too much."""
    labels = data.train_labels.cpu()
    if spec.resample is None:
        return torch.arange(len(labels))
    places = [(labels == output).nonzero().squeeze(1) for output in (0, 1)]
    base, other = data.base_index, 1 - data.base_index
    sizes = epoch_sizes(spec.resample, spec.weights, (len(places[base]), len(places[other])))
    fault = resampling_fault(spec.resample, sizes)
    if fault is not None:
        raise BadData(
            f"resample {spec.resample} with weight {spec.importance_weight} {fault}: choose a weight nearer to 1:1"
        )
    by_output = {base: sizes[0], other: sizes[1]}
    return torch.cat([_resampled(spec, output, places[output], by_output[output]) for output in (0, 1)])


def _resampled(spec: Spec, output: int, places: Tensor, n: int) -> Tensor:
    """`n` of the examples of one class, in order: the first of the data set's own order, or each equally often."""
    if spec.resample == "repeat":
        return places.repeat_interleave(n // max(len(places), 1))
    kept = seeding.resampling_order(spec.dataset.seed, output, len(places))[:n]
    return places[kept.sort().values]
