"""The whole spec of one experiment, what does not fit together in it, and its digests."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from core.spec.datasets import AnyDataset
from core.spec.fields import ImportanceWeight, Label, Part, Seed, Weight, misfit
from core.spec.losses import AnyLoss, CrossEntropy
from core.spec.models import AnyModel, Cnn, Precision

LAST_EVALUATED = 50  # claims are averaged over these (core/training/README.md, "Statistics and claims")


class Optimizer(Part):
    """Plain SGD with a constant learning rate; weight decay on every parameter, biases too."""

    lr: Annotated[float, Field(gt=0, le=1000)] = 0.1
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Spec(Part):
    name: Label = Field("", description="Yours; it decides nothing.")
    dataset: AnyDataset
    model: AnyModel = Cnn()
    loss: AnyLoss = CrossEntropy()
    importance_weight: Weight = Field(
        description='base:other, as in the paper; "256:1" lets an image of the base class count 256 times.'
    )
    optimizer: Optimizer = Optimizer()
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        16, description="null: the full batch. A last batch that is not full is dropped."
    )
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    eval_every: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1, description="A curve row every so many epochs, and after the last."
    )
    seed: Seed = Field(0, description="Draws initial weights, permutations and dropout.")
    precision: Precision = Field(
        "fp32",
        description="In which the convolutions and dense layers of a cnn or resnet compute and hand on; tf32 is a "
        "GPU's. Weights, the last layer and the loss stay in fp32.",
    )
    diagnostics: bool = Field(
        False, description="Whether the curve has `diagnostics` too. They change nothing else of it."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.dataset.base_class == self.dataset.other_class:
            raise misfit(
                ("dataset", "other_class"),
                ("dataset", "base_class"),
                "is the base class too",
                "a class other than the base class",
            )
        per_class = self.dataset.train_per_class
        if per_class and self.batch_size and self.batch_size > 2 * per_class:
            raise misfit(
                ("batch_size",),
                ("dataset", "train_per_class"),
                "is larger than the training set",
                f"at most 2 × train_per_class = {2 * per_class}",
            )
        if self.precision != "fp32" and self.model.name in ("mlp", "linear"):
            raise misfit(("precision",), ("model", "name"), f"makes no {self.model.name} any faster", "fp32")
        return self

    @property
    def weights(self) -> ImportanceWeight:
        return ImportanceWeight.parse(self.importance_weight)

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the curve: canonical JSON without `name`, of what differs from its default, so that a
        field added later changes no digest."""
        return _sha256({**self._other_than_default(), "importance_weight": list(self.weights)})

    @property
    def pack_key(self) -> str:
        """Hash, by the same rule, of what must be equal for two experiments to be trained side by side."""
        decided = self._other_than_default()
        shared = ("dataset", "model", "loss", "batch_size", "precision")
        return _sha256({name: decided[name] for name in shared if name in decided})

    def _other_than_default(self) -> dict[str, Any]:
        """Without `name`, and without values equal to their default; a part that differs from it says its name too."""
        fields = self.model_dump(exclude_defaults=True, exclude={"name"})
        for part in {"dataset", "model", "loss"} & fields.keys():
            fields[part]["name"] = getattr(self, part).name
        return fields

    def evaluated(self, epoch: int) -> bool:
        """Whether the curve has a row for `epoch`."""
        return epoch % self.eval_every == 0 or epoch == self.epochs

    def row_before(self, epoch: int) -> int:
        """The last epoch up to `epoch` that has a row; 0: none has."""
        return epoch if self.evaluated(epoch) else epoch - epoch % self.eval_every

    def predicted(self, epoch: int) -> bool:
        """Whether the predictions of `epoch` are kept: of the evaluated epochs the 1st, 2nd, 4th, 8th, …, and the last
        50."""
        if not self.evaluated(epoch):
            return False
        nth, after = -(-epoch // self.eval_every), -(-(self.epochs - epoch) // self.eval_every)
        return nth & (nth - 1) == 0 or after < LAST_EVALUATED

    def warnings(self) -> list[str]:
        """Sentences about what is allowed and seldom meant."""
        return self.loss.warnings(self.weights)


def _sha256(value: Any) -> str:
    canonical = json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _normal(value: Any) -> Any:
    """Numbers as JSON's one kind of number: 1.0 is written 1."""
    match value:
        case dict():
            return {key: _normal(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_normal(inner) for inner in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
