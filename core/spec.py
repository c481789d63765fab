"""The spec of an experiment: everything that decides its curve, and nothing else (api/README.md, "The spec").

Strict, frozen, unknown fields refused, every number bounded, defaults the paper's. A field is accepted only when
something obeys it: an accepted, ignored field is a wrong curve.
"""

import hashlib
import json
import re
import unicodedata
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from core.paths import keys_of

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # beyond, numpy's SeedSequence repeats

MAX_LABEL = 200  # characters
MAX_FOLDER_NAME = 100
FOLDER_NAMES = f"at most {MAX_FOLDER_NAME} printable characters, no slash or backslash, no leading dot"
LAST_EVALUATED = 50  # claims are averaged over these (core/training/README.md, "Statistics and claims")

_WEIGHT = re.compile(r"(\d{1,7}(?:\.\d{1,6})?):(\d{1,7}(?:\.\d{1,6})?)", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of a surrogate pair

# Its first character, and the rest: neither a path, nor hidden, nor what a terminal obeys.
_FOLDER_NAME = r"^[^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*$"

DigitClass = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
Cifar10Class = Literal["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class ImportanceWeight(NamedTuple):
    """How much an image of each class counts, base first. "2:2" is not "1:1" under `batch_size` normalisation."""

    base: float
    other: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless both sides are plain decimals in (0, 1e6]."""
        match = _WEIGHT.fullmatch(text)
        sides = [float(side) for side in match.groups()] if match else []
        if not sides or not all(0 < side <= 1e6 for side in sides):
            raise ValueError(text)
        return cls(*sides)


def _weight(text: str) -> str:
    try:
        ImportanceWeight.parse(text)
    except ValueError:
        raise PydanticCustomError(
            "importance_weight",
            "is not an importance weight",
            {"allowed": 'base:other, such as "16:1": two plain numbers above 0, at most 1000000, at most six decimals'},
        ) from None
    return text


def _printable(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise PydanticCustomError(
            "unprintable", "holds a control character or half a surrogate pair", {"allowed": "printable text"}
        )
    return text


def _folder_name(text: str) -> str:
    """In the composed form of Unicode, so that a name typed on macOS is the same name, with the same digest."""
    name = unicodedata.normalize("NFC", text)
    if len(name) > MAX_FOLDER_NAME or _UNPRINTABLE.search(name) or not re.match(_FOLDER_NAME, name):
        raise PydanticCustomError("folder_name", "is no name of a folder", {"allowed": FOLDER_NAMES})
    return name


Weight = Annotated[
    str,
    AfterValidator(_weight),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,7}(\.\d{1,6})?:\d{1,7}(\.\d{1,6})?$", "examples": ["16:1"]}),
]
Label = Annotated[str, StringConstraints(max_length=MAX_LABEL), AfterValidator(_printable)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _by_default(name: str) -> BeforeValidator:
    """An object that does not say which variant it is, is this one: pydantic chooses by what was sent alone."""
    return BeforeValidator(lambda sent: {"name": name, **sent} if isinstance(sent, dict) else sent)


class _Dataset(_Part):
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


FolderName = Annotated[
    str,
    AfterValidator(_folder_name),
    WithJsonSchema({"type": "string", "maxLength": MAX_FOLDER_NAME, "pattern": _FOLDER_NAME, "examples": ["hot dog"]}),
]


class ImageFolder(_Dataset):
    """Anybody's own images: `BALLAST_DATA_DIR/folders/<folder>/{train,test}/<class>/*`."""

    name: Literal["image_folder"]
    folder: FolderName
    base_class: FolderName
    other_class: FolderName


DatasetName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "image_folder"]
AnyDataset = Annotated[Digits | Mnist | FashionMnist | Cifar10 | ImageFolder, Field(discriminator="name")]


class Cnn(_Part):
    name: Literal["cnn"] = "cnn"
    width: Annotated[int, Field(ge=1, le=1024)] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ResNet(_Part):
    name: Literal["resnet"]
    width: Annotated[int, Field(ge=1, le=1024)] = 64
    batch_norm: bool = True


class Mlp(_Part):
    name: Literal["mlp"]
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 64


class Linear(_Part):
    name: Literal["linear"]


ModelName = Literal["cnn", "resnet", "mlp", "linear"]
Precision = Literal["fp32", "bf16", "tf32"]
AnyModel = Annotated[Cnn | ResNet | Mlp | Linear, Field(discriminator="name"), _by_default("cnn")]


class CrossEntropy(_Part):
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


class Optimizer(_Part):
    """Plain SGD with a constant learning rate; weight decay on every parameter, biases too."""

    lr: Annotated[float, Field(gt=0, le=1000)] = 0.1
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Spec(_Part):
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

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.dataset.base_class == self.dataset.other_class:
            raise _misfit(
                ("dataset", "other_class"),
                ("dataset", "base_class"),
                "is the base class too",
                "a class other than the base class",
            )
        per_class = self.dataset.train_per_class
        if per_class and self.batch_size and self.batch_size > 2 * per_class:
            raise _misfit(
                ("batch_size",),
                ("dataset", "train_per_class"),
                "is larger than the training set",
                f"at most 2 × train_per_class = {2 * per_class}",
            )
        if self.precision != "fp32" and self.model.name in ("mlp", "linear"):
            raise _misfit(("precision",), ("model", "name"), f"makes no {self.model.name} any faster", "fp32")
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


def field_in_words(path: str, value: Any) -> str:
    """A field of a spec and its value, for a person: "16:1", "mlp", "weight_decay 0.01", "dataset.seed 3"."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).removesuffix(".0")
    field = keys_of(path)[-1]
    if field in ("importance_weight", "name"):
        return text
    return f"{path if field in Spec.model_fields else field} {text}"


def holds_text(path: str) -> bool:
    """Whether what lies at a dotted path is text, whichever data set, model or loss it belongs to."""
    *outer, last = keys_of(path)
    parts: list[Any] = [Spec]
    for key in outer:
        inner = [part.model_fields[key].annotation for part in parts if key in part.model_fields]
        variants = [variant for annotation in inner for variant in get_args(annotation) or [annotation]]
        parts = [variant for variant in variants if isinstance(variant, type) and issubclass(variant, _Part)]
    found = [part.model_fields[last].annotation for part in parts if last in part.model_fields]
    return bool(found) and all(each is str or isinstance(next(iter(get_args(each)), None), str) for each in found)


def _misfit(path: tuple[str, ...], other: tuple[str, ...], message: str, allowed: str) -> PydanticCustomError:
    """A fault of the whole spec that belongs to two fields. pydantic knows no place for it, so it travels inside."""
    return PydanticCustomError("misfit", message, {"path": path, "with": other, "allowed": allowed})


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
