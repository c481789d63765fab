"""What each preset would run, as data: the paper's figures, and sweeps of our own that take a minute
(core/training/README.md, "The figures")."""

from typing import Any, Literal, NamedTuple

PresetName = Literal[
    "figure-1",
    "figure-2",
    "figure-3",
    "figure-4",
    "figure-5",
    "figure-6",
    "figure-7",
    "figure-8",
    "paper",
    "losses",
    "imbalance",
    "known-answers",
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

_LOSSES: tuple[dict[str, Any], ...] = (
    {"name": "cross_entropy"},
    {"name": "polynomial"},
    {"name": "logit_adjusted"},
    {"name": "vs"},
    {"name": "ldam", "scale": 1},  # so that its steps are as long as those of the others
    {"name": "focal"},
)

# Full batches of what a line separates. Steps longer than 4 / max‖(x, 1)‖² = 0.51 would not be stable.
_TWO_GAUSSIANS: dict[str, Any] = {
    "dataset": {"name": "two_gaussians"},
    "model": {"name": "linear"},
    "optimizer": {"lr": 0.4},
    "batch_size": None,
    "epochs": 10_000,
    "eval_every": 100,
}

LOSSES: dict[str, Figure] = {
    loss["name"]: Figure(
        f"{loss['name']} on two Gaussians", _TWO_GAUSSIANS | {"loss": loss}, weights=_MNIST, drawn=_MNIST
    )
    for loss in _LOSSES
}

_IMBALANCE = ("16:1", "4:1", "1:1", "1:4", "1:16")

IMBALANCE: dict[str, Figure] = {
    name: Figure(
        f"MLP on digits, {name}",
        {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "resample": resample, "epochs": 400},
        weights=_IMBALANCE,
        drawn=_IMBALANCE,
    )
    for name, resample in (("weighted", None), ("sub-sampled", "drop"))
}

_BASE, _OTHER = [[1, 5], [0, 1], [3, 5]], [[4, 1], [5, 5], [4, -1]]
_MOONS = ("10:1", "1:1", "1:10")


def _of_small_batches(dataset: str, model: str, epochs: int) -> Figure:
    base = {"dataset": {"name": dataset}, "model": {"name": model}, "batch_size": 8, "epochs": epochs}
    return Figure(f"{model} on {dataset}", base, weights=_MOONS, drawn=_MOONS)


KNOWN_ANSWERS: dict[str, Figure] = {
    "L2": Figure(
        "two Gaussians with L2",
        _TWO_GAUSSIANS | {"optimizer": {"lr": 0.4, "weight_decay": 0.01}},
        weights=_MNIST,
        drawn=_MNIST,
    ),
    "no L2": Figure("two Gaussians without L2", _TWO_GAUSSIANS, weights=_MNIST, drawn=_MNIST),
    "polynomial": Figure(
        "two Gaussians with the polynomial loss",
        _TWO_GAUSSIANS | {"loss": {"name": "polynomial"}},
        weights=_MNIST,
        drawn=_MNIST,
    ),
    "six points": Figure(
        "six points, tested on themselves",
        {
            **_TWO_GAUSSIANS,
            "dataset": {"name": "points", "base": _BASE, "other": _OTHER, "test_base": _BASE, "test_other": _OTHER},
            "optimizer": {"lr": 0.078},  # the longest stable is 4 / 51
        },
        weights=("1:1",),
        drawn=("1:1",),
    ),
    "moons linear": _of_small_batches("moons", "linear", 400),
    "moons mlp": _of_small_batches("moons", "mlp", 400),
    "blobs linear": _of_small_batches("blobs", "linear", 20),
    "blobs mlp": _of_small_batches("blobs", "mlp", 20),
}

_OF_SEVERAL: dict[str, tuple[str, dict[str, Figure]]] = {
    "paper": ("All eight figures of the paper", FIGURES),
    "losses": ("Every loss on two Gaussians, a linear network", LOSSES),
    "imbalance": ("Weighted beside sub-sampled, 16:1 to 1:16, MLP on digits", IMBALANCE),
    "known-answers": ("Points whose answer is known, up to 10 000 steps", KNOWN_ANSWERS),
}


def figures(name: PresetName) -> dict[str, Figure]:
    """Those of a preset, by name: each is a grid of the sweep."""
    return _OF_SEVERAL[name][1] if name in _OF_SEVERAL else {name: FIGURES[name]}


def title(name: PresetName) -> str:
    return _OF_SEVERAL[name][0] if name in _OF_SEVERAL else FIGURES[name].title
