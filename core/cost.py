"""What an experiment costs: how many images an epoch of it trains and evaluates, and how long that takes at a known
rate. Pure; where rates are kept is the concern of `core.store.benchmarks`.
"""

from typing import NamedTuple

from core.spec import AnyDataset, AnyModel, Cnn, ImageFolder, Linear, Mlp, ResNet, Spec

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


class Images(NamedTuple):
    train: int  # of an epoch, without the last incomplete batch
    evaluated: int  # of both test sets, by one evaluation


class _Sizes(NamedTuple):
    train: tuple[int, int]  # of the base class, of the other
    in_domain: int
    out_of_domain: int


def network_of(model: AnyModel) -> str:
    """What decides its speed, such as `resnet 64 batch_norm`: dropout and channels change a few per cent."""
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
    """None of an image folder whose spec does not say how many: only its host can count them."""
    dataset = spec.dataset
    sizes = None if isinstance(dataset, ImageFolder) else _sizes(dataset)
    per_class, limit = dataset.train_per_class, dataset.eval_limit
    if sizes is None and (per_class is None or limit is None):
        return None
    train = 2 * per_class if per_class is not None else sum(sizes.train) if sizes else 0
    batch = spec.batch_size or train
    tests = (sizes.in_domain, sizes.out_of_domain) if sizes else (limit, limit)
    evaluated = sum(n if limit is None else min(n, limit) for n in tests if n is not None)
    return Images(train // batch * batch, evaluated)


def _sizes(dataset: AnyDataset) -> _Sizes:
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
