"""The whole spec of one experiment, what does not fit together in it, and its digests."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from core.fit import LAST_EVALUATED
from core.spec.datasets import AnyDataset, AnyImages, AnyPoints, ImageDataset, point_counts
from core.spec.fields import ImportanceWeight, Label, Part, Seed, Weight, misfit
from core.spec.losses import AnyLoss, CrossEntropy, Polynomial
from core.spec.models import AnyModel, Cnn, ModelName, Precision
from core.spec.resampling import ClassSizes, Resample, epoch_sizes, resampling_fault


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
    resample: Resample | None = Field(
        None,
        description="Have examples in proportion to the weights instead of weighting their loss: drop those of the "
        "lighter class, or repeat those of the heavier one.",
    )
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
        batch_size = self.batch_size if self.resample is None else None  # else of what is resampled
        if isinstance(self.dataset, ImageDataset):
            _check_images(self.dataset, batch_size)
        else:
            _check_points(self.dataset, self.model.name, batch_size)
        if self.resample is not None:
            self._check_resampling(self.resample)
        if self.precision != "fp32" and self.model.name in ("mlp", "linear"):
            raise misfit(("precision",), ("model", "name"), f"makes no {self.model.name} any faster", "fp32")
        return self

    def _check_resampling(self, resample: Resample) -> None:
        if self.loss.normalization != "weight_sum":
            raise misfit(
                ("resample",),
                ("loss", "normalization"),
                f"leaves no weights for {self.loss.normalization}",
                "null, or normalization weight_sum",
            )
        if isinstance(self.loss, Polynomial) and self.loss.weight_exponent != 1:
            raise misfit(("loss", "weight_exponent"), ("resample",), "has no weights to raise", "1, or no resample")
        known = _known_sizes(self.dataset)
        if known is None:
            return
        sizes = epoch_sizes(resample, self.weights, known)
        fault = resampling_fault(resample, sizes)
        if fault is not None:
            raise misfit(("resample",), ("importance_weight",), fault, "a weight nearer to 1:1, or null")
        if self.batch_size and self.batch_size > sum(sizes):
            raise misfit(
                ("batch_size",),
                ("resample",),
                "is larger than the resampled training set",
                f"at most {sum(sizes)}",
            )

    @property
    def weights(self) -> ImportanceWeight:
        return ImportanceWeight.parse(self.importance_weight)

    @property
    def loss_weights(self) -> ImportanceWeight:
        """What the loss is weighted with: nothing, where examples are resampled instead."""
        return self.weights if self.resample is None else ImportanceWeight(1, 1)

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the curve: canonical JSON without `name`, of what differs from its default, so that a
        field added later changes no digest."""
        return _sha256({**self._other_than_default(), "importance_weight": list(self.weights)})

    @property
    def pack_key(self) -> str:
        """Hash, by the same rule, of what must be equal for two experiments to be trained side by side."""
        decided = self._other_than_default()
        shared = ("dataset", "model", "loss", "resample", "batch_size", "precision")
        key: dict[str, Any] = {name: decided[name] for name in shared if name in decided}
        if self.resample is not None:
            key["importance_weight"] = list(self.weights)  # it decides how long an epoch is
        return _sha256(key)

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
        return self.loss.warnings(self.loss_weights, self.optimizer.lr)


def _check_images(dataset: AnyImages, batch_size: int | None) -> None:
    if dataset.base_class == dataset.other_class:
        raise misfit(
            ("dataset", "other_class"),
            ("dataset", "base_class"),
            "is the base class too",
            "a class other than the base class",
        )
    per_class = dataset.train_per_class
    if per_class and batch_size and batch_size > 2 * per_class:
        raise misfit(
            ("batch_size",),
            ("dataset", "train_per_class"),
            "is larger than the training set",
            f"at most 2 × train_per_class = {2 * per_class}",
        )


def _check_points(dataset: AnyPoints, model: ModelName, batch_size: int | None) -> None:
    if model not in ("linear", "mlp"):
        raise misfit(("model", "name"), ("dataset", "name"), f"takes images, no {dataset.name}", "linear, mlp")
    counts = point_counts(dataset)
    n = counts.base + counts.other
    if batch_size and batch_size > n:
        raise misfit(
            ("batch_size",),
            ("dataset", "name"),
            "is larger than the training set",
            f"at most {n}, or null for the full batch",
        )


def _known_sizes(dataset: AnyDataset) -> ClassSizes | None:
    """Training examples of each class, where the spec says how many. (Under label noise only a worker can count.)"""
    if dataset.label_noise:
        return None
    if isinstance(dataset, ImageDataset):
        n = dataset.train_per_class
        return None if n is None else (n, n)
    counts = point_counts(dataset)
    return counts.base, counts.other


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
