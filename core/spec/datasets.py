"""What is trained on, a class a data set. Adding one: CONTRIBUTING.md, "Where would it go?"."""

from typing import Annotated, Literal

from pydantic import Field

from core.spec.fields import FolderName, Part, Seed

DigitClass = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
Cifar10Class = Literal["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class _Dataset(Part):
    train_per_class: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="The first n images of each class, after the data set's own shuffle; null: all."
    )
    eval_limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="At most n images of each test set, evenly over its classes; null: all."
    )
    seed: Seed = Field(0, description="Draws the subset; apart from the training seed, so that seeds share their data.")


class _TwoDigits(_Dataset):
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


class Cifar10(_Dataset):
    name: Literal["cifar10"]
    base_class: Cifar10Class = "dog"
    other_class: Cifar10Class = "cat"


class ImageFolder(_Dataset):
    """Anybody's own images: `BALLAST_DATA_DIR/folders/<folder>/{train,test}/<class>/*`."""

    name: Literal["image_folder"]
    folder: FolderName
    base_class: FolderName
    other_class: FolderName


DatasetName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "image_folder"]
AnyDataset = Annotated[Digits | Mnist | FashionMnist | Cifar10 | ImageFolder, Field(discriminator="name")]
