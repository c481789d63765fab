"""The paper's figures as data: what each preset would run (core/training/README.md, "The figures")."""

from typing import Any, Literal, NamedTuple, get_args

PresetName = Literal[
    "figure-1", "figure-2", "figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8", "paper"
]


class Figure(NamedTuple):
    title: str
    base: dict[str, Any]  # the spec, but for its weight; what is not said is the spec's default
    weights: tuple[str, ...]  # of the text
    drawn: tuple[str, ...]  # in the picture


_CIFAR10 = ("256:1", "64:1", "16:1", "4:1", "1:1", "1:4", "1:16", "1:64", "1:256")
_MNIST = ("256:1", "16:1", "1:1", "1:16", "1:256")
_FIGURE_3 = ("256:1", "16:1", "1:16", "1:256")
_FIGURE_4 = (
    *("256:1", "128:1", "64:1", "32:1", "8:1", "4:1", "2:1", "1:1"),
    *("1:2", "1:4", "1:8", "1:32", "1:64", "1:128", "1:256"),
)

FIGURES: dict[str, Figure] = {
    "figure-1": Figure(
        "CNN on CIFAR-10",
        {"dataset": {"name": "cifar10"}, "model": {"name": "cnn"}},
        weights=_CIFAR10,
        drawn=_CIFAR10,
    ),
    "figure-2": Figure(
        "CNN on MNIST",
        {"dataset": {"name": "mnist"}, "model": {"name": "cnn"}},
        weights=_MNIST,
        drawn=_MNIST,
    ),
    "figure-3": Figure(
        "CNN on CIFAR-10 with L2",
        # The paper gives no coefficient: 1e-3 is ours.
        {"dataset": {"name": "cifar10"}, "model": {"name": "cnn"}, "optimizer": {"weight_decay": 1e-3}},
        weights=_CIFAR10,
        drawn=_FIGURE_3,
    ),
    "figure-4": Figure(
        "CNN on CIFAR-10 with dropout",
        {"dataset": {"name": "cifar10"}, "model": {"name": "cnn", "dropout": 0.5}, "optimizer": {"lr": 0.05}},
        weights=_CIFAR10,
        drawn=_FIGURE_4,
    ),
    "figure-5": Figure(
        "CNN on MNIST with dropout",
        {"dataset": {"name": "mnist"}, "model": {"name": "cnn", "dropout": 0.5}, "optimizer": {"lr": 0.05}},
        weights=_MNIST,
        drawn=_MNIST,  # six lines, but 1:256 is listed twice
    ),
    "figure-6": Figure(
        "ResNet with batch norm on CIFAR-10",
        {"dataset": {"name": "cifar10"}, "model": {"name": "resnet", "batch_norm": True}},
        weights=_CIFAR10,
        drawn=_CIFAR10,
    ),
    "figure-7": Figure(
        "ResNet with batch norm on MNIST",
        {"dataset": {"name": "mnist"}, "model": {"name": "resnet", "batch_norm": True}},
        weights=_MNIST,
        drawn=_MNIST,
    ),
    "figure-8": Figure(
        "ResNet without batch norm on CIFAR-10",
        {"dataset": {"name": "cifar10"}, "model": {"name": "resnet", "batch_norm": False}},
        weights=_CIFAR10,
        drawn=_CIFAR10,
    ),
}

PRESETS: dict[PresetName, tuple[str, ...]] = {  # the figures of each
    name: tuple(FIGURES) if name == "paper" else (name,) for name in get_args(PresetName)
}


def title(name: PresetName) -> str:
    return "All eight figures of the paper" if name == "paper" else FIGURES[name].title
