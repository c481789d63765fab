"""The generator that trains: specs and images in, one typed result a row out. It knows nothing of the service.

One experiment a pack for now; the pairs (member, row) are the shape that packs will have.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from core.results import Checkpoint, Command, EpochResult, Predictions
from core.spec import Spec
from core.training import precision
from core.training.datasets import Data, Examples, noise_beside
from core.training.diagnostics import dead_shares, diagnose, peaks
from core.training.evaluation import Outputs, predict
from core.training.experiment import Experiment, TrainMetrics, mean
from core.training.weights import encode_weights


def go_on() -> Command:
    return Command.GO_ON


@dataclass(frozen=True)
class Member:
    """An experiment of a pack, from its beginning or from a checkpoint. `command` is asked before every step, between
    batches of an evaluation and after the last row, so it must be cheap."""

    spec: Spec
    checkpoint: bytes | None = None
    command: Callable[[], Command] = go_on


def train(
    members: Sequence[Member], data: Data, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Iterator[tuple[int, EpochResult | Checkpoint]]:
    """Train `members` (one, for now) on `data`, yielding (its index in `members`, row) after each evaluated epoch,
    until its last epoch, its command or a row that diverged; and (index, checkpoint) whenever its command is to save or
    to stop: never before the rows that it stands behind, and within an epoch too.

    Raises BadData where the batch is larger than the training set, BadCheckpoint where a checkpoint is damaged or of
    another experiment, BadDevice where `device` cannot compute in the spec's precision. On a CPU the caller sets the
    number of intra-op threads, which is part of the numerics key."""
    if len(members) != 1:
        raise ValueError(f"one experiment a pack for now, not {len(members)}")
    (member,) = members
    precision.require(member.spec.precision, device)
    precision.prepare(member.spec.precision, device)
    data = data.to(device)
    noise = noise_beside(data) if member.spec.diagnostics else None
    experiment = Experiment(member.spec, data, dtype, member.checkpoint)
    since = time.perf_counter()
    while experiment.epoch < member.spec.epochs:
        command = experiment.advance(member.command)
        if command in (Command.SAVE, Command.STOP):
            yield 0, experiment.checkpoint()
        if command in (Command.STOP, Command.DROP):
            return
        if not experiment.epoch_is_over:
            continue
        tests = None
        if member.spec.evaluated(experiment.epoch + 1):
            tests = _evaluate(experiment, data, noise, dtype, member.command)
            if tests is None:
                continue  # its command, which is heard before anything else happens
        metrics = experiment.end_epoch()
        if tests is None or metrics is None:
            continue
        now = time.perf_counter()
        row = _row(experiment, data, metrics, tests, seconds=now - since)
        since = now
        yield 0, row if row.diverged else _with_predictions_and_weights(row, experiment, data, tests)
        if row.diverged:
            return
    if member.command() in (Command.SAVE, Command.STOP):
        yield 0, experiment.checkpoint()


class _Tests(NamedTuple):
    """What an evaluation gives."""

    in_domain: Outputs
    out_of_domain: Outputs
    dead_units: tuple[float, ...]  # on the in-domain set, by layer; none without diagnostics
    noise: Outputs | None = None  # where there is some


def _evaluate(
    experiment: Experiment, data: Data, noise: Examples | None, dtype: torch.dtype, command: Callable[[], Command]
) -> _Tests | None:
    """None where the command to end came between: then it is not over."""

    def must_stop() -> bool:
        return command() in (Command.STOP, Command.DROP)

    model = experiment.model
    with peaks(model.rectified() if experiment.spec.diagnostics else []) as highest:
        in_domain = predict(model, data.in_domain, dtype, must_stop)
    if in_domain is None:
        return None
    out_of_domain = predict(model, data.out_of_domain, dtype, must_stop)
    if out_of_domain is None:
        return None
    tests = _Tests(in_domain, out_of_domain, dead_shares(highest))
    if noise is None:
        return tests
    of_noise = predict(model, noise, dtype, must_stop)
    return None if of_noise is None else tests._replace(noise=of_noise)


def _row(experiment: Experiment, data: Data, metrics: TrainMetrics, tests: _Tests, seconds: float) -> EpochResult:
    base, other = data.base_index, 1 - data.base_index
    in_domain, out_of_domain, dead_units, noise = tests
    counts = torch.stack(
        [
            (in_domain.indices == base).sum(),
            (out_of_domain.indices == base).sum(),
            (in_domain.indices == data.in_domain_labels).sum(),
            in_domain.finite.sum(),
            out_of_domain.finite.sum(),
        ]
    )
    base_in, base_out, correct_in, finite_in, finite_out = counts.tolist()  # host sync: the one of an evaluation
    return EpochResult(
        epoch=experiment.epoch,
        n_in_domain=len(data.in_domain),
        n_out_of_domain=len(data.out_of_domain),
        base_in_domain=base_in,
        base_out_of_domain=base_out,
        correct_in_domain=correct_in,
        finite_in_domain=finite_in,
        finite_out_of_domain=finite_out,
        train_loss=mean(metrics.losses.float().tolist()),
        train_n_base=metrics.n[base],
        train_n_other=metrics.n[other],
        train_correct_base=metrics.correct[base],
        train_correct_other=metrics.correct[other],
        loss=experiment.pop_loss_points(),
        seconds=seconds,
        diagnostics=metrics.met and diagnose(experiment.model, metrics.met, base, dead_units, noise),
    )


def _with_predictions_and_weights(row: EpochResult, experiment: Experiment, data: Data, tests: _Tests) -> EpochResult:
    if experiment.spec.predicted(row.epoch):
        bits = Predictions(_bits(tests.in_domain, data.base_index), _bits(tests.out_of_domain, data.base_index))
        row = row._replace(predictions=bits)
    if row.epoch == experiment.spec.epochs:
        row = row._replace(weights=encode_weights(experiment.model, experiment.spec, row.epoch))
    return row


def _bits(outputs: Outputs, base_index: int) -> bytes:
    return np.packbits((outputs.indices == base_index).cpu().numpy()).tobytes()
