"""What experiments cost: how many images an epoch of one trains and evaluates, how long that takes at a known rate, and
how long many take on the workers that there are. Pure; what was measured is the concern of `core.store.costs`.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from core.results import NOISE_IMAGES
from core.spec import (
    AnyDataset,
    AnyModel,
    Cifar10,
    Cnn,
    Digits,
    FashionMnist,
    ImageDataset,
    ImageFolder,
    Linear,
    Mlp,
    Mnist,
    ResNet,
    Spec,
    epoch_sizes,
    point_counts,
)

# Images by class, in the training set and in the test set, as they are published (core/training/README.md, "The
# protocol"). Of digits, which have no test set, every fourth of a trained class is one.
_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
_MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
_DIGITS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


class Rate(NamedTuple):
    """Images a second of one process."""

    train: float
    evaluate: float


BENCH_BATCH = 16  # with which `ballast bench` measures


def is_benchmarked(spec: Spec) -> bool:
    """Whether a rate of `ballast bench`, on colour images in batches of 16, holds for it."""
    dense_on_grey = isinstance(spec.model, Mlp | Linear) and spec.dataset.name not in ("cifar10", "image_folder")
    return spec.batch_size == BENCH_BATCH and not dense_on_grey


class Images(NamedTuple):
    train: int  # of an epoch, without the last incomplete batch
    evaluated: int  # of all test sets, by one evaluation


class _Sizes(NamedTuple):
    train: tuple[int, int]  # of the base class, of the other
    in_domain: int
    out_of_domain: int


def network_of(model: AnyModel) -> str:
    """What decides its speed, such as `resnet 64 batch_norm`; dropout, and the channels of the images of a network with
    convolutions, change a few per cent."""
    match model:
        case Cnn():
            return f"cnn {model.width}"
        case ResNet():
            return f"resnet {model.width} batch_norm" if model.batch_norm else f"resnet {model.width}"
        case Mlp():
            return f"mlp {model.hidden}"
        case Linear():
            return "linear"


def images_of(spec: Spec) -> Images | None:
    """Images, or points. Resampled under label noise they are those of the mean over what may be turned over, which
    only a worker draws. None of an image folder whose spec does not say how many: only its host can count them."""
    sizes = _sizes(spec.dataset)
    if sizes is None:
        return None
    train = sum(epoch_sizes(spec.resample, spec.weights, _with_label_noise(sizes.train, spec.dataset.label_noise)))
    batch = spec.batch_size or train
    noise = NOISE_IMAGES if spec.diagnostics and isinstance(spec.dataset, ImageDataset) else 0
    return Images(train // batch * batch, sizes.in_domain + sizes.out_of_domain + noise)


def _with_label_noise(sizes: tuple[int, int], share: float) -> tuple[int, int]:
    """How many training images have each label, as many of both classes being turned over as there are."""
    base, n = sizes[0], sum(sizes)
    turned = round(share * n)
    labelled_base = base + round(turned * (n - 2 * base) / n)
    return labelled_base, n - labelled_base


def _sizes(dataset: AnyDataset) -> _Sizes | None:
    if not isinstance(dataset, ImageDataset):
        points = point_counts(dataset)
        return _Sizes((points.base, points.other), points.in_domain, 0)
    per_class, limit = dataset.train_per_class, dataset.eval_limit
    if isinstance(dataset, ImageFolder):
        return None if per_class is None or limit is None else _Sizes((per_class, per_class), limit, limit)
    whole = _published(dataset)
    tests = [n if limit is None else min(n, limit) for n in (whole.in_domain, whole.out_of_domain)]
    return _Sizes(whole.train if per_class is None else (per_class, per_class), *tests)


def _published(dataset: Digits | Mnist | FashionMnist | Cifar10) -> _Sizes:
    if dataset.name == "cifar10":
        return _Sizes((5000, 5000), 2000, 8000)
    base, other = _CLASSES.index(dataset.base_class), _CLASSES.index(dataset.other_class)
    if dataset.name == "fashion_mnist":
        return _Sizes((6000, 6000), 2000, 8000)
    if dataset.name == "mnist":
        in_domain = _MNIST_TEST[base] + _MNIST_TEST[other]
        return _Sizes((_MNIST_TRAIN[base], _MNIST_TRAIN[other]), in_domain, sum(_MNIST_TEST) - in_domain)
    pair = _DIGITS[base], _DIGITS[other]
    tests = [-(-n // 4) for n in pair]
    train = (pair[0] - tests[0], pair[1] - tests[1])
    return _Sizes(train, sum(tests), sum(_DIGITS) - sum(pair))


def epoch_seconds(spec: Spec, rate: Rate) -> float | None:
    """Of one process, in the mean over epochs with and without an evaluation; None where images cannot be counted."""
    images = images_of(spec)
    if images is None:
        return None
    evaluations = -(-spec.epochs // spec.eval_every)
    return images.train / rate.train + images.evaluated / rate.evaluate * evaluations / spec.epochs


class Place(NamedTuple):
    """Where a worker trains."""

    host: str
    device_kind: str


ANYWHERE = Place("", "")  # where there is no worker: wherever something is known


class Known(NamedTuple):
    """How long an epoch takes somewhere, and how that is known."""

    seconds: float
    measured: bool  # of an experiment of the same kind; else reckoned from a rate of `ballast bench`


class Cost(NamedTuple):
    """Of experiments, as far as their epochs are known."""

    seconds: float | None  # from the first one's turn to the end of the last; None: without workers, or none is known
    device_seconds: float | None  # of all of them together; None: none is known
    workers: int  # that are alive,
    known_workers: int  # and for which an epoch of one of the experiments is known: the others are left out
    measured: int  # experiments whose epochs were measured,
    benchmarked: int  # or are reckoned from a rate,
    unknown: int  # or are not known


def kind_of(spec: Spec) -> Hashable:
    """Equal where epochs take equally long. (`Spec.pack_key` says nearly the same, and takes longer to make.)"""
    sizes = None if spec.resample is None else (spec.resample, spec.weights)
    trained = spec.dataset, spec.model, spec.loss, sizes, spec.batch_size, spec.precision
    return *trained, spec.eval_every, spec.epochs, spec.diagnostics


def cost_of(
    specs: Sequence[Spec],
    workers: Sequence[Place],
    known: Callable[[Spec, Place], Known | None],
    epochs: Sequence[int] | None = None,
) -> Cost:
    """Each of `workers` takes the next of `specs` when it is free, of those that it is known for. Without workers,
    all are reckoned `ANYWHERE`. `epochs`: how many each has still to train, else all."""
    places = list(workers) or [ANYWHERE]
    free_at = [0.0] * len(places)
    known_places: set[int] = set()
    device_seconds, kinds = 0.0, {True: 0, False: 0}
    epochs_of: dict[Hashable, list[Known | None]] = {}  # by kind, at each of the places
    for spec, left in zip(specs, epochs or [spec.epochs for spec in specs], strict=True):
        kind = kind_of(spec)
        if kind not in epochs_of:
            at = {place: known(spec, place) for place in set(places)}
            epochs_of[kind] = [at[place] for place in places]
            known_places |= {i for i, epoch in enumerate(epochs_of[kind]) if epoch}
        found = [(free_at[i], i, epoch) for i, epoch in enumerate(epochs_of[kind]) if epoch]
        if not found:
            continue
        since, worker, epoch = min(found)
        free_at[worker] = since + left * epoch.seconds
        device_seconds += left * epoch.seconds
        kinds[epoch.measured] += 1
    total = kinds[True] + kinds[False]
    return Cost(
        seconds=max(free_at) if total and workers else None,
        device_seconds=device_seconds if total else None,
        workers=len(workers),
        known_workers=len(known_places) if workers else 0,
        measured=kinds[True],
        benchmarked=kinds[False],
        unknown=len(specs) - total,
    )
