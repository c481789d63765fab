"""What is descended, a class a loss, with its fields, its warnings and what helps where it diverges.

What each computes, and where it comes from: core/training/README.md, "Losses".
"""

from typing import Annotated, Literal

from pydantic import Field

from core.spec.fields import ImportanceWeight, Part, by_default


class _Loss(Part):
    """Importance-weighted, whichever it is."""

    name: str
    normalization: Literal["weight_sum", "batch_size", "dataset_mean"] = Field(
        "weight_sum",
        description="Per batch: weight_sum Σwℓ/Σw, batch_size Σwℓ/n, dataset_mean Σw'ℓ/n where w' has mean 1 over the "
        "training set.",
    )

    def class_weights(self, weights: ImportanceWeight) -> ImportanceWeight:
        """What multiplies the loss of an image of each class, before it is normalised."""
        return weights

    def warnings(self, weights: ImportanceWeight, lr: float) -> list[str]:  # noqa: ARG002  (a loss may need it)
        """Sentences about what is allowed and seldom meant."""
        heaviest = max(self.class_weights(weights))
        if self.normalization == "batch_size" and heaviest >= 16:
            return [
                f"normalization batch_size multiplies the learning rate by up to {heaviest:g}: such runs often diverge "
                "(weight_sum does not)"
            ]
        return []

    @property
    def remedies(self) -> list[str]:
        """What to try where training diverged, beside a smaller lr."""
        return [] if self.normalization == "weight_sum" else ["normalization weight_sum"]


class CrossEntropy(_Loss):
    """-log softmax of the right output."""

    name: Literal["cross_entropy"] = "cross_entropy"


class Polynomial(_Loss):
    """Its tail is a power, so that weights go on to matter once all images are fitted."""

    name: Literal["polynomial"]
    alpha: Annotated[float, Field(gt=0, le=100, description="The power of the tail.")] = 1.0
    weight_exponent: Annotated[float, Field(ge=0, le=4, description="Weights are raised to this power.")] = 1.0

    def class_weights(self, weights: ImportanceWeight) -> ImportanceWeight:
        return ImportanceWeight(weights.base**self.weight_exponent, weights.other**self.weight_exponent)

    @property
    def remedies(self) -> list[str]:
        raised = self.normalization != "weight_sum" and self.weight_exponent > 1
        return [*super().remedies, *(["a smaller weight_exponent"] if raised else [])]


class LogitAdjusted(_Loss):
    """Each logit is raised by the log of its class's share of the training set."""

    name: Literal["logit_adjusted"]
    tau: Annotated[float, Field(ge=0, le=100, description="How far; 0 is cross_entropy.")] = 1.0


class VectorScaling(_Loss):
    """Logits are multiplied and raised by class, as the class's share of the training set says. The defaults are those
    of its authors' code."""

    name: Literal["vs"]
    tau: Annotated[float, Field(ge=0, le=100, description="How far logits are raised.")] = 1.0
    gamma: Annotated[float, Field(ge=0, le=5, description="How far they are multiplied; 0: not at all.")] = 0.3


class Ldam(_Loss):
    """A margin that is larger for the rarer class."""

    name: Literal["ldam"]
    max_margin: Annotated[float, Field(ge=0, le=100, description="Of the rarer class, in logits.")] = 0.5
    scale: Annotated[float, Field(gt=0, le=1000, description="Multiplies the logits; so the gradient too.")] = 30.0

    def warnings(self, weights: ImportanceWeight, lr: float) -> list[str]:
        told = super().warnings(weights, lr)
        if self.scale * lr >= 1:
            told.append(
                f"scale {self.scale:g} multiplies the gradient: with lr {lr:g} many networks become constant (its "
                "authors normalise the last layer, which none here does); a smaller scale or lr helps"
            )
        return told

    @property
    def remedies(self) -> list[str]:
        return [*super().remedies, *(["a smaller scale"] if self.scale > 1 else [])]


class Focal(_Loss):
    """What is right already counts less."""

    name: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, le=100, description="How much less; 0 is cross_entropy.")] = 2.0


AnyLoss = Annotated[
    CrossEntropy | Polynomial | LogitAdjusted | VectorScaling | Ldam | Focal,
    Field(discriminator="name"),
    by_default("cross_entropy"),
]
