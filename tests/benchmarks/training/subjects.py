"""What is trained where speed is measured: networks, and invented images in CIFAR-10's proportion, 10 000 to train on
and 2000 + 8000 to test on, but few, so that an epoch takes a second or some. And what each promises. No torch here.
"""

from typing import NamedTuple

from core.spec import AnyModel, Cnn, Mlp, Precision, ResNet, Spec


class Promise(NamedTuple):
    """How many times as fast as each rival in fp32 ours is at least, in one precision."""

    precision: Precision
    tight: float
    script: float | None = None


class Subject(NamedTuple):
    name: str
    model: AnyModel
    images: int  # trained an epoch; as many are evaluated
    promises: tuple[Promise, ...]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return ("fp32", "bf16") if isinstance(self.model, Cnn | ResNet) else ("fp32",)

    @property
    def tests(self) -> tuple[int, int]:
        """Test images, in-domain and out-of-domain."""
        return self.images // 5, self.images - self.images // 5

    def spec(self, precision: Precision) -> Spec:
        """With more epochs than anybody measures."""
        return Spec.model_validate(
            {
                "dataset": {"name": "cifar10"},
                "model": self.model.model_dump(),
                "importance_weight": "16:1",
                "epochs": 1_000_000,
                "precision": precision,
            }
        )


ALL = (
    Subject("cnn 64", Cnn(), 400, (Promise("fp32", 1.1, 1.5), Promise("bf16", 2, 3))),
    Subject("resnet 64", ResNet(name="resnet"), 80, (Promise("fp32", 1.05), Promise("bf16", 1.8))),
    Subject("cnn 16", Cnn(width=16), 1600, (Promise("fp32", 1.3),)),
    Subject("mlp 64", Mlp(name="mlp"), 8000, (Promise("fp32", 1.2),)),
)
BY_NAME = {subject.name: subject for subject in ALL}
