"""The generator that trains: specs and images in, one typed result a row out. It knows nothing of the service.

One experiment a pack for now; the pairs (member, row) are the shape that packs will have.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.results import EpochResult, Predictions
from core.spec import Spec
from core.training.datasets import Data
from core.training.evaluation import Tested, never, predict
from core.training.experiment import Experiment, Met, mean
from core.training.weights import encode


@dataclass(frozen=True)
class Member:
    """An experiment of a pack. `wish` is asked between steps and between batches of an evaluation, so it must be cheap;
    once it returns True, the member's training ends without a further row."""

    spec: Spec
    wish: Callable[[], bool] = never


def train(
    members: Sequence[Member], data: Data, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Iterator[tuple[int, EpochResult]]:
    """Train `members` (one, for now) on `data`, yielding (its index in `members`, row) after each evaluated epoch,
    until its last epoch, its wish or a row that diverged.

    Raises BadData where the batch is larger than the training set. On a CPU the caller sets the number of intra-op
    threads, which is part of the numerics key."""
    if len(members) != 1:
        raise ValueError(f"one experiment a pack for now, not {len(members)}")
    (member,) = members
    _same_bits_every_time(device)
    data = data.to(device)
    experiment = Experiment(member.spec, data, dtype)
    since = time.perf_counter()
    while experiment.epoch < member.spec.epochs:
        met = experiment.train_epoch(member.wish)
        if met is None:
            return
        if not member.spec.evaluated(experiment.epoch):
            continue
        tests = _evaluate(experiment, data, dtype, member.wish)
        if tests is None:
            return
        now = time.perf_counter()
        row = _row(experiment, data, met, *tests, seconds=now - since)
        since = now
        yield 0, row if row.diverged else _with_what_is_kept(row, experiment, data, *tests)
        if row.diverged:
            return


def _evaluate(
    experiment: Experiment, data: Data, dtype: torch.dtype, wish: Callable[[], bool]
) -> tuple[Tested, Tested] | None:
    in_domain = predict(experiment.model, data.in_domain_images, dtype, wish)
    if in_domain is None:
        return None
    out_of_domain = predict(experiment.model, data.out_of_domain_images, dtype, wish)
    return None if out_of_domain is None else (in_domain, out_of_domain)


def _row(
    experiment: Experiment, data: Data, met: Met, in_domain: Tested, out_of_domain: Tested, seconds: float
) -> EpochResult:
    base, other = data.base_index, 1 - data.base_index
    counts = torch.stack(
        [
            (in_domain.outputs == base).sum(),
            (out_of_domain.outputs == base).sum(),
            (in_domain.outputs == data.in_domain_labels).sum(),
            in_domain.finite.sum(),
            out_of_domain.finite.sum(),
        ]
    )
    base_in, base_out, correct_in, finite_in, finite_out = counts.tolist()  # host sync: the one of an evaluation
    return EpochResult(
        epoch=experiment.epoch,
        n_in_domain=len(data.in_domain_images),
        n_out_of_domain=len(data.out_of_domain_images),
        base_in_domain=base_in,
        base_out_of_domain=base_out,
        correct_in_domain=correct_in,
        finite_in_domain=finite_in,
        finite_out_of_domain=finite_out,
        train_loss=mean(met.losses.float().tolist()),
        train_n_base=met.n[base],
        train_n_other=met.n[other],
        train_correct_base=met.correct[base],
        train_correct_other=met.correct[other],
        loss=experiment.take_loss_points(),
        seconds=seconds,
    )


def _with_what_is_kept(
    row: EpochResult, experiment: Experiment, data: Data, in_domain: Tested, out_of_domain: Tested
) -> EpochResult:
    if experiment.spec.predicted(row.epoch):
        bits = Predictions(_bits(in_domain, data.base_index), _bits(out_of_domain, data.base_index))
        row = row._replace(predictions=bits)
    if row.epoch == experiment.spec.epochs:
        row = row._replace(weights=encode(experiment.model, experiment.spec, row.epoch))
    return row


def _bits(tested: Tested, base_index: int) -> bytes:
    return np.packbits((tested.outputs == base_index).cpu().numpy()).tobytes()


def _same_bits_every_time(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
