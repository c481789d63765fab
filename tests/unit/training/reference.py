"""The reference trainer: the plainest loop that could be right, written from core/training/README.md alone.

It shares with the project only its random numbers (core.training.seeding) and the uint8 images. In fp32 it computes in
float64, to be compared closely; bf16 and the mlp are compared bit by bit, so there it has the memory format of ours.
`sabotage` breaks it on purpose, to show that the comparison would notice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from core.spec import Spec
from core.training import Data
from core.training.seeding import Purpose, dropout_bits, keep_mask, permutation, seed_of

Sabotage = Literal["", "swapped weights", "undecayed bias", "dropout in evaluation", "kept last batch", "lr × 1.01"]


@dataclass
class Outcome:
    losses: list[float]  # of every step
    parameters: Tensor  # all of them, after the last step
    in_domain: Tensor  # logits of the test images, after the last step
    out_of_domain: Tensor
    correct: list[int]  # training images that were right as they were met, by epoch
    diagnostics: dict[str, object]  # as the last row has them


def reference(spec: Spec, data: Data, sabotage: Sabotage = "") -> Outcome:
    torch.manual_seed(seed_of(Purpose.INITIAL_WEIGHTS, spec.seed, 0))
    model = network(spec, data.input_shape[0])
    model = model.to(memory_format=torch.channels_last) if spec.precision == "bf16" else model.double()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):  # transposed in memory, as ours is: some processors sum in that order
            layer.weight.data = layer.weight.data.t().contiguous().t()
    dtype = next(model.parameters()).dtype
    optimizer = sgd(spec, model, sabotage)
    weights, sizes = weights_of(spec, data, sabotage).to(dtype), sizes_of(spec, data).to(dtype)
    images, labels = normalise(data.train.stored).to(dtype), data.train_labels
    examples = examples_of(spec, data)
    n = len(examples)
    batch = spec.batch_size or n
    losses, correct = [], []
    for epoch in range(1, spec.epochs + 1):
        model.train()
        right, met = 0, []
        order = permutation(spec.seed, epoch, n)
        last = n if sabotage == "kept last batch" else n - n % batch
        for start in range(0, last, batch):
            chosen = examples[order[start : start + batch]]
            mask = mask_of(spec, epoch, n // batch, batch, step=start // batch)
            logits = model(images[chosen]) if mask is None else model(images[chosen], mask)
            loss = loss_of(spec, logits, labels[chosen], weights, sizes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            met.append((logits.detach().double(), labels[chosen]))
            right += int(((logits[:, 1] > logits[:, 0]).long() == labels[chosen]).sum())
        correct.append(right)
    model.eval()
    parameters = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    def evaluate(test: Tensor) -> Tensor:
        with torch.no_grad():
            images = normalise(test).to(dtype)
            if sabotage != "dropout in evaluation":
                return model(images)
            mask = mask_of(spec, spec.epochs, 1, len(test), step=0)
            return model(images, mask)

    dead, in_domain = dead_units(model, lambda: evaluate(data.in_domain.stored))
    diagnostics = {**of_classes(met, data.base_index), **of_weights(model, data.base_index), "dead_units": dead}
    return Outcome(losses, parameters, in_domain, evaluate(data.out_of_domain.stored), correct, diagnostics)


def of_classes(met: list[tuple[Tensor, Tensor]], base_index: int) -> dict[str, object]:
    """Of each class in the batches of an epoch."""
    logits, labels = torch.cat([each for each, _ in met]), torch.cat([each for _, each in met])
    found: dict[str, object] = {}
    for name, output in (("base", base_index), ("other", 1 - base_index)):
        of_class = logits[labels == output]
        margins = (of_class[:, output] - of_class[:, 1 - output]).tolist()
        found[f"loss_{name}"] = -F.log_softmax(of_class, 1)[:, output].mean().item()
        found[f"margin_{name}"] = sum(margins) / len(margins)
        found[f"margin_low_{name}"] = sorted(margins)[math.ceil(len(margins) / 20) - 1]
    return found


def of_weights(model: nn.Module, base_index: int) -> dict[str, object]:
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    return {
        "norm": math.sqrt(sum((each.double() ** 2).sum().item() for each in model.parameters())),
        "norm_last_layer": math.sqrt(sum((each.double() ** 2).sum().item() for each in last.parameters())),
        "bias_difference": (last.bias[base_index] - last.bias[1 - base_index]).item(),
    }


def dead_units(model: nn.Module, evaluated: Callable[[], Tensor]) -> tuple[tuple[float, ...], Tensor]:
    """The share of units of each ReLU, in their order, that are 0 for every image; and what the evaluation gives."""
    shares: list[float] = []

    def note(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        of_units = output.transpose(0, 1).flatten(1)
        shares.append(sum(bool((unit == 0).all()) for unit in of_units) / len(of_units))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, nn.ReLU)]
    logits = evaluated()
    for hook in hooks:
        hook.remove()
    return tuple(shares), logits


def normalise(images: Tensor) -> Tensor:
    return (images.double() / 255 - 0.5) / 0.5


def sgd(spec: Spec, model: nn.Module, sabotage: Sabotage) -> torch.optim.SGD:
    options = spec.optimizer
    decay = options.weight_decay
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    others = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    return torch.optim.SGD(
        [
            {"params": others, "weight_decay": decay},
            {"params": biases, "weight_decay": 0.0 if sabotage == "undecayed bias" else decay},
        ],
        lr=options.lr * (1.01 if sabotage == "lr × 1.01" else 1),
        momentum=options.momentum,
    )


def examples_of(spec: Spec, data: Data) -> Tensor:
    """Of which an epoch is a permutation, as indices."""
    if spec.resample is None:
        return torch.arange(len(data.train_labels))
    base, other = (float(side) for side in spec.importance_weight.split(":"))
    examples = []
    for output in (0, 1):
        weight = base if output == data.base_index else other
        places = [place for place, label in enumerate(data.train_labels.tolist()) if label == output]
        if spec.resample == "repeat":
            examples += [place for place in places for _ in range(round(weight / min(base, other)))]
            continue
        source = torch.Generator().manual_seed(seed_of(Purpose.RESAMPLING, spec.dataset.seed, output))
        order = torch.randperm(len(places), generator=source).tolist()
        examples += [places[i] for i in sorted(order[: round(len(places) * weight / max(base, other))])]
    return torch.tensor(examples)


def weights_of(spec: Spec, data: Data, sabotage: Sabotage) -> Tensor:
    if spec.resample is not None:
        return torch.ones(2, dtype=torch.float64)
    base, other = (float(side) for side in spec.importance_weight.split(":"))
    if sabotage == "swapped weights":
        base, other = other, base
    weights = torch.empty(2, dtype=torch.float64)
    weights[data.base_index] = base
    weights[1 - data.base_index] = other
    if spec.loss.name == "polynomial":
        weights = weights**spec.loss.weight_exponent
    if spec.loss.normalization == "dataset_mean":
        weights /= weights[data.train_labels].mean()
    return weights


def sizes_of(spec: Spec, data: Data) -> Tensor:
    """How many examples of an epoch each output has."""
    return torch.bincount(data.train_labels[examples_of(spec, data)], minlength=2).double()


def loss_of(spec: Spec, logits: Tensor, labels: Tensor, weights: Tensor, sizes: Tensor) -> Tensor:
    if spec.loss.name == "cross_entropy" and spec.loss.normalization == "weight_sum":
        return F.cross_entropy(logits, labels, weight=weights)
    each = weights[labels] * loss_of_each(spec, logits, labels, sizes)
    return each.sum() / weights[labels].sum() if spec.loss.normalization == "weight_sum" else each.mean()


def loss_of_each(spec: Spec, logits: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
    loss, share, right = spec.loss, sizes / sizes.sum(), F.one_hot(labels, 2)
    margins = ((2 * right - 1) * logits).sum(1)
    match loss.name:
        case "cross_entropy":
            return F.cross_entropy(logits, labels, reduction="none")
        case "polynomial":
            left = math.log(1 + math.exp(-1))
            return torch.stack([torch.log(1 + torch.exp(-z)) / left if z <= 1 else 1 / z**loss.alpha for z in margins])
        case "logit_adjusted":
            return F.cross_entropy(logits + loss.tau * torch.log(share), labels, reduction="none")
        case "vs":
            scaled = (sizes / sizes.max()) ** loss.gamma * logits + loss.tau * torch.log(share)
            return F.cross_entropy(scaled, labels, reduction="none")
        case "ldam":
            margin = 1 / sizes.sqrt().sqrt()
            margin = margin * (loss.max_margin / margin.max())
            return F.cross_entropy(loss.scale * (logits - margin * right), labels, reduction="none")
        case "focal":
            p = (logits.softmax(1) * right).sum(1)
            return -((1 - p) ** loss.gamma) * torch.log(p)
        case _:
            raise ValueError(loss.name)


def mask_of(spec: Spec, epoch: int, steps: int, batch: int, step: int) -> Tensor | None:
    p = getattr(spec.model, "dropout", 0.0)
    if not p:
        return None
    units = 10 * spec.model.width
    return keep_mask(dropout_bits(spec.seed, epoch, steps, batch, units, p)[step], units).double() / (1 - p)


def network(spec: Spec, channels: int) -> nn.Module:
    match spec.model.name:
        case "cnn":
            return PlainCnn(channels, spec.model.width, narrow(spec))
        case "resnet":
            return PlainResNet(channels, spec.model.width, spec.model.batch_norm, narrow(spec))
        case "mlp":
            hidden = spec.model.hidden
            return nn.Sequential(nn.Flatten(), nn.Linear(channels * 1024, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        case _:
            return nn.Sequential(nn.Flatten(), nn.Linear(channels * 1024, 2))


def narrow(spec: Spec) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=spec.precision == "bf16")


class PlainCnn(nn.Module):
    def __init__(self, channels: int, w: int, narrow: torch.autocast) -> None:
        super().__init__()
        self.narrow = narrow
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(channels, w, 3), nn.ReLU(), nn.Conv2d(w, w, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(w, 2 * w, 3), nn.ReLU(), nn.Conv2d(2 * w, 2 * w, 3), nn.ReLU()),
            *(nn.Conv2d(2 * w, 2 * w, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        )
        self.first = nn.Sequential(nn.Linear(4 * 4 * 2 * w, 8 * w), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(8 * w, 2 * w), nn.ReLU())
        self.last = nn.Linear(2 * w, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = None if mask is None else mask.to(self.last.weight.dtype)
        with self.narrow:
            x = self.first(self.convolutions(x))
            if mask is not None:
                x = x * mask[:, : x.shape[1]]
            x = self.second(x)
        x = x.to(self.last.weight.dtype)
        if mask is not None:
            x = x * mask[:, -x.shape[1] :]
        return self.last(x)


class PlainResNet(nn.Module):
    def __init__(self, channels: int, w: int, batch_norm: bool, narrow: torch.autocast) -> None:
        super().__init__()
        self.narrow = narrow
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        layers = [nn.Conv2d(channels, w, 5, padding=1), norm(w), nn.ReLU()]
        before = w
        for filters, first_stride in ((w, 1), (2 * w, 2), (4 * w, 2)):
            for stride in (first_stride, 1):
                layers.append(PlainBlock(before, filters, stride, norm))
                before = filters
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * w, 8 * w), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(8 * w, 2)

    def forward(self, x: Tensor) -> Tensor:
        with self.narrow:
            x = self.layers(x)
        return self.last(x.to(self.last.weight.dtype))


class PlainBlock(nn.Module):
    def __init__(self, before: int, filters: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(nn.Conv2d(before, filters, 3, stride, padding=1), norm(filters), nn.ReLU()),
            *(nn.Conv2d(filters, filters, 3, padding=1), norm(filters)),
        )
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(before, filters, 3, stride=2, padding=1), norm(filters))
        self.end = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.inner(x) + self.shortcut(x))
