"""What is descended, a class a loss, with its fields, its warnings and what helps where it diverges."""

from typing import Literal

from core.spec.fields import ImportanceWeight, Part


class CrossEntropy(Part):
    """Importance-weighted cross-entropy, per batch: weight_sum Σwℓ/Σw, batch_size Σwℓ/n, dataset_mean Σw'ℓ/n where w'
    has mean 1 over the training set."""

    name: Literal["cross_entropy"] = "cross_entropy"
    normalization: Literal["weight_sum", "batch_size", "dataset_mean"] = "weight_sum"

    def warnings(self, weights: ImportanceWeight) -> list[str]:
        """Sentences about what is allowed and seldom meant."""
        heaviest = max(weights)
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


AnyLoss = CrossEntropy  # one of the losses: a union, as soon as there is a second
