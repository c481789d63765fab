"""The spec of an experiment: everything that decides its curve, and nothing else (api/README.md, "The spec").

Strict, frozen, unknown fields refused, every number bounded, defaults the paper's. A field is accepted only when
something obeys it: an accepted, ignored field is a wrong curve.
"""

from core.spec.datasets import (
    AnyDataset,
    AnyImages,
    AnyPoints,
    Blobs,
    Cifar10,
    DatasetName,
    Digits,
    FashionMnist,
    ImageDataset,
    ImageFolder,
    Mnist,
    Moons,
    Points,
    TwoGaussians,
    point_counts,
)
from core.spec.experiment import Optimizer, Spec
from core.spec.fields import FOLDER_NAMES, MAX_LABEL, FolderName, ImportanceWeight, Label, Seed, Weight
from core.spec.losses import AnyLoss, CrossEntropy
from core.spec.models import OF_A_GPU, AnyModel, Cnn, Linear, Mlp, ModelName, Precision, ResNet
from core.spec.resampling import Resample, epoch_sizes, resampling_fault
from core.spec.words import field_in_words, holds_text

__all__ = [
    "FOLDER_NAMES",
    "MAX_LABEL",
    "OF_A_GPU",
    "AnyDataset",
    "AnyImages",
    "AnyLoss",
    "AnyModel",
    "AnyPoints",
    "Blobs",
    "Cifar10",
    "Cnn",
    "CrossEntropy",
    "DatasetName",
    "Digits",
    "FashionMnist",
    "FolderName",
    "ImageDataset",
    "ImageFolder",
    "ImportanceWeight",
    "Label",
    "Linear",
    "Mlp",
    "Mnist",
    "ModelName",
    "Moons",
    "Optimizer",
    "Points",
    "Precision",
    "ResNet",
    "Resample",
    "Seed",
    "Spec",
    "TwoGaussians",
    "Weight",
    "epoch_sizes",
    "field_in_words",
    "holds_text",
    "point_counts",
    "resampling_fault",
]
