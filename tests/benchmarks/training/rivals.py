"""One rival, in a process of its own, so that its allocator, its threads and its peak memory are its own.

python -m tests.benchmarks.training.rivals RIVAL SUBJECT [--precision P] [--threads N] [--workers N]

An epoch to warm up, then one for each line on standard input, training and evaluating both test sets; each is answered
by a line of JSON, an `Answer`. What the rivals are is said at each; who races them is racing.py.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from core.spec import Spec
from core.training import Data, Member, load, train
from tests.benchmarks.training.racing import Answer
from tests.benchmarks.training.subjects import BY_NAME
from tests.unit.training.builders import invented, locks_dir
from tests.unit.training.reference import loss_of, network, normalise, sgd, sizes_of, weights_of

Epoch = Callable[[], object]
_EVALUATED_AT_ONCE = 64  # of the tight loop; the script takes its batch size


def ours(spec: Spec, data: Data) -> Epoch:
    """As a worker trains: rows of `core.training.train`."""
    rows = train([Member(spec)], data)
    return lambda: next(rows)


def tight(spec: Spec, data: Data) -> Epoch:
    """The plainest loop over one tensor of floats that lies in memory; no number is read before the epoch is over."""
    model = network(spec, data.input_shape[0])
    optimizer = sgd(spec, model, "")
    weights, sizes = weights_of(spec, data, "").float(), sizes_of(spec, data).float()
    images, labels = normalise(data.train.stored).float(), data.train_labels
    tests = [normalise(test.stored).float() for test in (data.in_domain, data.out_of_domain)]
    n, size = len(labels), spec.batch_size or len(labels)

    def epoch() -> None:
        model.train()
        for chosen in torch.randperm(n)[: n - n % size].split(size):
            loss = loss_of(spec, model(images[chosen]), labels[chosen], weights, sizes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for test in tests:
                torch.cat([model(batch).argmax(1) for batch in test.split(_EVALUATED_AT_ONCE)]).sum().item()

    return epoch


class Pictures(Dataset[tuple[Tensor, int]]):
    """PIL images, made into tensors one by one as torchvision's ToTensor and Normalize do it, step by step (torchvision
    itself does not load beside every torch)."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._pictures = [Image.fromarray(each.permute(1, 2, 0).numpy().squeeze()) for each in images]
        self._labels = labels.tolist()

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(np.array(self._pictures[index], np.uint8, copy=True))
        image = pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        half = torch.as_tensor([0.5] * len(image)).view(-1, 1, 1)
        return image.clone().sub_(half).div_(half), self._labels[index]


def script(spec: Spec, data: Data, workers: int) -> Epoch:
    """As scripts are written: a DataLoader of pictures, `loss.item()` at each step, evaluation in batches of 16."""
    model = network(spec, data.input_shape[0])
    criterion = nn.CrossEntropyLoss(weight=weights_of(spec, data, "").float())
    optimizer = torch.optim.SGD(model.parameters(), lr=spec.optimizer.lr)
    unknown = torch.zeros(len(data.out_of_domain), dtype=torch.int64)
    batch = spec.batch_size
    training = DataLoader(
        Pictures(data.train.stored, data.train_labels), batch, shuffle=True, drop_last=True, num_workers=workers
    )
    tests = [
        DataLoader(Pictures(data.in_domain.stored, data.in_domain_labels), batch, num_workers=workers),
        DataLoader(Pictures(data.out_of_domain.stored, unknown), batch, num_workers=workers),
    ]

    def epoch() -> None:
        model.train()
        total = 0.0
        for images, labels in training:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            for test in tests:
                sum((model(images).argmax(1) == data.base_index).sum().item() for images, _ in test)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rival", choices=["ours", "tight", "script"])
    parser.add_argument("subject")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes by itself")
    parser.add_argument("--workers", type=int, default=0, help="of the script's DataLoader")
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST, to train on all of it")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    subject = BY_NAME[options.subject]
    spec = subject.spec(options.precision)
    if options.mnist:
        spec = Spec.model_validate({**spec.model_dump(), "dataset": {"name": "mnist"}})
        data = load(spec.dataset, options.mnist, locks_dir())
    else:
        data = invented(subject.images, tests=subject.tests)
    match options.rival:
        case "ours":
            epoch = ours(spec, data)
        case "tight":
            epoch = tight(spec, data)
        case _:
            epoch = script(spec, data, options.workers)
    if not options.mnist:
        epoch()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(_measured(epoch)._asdict()), flush=True)


def _measured(epoch: Epoch) -> Answer:
    began, cpu = time.perf_counter(), _cpu_seconds()
    epoch()
    seconds = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Answer(seconds, _cpu_seconds() - cpu, peak_kib / 1024)


def _cpu_seconds() -> float:
    """Its own and those of the DataLoader's workers, which have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
