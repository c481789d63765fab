"""The data of an experiment, all of it in memory: split into train, in-domain and out-of-domain.

Whatever the source, the paper's split and the subset are made here, in one place (core/training/README.md, "The
protocol").
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core import spec
from core.results import NOISE_IMAGES
from core.training import folders, seeding, synthetic, vision
from core.training.errors import BadData
from core.training.images import normalised, resized

_DIGITS_MAX = 16  # the brightest value of scikit-learn's digits
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Examples:
    """As they are stored, small, and as a network takes them: prepared a batch at a time, on their device."""

    stored: Tensor  # [n, *input shape]: images uint8 [n, channels, 32, 32], points float32 [n, d]
    prepare: Callable[[Tensor, torch.dtype], Tensor]  # some of `stored` as inputs of that dtype

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def device(self) -> torch.device:
        return self.stored.device

    def to(self, device: str | torch.device) -> "Examples":
        return replace(self, stored=self.stored.to(device))

    def inputs(self, chosen: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """What a network takes of the `chosen` ones: [n, *input shape] in `dtype`."""
        return self.prepare(self.stored[chosen], dtype)


@dataclass(frozen=True)
class Data:
    """Labels are int64 [n]: output indices, 0 for the lower raw label."""

    train: Examples  # class after class in ascending raw label, as they are without noise
    train_labels: Tensor  # with their noise
    in_domain: Examples  # of the test set, those of the two classes, in file order
    in_domain_labels: Tensor
    out_of_domain: Examples  # of the test set, those of all other classes, in file order; empty where there are none
    base_index: int  # which output is the base class
    class_sizes: tuple[int, int]  # training examples by output index

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example, as a network takes it."""
        return tuple(self.train.stored.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.train.device

    @cached_property
    def sha256(self) -> str:
        """Of every image and label that is trained or tested on, in their order; hexadecimal."""
        digest = hashlib.sha256()
        for tensor in (
            self.train.stored,
            self.train_labels,
            self.in_domain.stored,
            self.in_domain_labels,
            self.out_of_domain.stored,
        ):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> "Data":
        return replace(
            self,
            train=self.train.to(device),
            train_labels=self.train_labels.to(device),
            in_domain=self.in_domain.to(device),
            in_domain_labels=self.in_domain_labels.to(device),
            out_of_domain=self.out_of_domain.to(device),
        )


class _Images(NamedTuple):
    images: Tensor  # uint8 [n, c, h, w]
    labels: Tensor  # int64 [n], raw

    def at(self, chosen: Tensor) -> "_Images":
        return _Images(self.images[chosen], self.labels[chosen])


class _Source(NamedTuple):
    train: _Images
    test: _Images
    base: int  # raw label of the base class
    other: int


def load(dataset: spec.AnyDataset, data_dir: Path, locks_dir: Path, device: str = "cpu") -> Data:
    """The data that `dataset` describes, on `device`. Raises BadData where they are missing, damaged or too few.

    `data_dir` is written to only by a download; locks lie in `locks_dir`."""
    if isinstance(dataset, spec.ImageDataset):
        data = _of_images(dataset, _source(dataset, data_dir, locks_dir))
    else:
        data = _of_points(dataset)
    return _with_label_noise(data, dataset).to(device)


def _with_label_noise(data: Data, dataset: spec.AnyDataset) -> Data:
    """More noise turns over the same labels and others."""
    n = len(data.train_labels)
    turned = seeding.label_noise_order(dataset.seed, n)[: round(dataset.label_noise * n)]
    labels = data.train_labels.clone()
    labels[turned] = 1 - labels[turned]
    second = int(labels.sum())
    if len(turned) and second in (0, n):
        raise BadData(
            f"label_noise {dataset.label_noise:g} leaves no example of one class among {n}: choose less of it"
        )
    return replace(data, train_labels=labels, class_sizes=(n - second, second))


def _of_points(dataset: spec.AnyPoints) -> Data:
    """Output 0 is the base class, and nothing lies out-of-domain."""
    train, test = synthetic.read(dataset)
    counts = spec.point_counts(dataset)
    return Data(
        train=Examples(train.points, _as_they_are),
        train_labels=train.labels,
        in_domain=Examples(test.points, _as_they_are),
        in_domain_labels=test.labels,
        out_of_domain=Examples(test.points[:0], _as_they_are),
        base_index=0,
        class_sizes=(counts.base, counts.other),
    )


def _as_they_are(points: Tensor, dtype: torch.dtype) -> Tensor:
    return points.to(dtype)


def _of_images(dataset: spec.AnyImages, source: _Source) -> Data:
    (low, low_name), (high, high_name) = sorted(
        [(source.base, dataset.base_class), (source.other, dataset.other_class)]
    )
    chosen = [
        _subset(dataset, source.train.labels == low, 0, low_name),
        _subset(dataset, source.train.labels == high, 1, high_name),
    ]
    train = source.train.at(torch.cat(chosen))
    of_pair = torch.isin(source.test.labels, torch.tensor([low, high]))
    in_domain = _limited(source.test.at(of_pair), dataset.eval_limit)
    out_of_domain = _limited(source.test.at(~of_pair), dataset.eval_limit)
    return Data(
        train=_examples(train.images),
        train_labels=(train.labels == high).long(),
        in_domain=_examples(in_domain.images),
        in_domain_labels=(in_domain.labels == high).long(),
        out_of_domain=_examples(out_of_domain.images),
        base_index=int(source.base == high),
        class_sizes=(len(chosen[0]), len(chosen[1])),
    )


def noise_beside(data: Data) -> Examples | None:
    """Images of uniform noise in the shape of `data`, prepared alike, on their device: the same for every experiment.
    None where the data are no images."""
    if data.train.stored.dtype != torch.uint8:
        return None
    return Examples(seeding.noise(NOISE_IMAGES, data.input_shape), data.train.prepare).to(data.device)


def _examples(images: Tensor) -> Examples:
    return Examples(resized(images), normalised)


def _source(dataset: spec.AnyImages, data_dir: Path, locks_dir: Path) -> _Source:
    match dataset:
        case spec.Digits():
            return _digits(int(dataset.base_class), int(dataset.other_class))
        case spec.Mnist() | spec.FashionMnist():
            train, test = vision.read(dataset.name, data_dir, locks_dir)
            return _Source(_Images(*train), _Images(*test), int(dataset.base_class), int(dataset.other_class))
        case spec.Cifar10():
            train, test = vision.read(dataset.name, data_dir, locks_dir)
            pair = (_CIFAR10.index(dataset.base_class), _CIFAR10.index(dataset.other_class))
            return _Source(_Images(*train), _Images(*test), *pair)
        case spec.ImageFolder():
            return _image_folder(dataset, data_dir)


def _digits(base: int, other: int) -> _Source:
    """scikit-learn's digits have no test set: every fourth image of the pair is one, and all images of the other eight
    classes, which never train."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * 255 / _DIGITS_MAX).astype(np.uint8)
    images = _Images(torch.from_numpy(grey).unsqueeze(1), torch.from_numpy(digits.target).long())
    trains = torch.isin(images.labels, torch.tensor([base, other])) & (_rank(images.labels) % 4 != 0)
    return _Source(images.at(trains), images.at(~trains), base, other)


def _image_folder(dataset: spec.ImageFolder, data_dir: Path) -> _Source:
    """Raw labels number the classes in ascending order of their names; test images stand class after class."""
    root = folders.folder_named(data_dir / "folders", dataset.folder)
    pair = (dataset.base_class, dataset.other_class)
    train = folders.read(root / "train", needed=pair, also_others=False)
    test = folders.read(root / "test", needed=pair, also_others=True)
    names = sorted(test)
    return _Source(_labelled(train, names), _labelled(test, names), names.index(pair[0]), names.index(pair[1]))


def _labelled(classes: dict[str, Tensor], names: list[str]) -> _Images:
    labels = [torch.full((len(images),), names.index(name)) for name, images in classes.items()]
    return _Images(torch.cat(list(classes.values())), torch.cat(labels))


def _subset(dataset: spec.AnyImages, of_class: Tensor, output: int, name: str) -> Tensor:
    """Where the training images of one class stand, in the order of the data set's own shuffle: a larger subset begins
    with the smaller one."""
    places = of_class.nonzero().squeeze(1)
    n = len(places) if dataset.train_per_class is None else dataset.train_per_class
    if n > len(places):
        raise BadData(
            f"train_per_class {n} is larger than class {name!r} of {dataset.name}, which has {len(places)} training "
            f"images: choose at most {len(places)}, or null for all"
        )
    return places[seeding.subset_order(dataset.seed, output, len(places))[:n]]


def _limited(test: _Images, limit: int | None) -> _Images:
    """At most `limit` images, taken from the classes in turn, the first of each class first; in file order again."""
    if limit is None or limit >= len(test.labels):
        return test
    in_turn = np.lexsort((test.labels.numpy(), _rank(test.labels).numpy()))
    return test.at(torch.from_numpy(np.sort(in_turn[:limit])))


def _rank(labels: Tensor) -> Tensor:
    """How many images of the same class stand before each image: int64 [n]."""
    rank = torch.empty_like(labels)
    for label in np.unique(labels.numpy()):
        places = labels == label
        rank[places] = torch.arange(int(places.sum()))
    return rank
