"""How a known answer is trained: a linear network on points, by full batches (core/training/README.md, "Known
answers")."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.results import Checkpoint, Command, EpochResult
from core.spec import ImportanceWeight, Spec
from core.training import Data, Member, load, model_with, train
from tests.unit.training.builders import locks_dir, spec_of
from tests.unit.training.solutions import Array, longest_stable_step

FAST_SEEDS = range(100, 102)  # of data
SLOW_SEEDS = range(100, 110)
SIX_POINTS = {"name": "points", "base": [[1, 5], [0, 1], [3, 5]], "other": [[4, 1], [5, 5], [4, -1]]}


class Separable:
    """Points that a line separates, and networks that are trained on them."""

    def __init__(self, **dataset: Any) -> None:
        self._dataset = dataset
        self.data = loaded(dataset)
        self.points = self.data.train.stored.double().numpy()
        self.base = self.data.train_labels.numpy() == self.data.base_index
        self.lr = longest_stable_step(self.points)

    def thetas(self, weight: str, epochs: Sequence[int], lr: float | None = None, **fields: Any) -> list[Array]:
        """Both outputs' (w, b) after each of `epochs`, base first: [2, 3]. One training, which goes on."""
        decay = fields.pop("weight_decay", 0.0)
        optimizer = {"lr": lr or self.lr, "weight_decay": decay}
        thetas, checkpoint = [], None
        for last in epochs:
            spec = spec_of(
                **{"dataset": self._dataset, "model": {"name": "linear"}, "batch_size": None, **fields},
                importance_weight=weight,
                optimizer=optimizer,
                epochs=last,
                eval_every=last,
            )
            theta, checkpoint = self._theta(spec, checkpoint)
            thetas.append(theta)
        return thetas

    def differences(self, weight: str, epochs: Sequence[int], **fields: Any) -> list[Array]:
        """d = θ_base - θ_other after each of `epochs`."""
        return [theta[0] - theta[1] for theta in self.thetas(weight, epochs, **fields)]

    def _theta(self, spec: Spec, checkpoint: bytes | None) -> tuple[Array, bytes]:
        rows: list[EpochResult] = []

        def save_at_the_end() -> Command:
            return Command.SAVE if rows else Command.GO_ON

        for _, given in train([Member(spec, checkpoint, save_at_the_end)], self.data):
            match given:
                case EpochResult():
                    rows.append(given)
                case Checkpoint():
                    checkpoint = given.content
        (row,) = rows
        assert row.weights is not None
        assert checkpoint is not None
        output: Any = model_with(spec, self.data.input_shape, row.weights).output
        theta = np.column_stack([output.weight.detach().double().numpy(), output.bias.detach().double().numpy()])
        return theta, checkpoint


def loaded(dataset: dict[str, Any]) -> Data:
    return load(spec_of(dataset=dataset, batch_size=None, model={"name": "mlp"}).dataset, Path("unused"), locks_dir())


def sides(weight: str) -> ImportanceWeight:
    return ImportanceWeight.parse(weight)
