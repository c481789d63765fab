"""The trainer against the plainest loop that could be right: the paper's cnn, fp32, one thread, in images a second."""

import time
from collections.abc import Callable, Iterator

import torch

from core.spec import Spec
from core.training import Data
from core.training.experiment import Experiment
from core.training.seeding import permutation
from tests.benchmarks.harness import Measurement, interleaved, ratio
from tests.unit.training.builders import an_epoch, invented, spec_of
from tests.unit.training.reference import loss_of, network, normalise, sgd, weights_of

PAIRS = 5
IMAGES = 320


def measure() -> Iterator[Measurement]:
    torch.set_num_threads(1)
    spec = spec_of(dataset={"name": "cifar10"}, model={"name": "cnn"}, importance_weight="16:1")
    data = invented(IMAGES)
    ours, plain = _trainer(spec, data), _reference(spec, data)
    ours(), plain()
    trainer, reference = interleaved(PAIRS, lambda: _images_a_second(ours), lambda: _images_a_second(plain))
    yield Measurement("training, the paper's cnn", trainer, "images/s")
    yield Measurement("training, the reference loop", reference, "images/s")
    yield ratio("trainer / reference loop", trainer, reference)


def _images_a_second(epoch: Callable[[], None]) -> float:
    began = time.perf_counter()
    epoch()
    return IMAGES / (time.perf_counter() - began)


def _trainer(spec: Spec, data: Data) -> Callable[[], None]:
    experiment = Experiment(spec, data, torch.float32)

    def epoch() -> None:
        an_epoch(experiment)

    return epoch


def _reference(spec: Spec, data: Data) -> Callable[[], None]:
    """The loop of tests/unit/training/reference.py in fp32, without evaluation."""
    assert spec.batch_size is not None
    size = spec.batch_size
    model = network(spec, data.input_shape[0]).float()
    optimizer = sgd(spec, model, "")
    weights = weights_of(spec, data, "").float()
    images, labels = normalise(data.train.stored).float(), data.train_labels

    def epoch() -> None:
        model.train()
        for chosen in permutation(spec.seed, 1, IMAGES).split(size):
            loss = loss_of(spec, model(images[chosen]), labels[chosen], weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch
