"""How fast one process trains and evaluates on one device: what `ballast bench` starts, as often as it has to.

python -P -m core.training.programs.bench --device DEVICE --threads N --seconds S

Says in a line of JSON what kind of device it has, once it can begin. Then it reads a spec a line and answers each with
a line: its rates, in images a second, and in which share of its time it really had a core; or an error. So whoever asks
several processes at once keeps them in step. The images are invented: no data set is needed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn

from core.results import Command
from core.spec import Spec
from core.training import Data, TrainingError, devices, precision
from core.training.datasets import Examples
from core.training.evaluation import BATCH, predict
from core.training.experiment import Experiment
from core.training.images import SIDE, normalised
from core.training.programs.ending import DONE, exit_code

_IMAGES = 8192  # whole batches of an evaluation on every device, and nearly as many as the paper trains on
_TRAINING = 0.6  # of the time; the rest is for evaluations
_WARM_UP = 0.25
_SLICE = 0.04  # of the time, each: a hiccup spoils one of them, and the median does not see it


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    return exit_code(partial(_answer, _options(arguments)))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="core.training.programs.bench", description="Measure how fast one process trains and evaluates."
    )
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads")
    parser.add_argument("--seconds", type=float, required=True, help="for each spec")
    return parser.parse_args(arguments)


def _answer(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    devices.require(options.device)
    data = _invented().to(options.device)
    _print_answer({"device_kind": devices.kind(options.device)})
    for line in sys.stdin:
        try:
            _print_answer(_rates(Spec.model_validate_json(line), data, options.seconds))
        except Exception as error:
            if not devices.is_out_of_memory(error) and not isinstance(error, TrainingError):
                raise
            _print_answer({"error": str(error).partition("\n")[0] or "out of memory"})
        devices.release(options.device)
    return DONE


def _print_answer(answer: dict[str, str | float]) -> None:
    print(json.dumps(answer), flush=True)


def _rates(spec: Spec, data: Data, seconds: float) -> dict[str, str | float]:
    """Images a second. Building counts as training's warming up, so that processes that were asked at once train at
    once, and evaluate at once."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    precision.require(spec.precision, str(data.device))
    precision.prepare(spec.precision, str(data.device))
    experiment = Experiment(spec, data, torch.float32)
    evaluates_at, over = begun + seconds * _TRAINING, begun + seconds
    train_rate = _median_rate(partial(_train, experiment), begun, evaluates_at, data.device)
    evaluate_rate = _median_rate(partial(_evaluate, experiment.model, data.in_domain), evaluates_at, over, data.device)
    cpu, wall = time.process_time() - cpu_begun, time.perf_counter() - begun
    return {"train_rate": train_rate, "evaluate_rate": evaluate_rate, "core_share": min(1.0, cpu / wall)}


def _median_rate(work: Callable[[float], int], begin: float, end: float, device: torch.device) -> float:
    """The median over slices of the time from `begin` to `end`, without the first ones, of one at least; `work` goes on
    to a moment and says how many images that were."""
    warm_at, slice_seconds = begin + (end - begin) * _WARM_UP, (end - begin) * _SLICE
    work(begin)  # whatever is made once is made here
    rates: list[float] = []
    while not rates or time.perf_counter() < end:
        since = time.perf_counter()
        images = work(since + slice_seconds)
        devices.wait(str(device))
        if since >= warm_at:
            rates.append(images / (time.perf_counter() - since))
    return median(rates)


def _train(experiment: Experiment, until: float) -> int:
    """The number of images that were trained on, of a step at least."""

    def command() -> Command:
        return Command.GO_ON if experiment.iteration == before or time.perf_counter() < until else Command.STOP

    before = experiment.iteration
    while command() is Command.GO_ON:
        experiment.advance(command)
        if experiment.epoch_is_over:
            experiment.end_epoch()
    return (experiment.iteration - before) * (experiment.spec.batch_size or _IMAGES)


def _evaluate(model: nn.Module, examples: Examples, until: float) -> int:
    """The number of images that were evaluated, of a batch at least."""
    batches = 0

    def must_stop() -> bool:
        nonlocal batches
        if batches and time.perf_counter() >= until:
            return True
        batches += 1
        return False

    while predict(model, examples, torch.float32, must_stop) is not None:
        pass
    return batches * BATCH[examples.device.type]


def _invented() -> Data:
    """Noise, brighter for output 1: every test set is the training set."""
    labels = (torch.arange(_IMAGES) >= _IMAGES // 2).long()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 156, (_IMAGES, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    images = Examples(noise.add_(100 * labels.to(torch.uint8).view(-1, 1, 1, 1)), normalised)
    return Data(
        train=images,
        train_labels=labels,
        in_domain=images,
        in_domain_labels=labels,
        out_of_domain=images,
        base_index=0,
        class_sizes=(_IMAGES // 2, _IMAGES // 2),
    )


if __name__ == "__main__":
    sys.exit(main())
