"""How cases with a known answer are trained, whichever way, and what is seen of them (core/training/README.md, "Known
answers"). What the answers are: answers.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from core.results import Checkpoint, Command, EpochResult
from core.spec import Spec
from core.training import Data, Member, load, model_with, train
from tests.unit.training.builders import in_domain_fraction, locks_dir, spec_of
from tests.unit.training.solutions import Array, longest_stable_step


class Ended(NamedTuple):
    """What there is of an experiment at its end."""

    spec: Spec
    weights: bytes
    in_domain: dict[int, float]  # base fractions, by epoch


class Way(Protocol):
    """A way of training experiments."""

    def __call__(self, specs: Sequence[Spec], lengths: Sequence[int]) -> list[list[Ended]]:
        """Of each of `specs`, at the end of so many epochs: one training, which goes on."""


def by_the_trainer(specs: Sequence[Spec], lengths: Sequence[int]) -> list[list[Ended]]:
    """Here, without any service."""
    return [_trained(spec, lengths) for spec in specs]


def _trained(spec: Spec, lengths: Sequence[int]) -> list[Ended]:
    data = loaded(spec)
    rows: dict[int, EpochResult] = {}
    checkpoint: bytes | None = None
    ends = []
    for epochs in lengths:
        longer = spec.model_copy(update={"epochs": epochs})

        def save_at_the_end(last: int = epochs) -> Command:
            return Command.SAVE if last in rows else Command.GO_ON

        for _, given in train([Member(longer, checkpoint, save_at_the_end)], data):
            match given:
                case EpochResult():
                    rows[given.epoch] = given
                case Checkpoint():
                    checkpoint = given.content
        weights = rows[epochs].weights
        assert weights is not None
        ends.append(Ended(longer, weights, {epoch: in_domain_fraction(row) for epoch, row in rows.items()}))
    return ends


class Separable:
    """Points that a line separates, and linear networks that are trained on them by full batches."""

    def __init__(self, way: Way, **dataset: Any) -> None:
        self._way = way
        self._fields = {"dataset": dataset, "model": {"name": "linear"}, "batch_size": None}
        self._data = loaded(spec_of(**self._fields))
        self.points = self._data.train.stored.double().numpy()
        self.base = self._data.train_labels.numpy() == self._data.base_index
        self.lr = longest_stable_step(self.points)

    def thetas(
        self, weights: Sequence[str], lengths: Sequence[int], lr: float | None = None, decay: float = 0, **fields: Any
    ) -> list[list[Array]]:
        """Of each weight, at each of `lengths`: both outputs' (w, b), base first: [2, 3]."""
        fields |= {"optimizer": {"lr": lr or self.lr, "weight_decay": decay}, "epochs": lengths[0]}
        fields |= {"eval_every": lengths[0]}  # 10⁵ epochs are not 10⁵ evaluations
        specs = [spec_of(**self._fields, **fields, importance_weight=weight) for weight in weights]
        return [[self._theta(end) for end in ends] for ends in self._way(specs, lengths)]

    def differences(self, weights: Sequence[str], lengths: Sequence[int], **fields: Any) -> list[list[Array]]:
        """d = θ_base - θ_other of the same."""
        return [[theta[0] - theta[1] for theta in ends] for ends in self.thetas(weights, lengths, **fields)]

    def _theta(self, end: Ended) -> Array:
        output: Any = model_with(end.spec, self._data.input_shape, end.weights).output
        return np.column_stack([output.weight.detach().double().numpy(), output.bias.detach().double().numpy()])


def base_fractions(
    way: Way, dataset: str, model: str, weights: Sequence[str], epochs: Sequence[int], seed: int
) -> list[list[float]]:
    """Of each weight, in-domain, after each of `epochs`, of batches of 8."""
    fields = {"dataset": {"name": dataset, "seed": seed}, "model": {"name": model}, "batch_size": 8, "seed": seed}
    last = max(epochs)
    specs = [spec_of(**fields, importance_weight=weight, epochs=last) for weight in weights]
    return [[end.in_domain[epoch] for epoch in epochs] for (end,) in way(specs, [last])]


def loaded(spec: Spec) -> Data:
    return load(spec.dataset, Path("unused"), locks_dir())
