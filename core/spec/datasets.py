"""What is trained on, a class a data set. Adding one: CONTRIBUTING.md, "Where would it go?"."""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from core.spec.fields import FolderName, Part, Seed, misfit

MAX_NUMBERS = 10_000  # of all points that a spec may hold

DigitClass = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
Cifar10Class = Literal["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


LabelNoise = Annotated[
    float, Field(ge=0, le=0.5, description="The share of the training labels that is turned over, whatever the class.")
]


class ImageDataset(Part):
    train_per_class: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="The first n images of each class, after the data set's own shuffle; null: all."
    )
    eval_limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="At most n images of each test set, evenly over its classes; null: all."
    )
    seed: Seed = Field(0, description="Draws the subset; apart from the training seed, so that seeds share their data.")
    label_noise: LabelNoise = 0.0


class _TwoDigits(ImageDataset):
    base_class: DigitClass = "0"
    other_class: DigitClass = "1"


class Digits(_TwoDigits):
    """8×8 scanned digits, shipped inside scikit-learn: works offline."""

    name: Literal["digits"]


class Mnist(_TwoDigits):
    name: Literal["mnist"]


class FashionMnist(_TwoDigits):
    """Classes by their raw labels: 0 is T-shirt/top, 1 is trouser."""

    name: Literal["fashion_mnist"]


class Cifar10(ImageDataset):
    name: Literal["cifar10"]
    base_class: Cifar10Class = "dog"
    other_class: Cifar10Class = "cat"


class ImageFolder(ImageDataset):
    """Anybody's own images: `BALLAST_DATA_DIR/folders/<folder>/{train,test}/<class>/*`."""

    name: Literal["image_folder"]
    folder: FolderName
    base_class: FolderName
    other_class: FolderName


class PointDataset(Part):
    """Points instead of images, of two classes called base and other. Nothing lies out-of-domain."""

    seed: Seed = Field(0, description="Draws the points; apart from the training seed, so that seeds share their data.")
    label_noise: LabelNoise = 0.0


class TwoGaussians(PointDataset):
    """20 points a class in the plane, normal around (1, 0) and (-1, 0) with variances (0.25, 1), drawn again where they
    are less than 0.7 from the axis between: separable, whatever the seed."""

    name: Literal["two_gaussians"]


class Moons(PointDataset):
    """scikit-learn's two half circles: 100 points a class, noise 0.1."""

    name: Literal["moons"]


class Blobs(PointDataset):
    """100 points a class in the plane, normal around (2, 0) and (-2, 0) with standard deviation 0.7, drawn again where
    they are less than 0.5 from the axis between."""

    name: Literal["blobs"]


Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
# JSON has lists alone. Of thousands of wrong numbers the first is told.
Vector = Annotated[tuple[Coordinate, ...], Field(strict=False, fail_fast=True)]
Vectors = Annotated[tuple[Vector, ...], Field(strict=False, fail_fast=True)]


class Points(PointDataset):
    """Points that the spec itself gives, of any dimension: at most 10 000 numbers."""

    name: Literal["points"]
    base: Vectors
    other: Vectors
    test_base: Vectors = Field((), description="In-domain test points of the base class.")
    test_other: Vectors = ()

    @model_validator(mode="after")
    def _alike_and_few(self) -> Self:
        for name in ("base", "other"):
            if not getattr(self, name):
                raise misfit((name,), ("name",), "holds no point", "at least one point")
        dimension = len(self.base[0])
        if not dimension:
            raise misfit(("base", 0), ("base",), "is no point", "a list of at least one number")
        numbers = 0
        for name, place, vector in self._vectors():
            if len(vector) != dimension:
                raise misfit(
                    (name, place),
                    ("base", 0),
                    f"has {len(vector)} numbers, the first point of base has {dimension}",
                    f"a list of {dimension} numbers",
                )
            numbers += dimension
            if numbers > MAX_NUMBERS:
                raise misfit(
                    (name,), ("base",), "holds too many numbers", f"at most {MAX_NUMBERS} numbers in all points"
                )
        return self

    def _vectors(self) -> Iterator[tuple[str, int, tuple[float, ...]]]:
        for name in ("base", "other", "test_base", "test_other"):
            for place, vector in enumerate(getattr(self, name)):
                yield name, place, vector


DatasetName = Literal[
    "digits", "mnist", "fashion_mnist", "cifar10", "image_folder", "two_gaussians", "moons", "blobs", "points"
]
AnyImages = Digits | Mnist | FashionMnist | Cifar10 | ImageFolder
AnyPoints = TwoGaussians | Moons | Blobs | Points
AnyDataset = Annotated[AnyImages | AnyPoints, Field(discriminator="name")]


class PointCounts(NamedTuple):
    base: int  # training points of each class
    other: int
    in_domain: int  # test points


def point_counts(dataset: AnyPoints) -> PointCounts:
    match dataset:
        case TwoGaussians():
            return PointCounts(20, 20, 1000)
        case Moons() | Blobs():
            return PointCounts(100, 100, 1000)
        case Points():
            return PointCounts(len(dataset.base), len(dataset.other), len(dataset.test_base) + len(dataset.test_other))
