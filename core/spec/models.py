"""What is trained, a class a network."""

from typing import Annotated, Literal

from pydantic import Field

from core.spec.fields import Part, by_default


class Cnn(Part):
    name: Literal["cnn"] = "cnn"
    width: Annotated[int, Field(ge=1, le=1024)] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ResNet(Part):
    name: Literal["resnet"]
    width: Annotated[int, Field(ge=1, le=1024)] = 64
    batch_norm: bool = True


class Mlp(Part):
    name: Literal["mlp"]
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 64


class Linear(Part):
    name: Literal["linear"]


ModelName = Literal["cnn", "resnet", "mlp", "linear"]
Precision = Literal["fp32", "bf16", "tf32"]
OF_A_GPU: Precision = "tf32"  # which no CPU can
AnyModel = Annotated[Cnn | ResNet | Mlp | Linear, Field(discriminator="name"), by_default("cnn")]
