"""Short ways to specs: one as a user writes it, and every valid one (a hypothesis strategy)."""

import unicodedata
from typing import Any

from hypothesis import strategies as st

from core.spec import Spec

Json = dict[str, Any]


def sent(**fields: Any) -> Json:
    return {"dataset": {"name": "mnist"}, "importance_weight": "16:1", **fields}


def spec(**fields: Any) -> Spec:
    return Spec.model_validate(sent(**fields))


def _some(name: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """An object with its name, and any of the other fields."""
    return st.fixed_dictionaries({"name": st.just(name)}, optional=optional)


_counts = st.integers(1, 1_000_000)
_seeds = st.integers(0, 2**32 - 1)
_subset = {
    "train_per_class": st.none() | st.integers(500_000, 1_000_000),
    "eval_limit": st.none() | _counts,
    "seed": _seeds,
    "label_noise": st.floats(0, 0.5),
}
_folder_names = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1, max_size=30)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(lambda name: not name.startswith("."))
)
_below_one = st.floats(0, 1, exclude_max=True)
_sides = st.decimals("0.000001", 1_000_000, places=6).map(lambda side: f"{side:f}") | st.integers(1, 10**6).map(str)


def _datasets() -> st.SearchStrategy[Json]:
    digits = {"base_class": st.sampled_from("0234"), "other_class": st.sampled_from("56789")}
    animals = {"base_class": st.sampled_from(["dog", "horse"]), "other_class": st.sampled_from(["cat", "ship"])}
    folder = st.builds(
        lambda folder, classes, rest: {
            "name": "image_folder",
            "folder": folder,
            "base_class": classes[0],
            "other_class": classes[1],
            **rest,
        },
        _folder_names,
        st.lists(_folder_names, min_size=2, max_size=2, unique=True),
        st.fixed_dictionaries({}, optional=_subset),
    )
    two_digits = st.one_of(_some(name, **_subset, **digits) for name in ("digits", "mnist", "fashion_mnist"))
    return two_digits | _some("cifar10", **_subset, **animals) | folder


def _losses() -> st.SearchStrategy[Json]:
    normalization = st.sampled_from(["weight_sum", "batch_size", "dataset_mean"])
    up_to_100 = st.floats(0, 100) | st.integers(0, 100)
    return st.one_of(
        _some("cross_entropy", normalization=normalization),
        _some(
            "polynomial",
            normalization=normalization,
            alpha=st.floats(0, 100, exclude_min=True),
            weight_exponent=st.floats(0, 4),
        ),
        _some("logit_adjusted", normalization=normalization, tau=up_to_100),
        _some("vs", normalization=normalization, tau=up_to_100, gamma=st.floats(0, 5)),
        _some("ldam", normalization=normalization, max_margin=up_to_100, scale=st.floats(0, 1000, exclude_min=True)),
        _some("focal", normalization=normalization, gamma=up_to_100),
    )


_vectors = st.lists(st.lists(st.floats(-1e6, 1e6) | st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=9)


def _points() -> st.SearchStrategy[Json]:
    given = st.fixed_dictionaries(
        {"name": st.just("points"), "base": _vectors, "other": _vectors},
        optional={"test_base": _vectors, "test_other": _vectors, "seed": _seeds, "label_noise": st.floats(0, 0.5)},
    )
    return given | st.one_of(_some(name, seed=_seeds) for name in ("two_gaussians", "moons", "blobs"))


def valid_specs() -> st.SearchStrategy[Json]:
    of_points = st.tuples(_valid_but_for_precision(), _points()).map(lambda both: _with_points(*both))
    weighted = (_valid_but_for_precision() | of_points).map(_with_a_precision_of_its_model)
    return weighted | weighted.map(_resampled)


def _with_points(spec: Json, points: Json) -> Json:
    dense = spec.get("model", {}).get("name") in ("mlp", "linear")
    return spec | {"dataset": points, "batch_size": None, "model": spec["model"] if dense else {"name": "linear"}}


def _with_a_precision_of_its_model(spec: Json) -> Json:
    dense = spec.get("model", {}).get("name") in ("mlp", "linear")
    return spec | {"precision": "fp32"} if dense and "precision" in spec else spec


def _resampled(spec: Json) -> Json:
    """Two to one, on a loss that can be: so all data sets and batches fit."""
    return spec | {"resample": "repeat", "importance_weight": "2:1", "loss": {"normalization": "weight_sum"}}


def _valid_but_for_precision() -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries(
        {"dataset": _datasets(), "importance_weight": st.builds("{}:{}".format, _sides, _sides)},
        optional={
            "name": st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200),
            "model": st.one_of(
                _some("cnn", width=st.integers(1, 1024), dropout=_below_one),
                _some("resnet", width=st.integers(1, 1024), batch_norm=st.booleans()),
                _some("mlp", hidden=st.integers(1, 65_536)),
                _some("linear"),
            ),
            "loss": _losses(),
            "optimizer": st.fixed_dictionaries(
                {},
                optional={
                    "lr": st.floats(0, 1000, exclude_min=True),
                    "weight_decay": st.floats(0, 1000) | st.integers(0, 1000),
                    "momentum": _below_one,
                },
            ),
            "batch_size": st.none() | _counts,
            "epochs": _counts,
            "eval_every": _counts,
            "seed": _seeds,
            "precision": st.sampled_from(["fp32", "bf16", "tf32"]),
            "diagnostics": st.booleans(),
        },
    )


# The columns of a curve beside `epoch`, in their order.
COLUMNS = (
    "base_fraction_in_domain",
    "base_fraction_out_of_domain",
    "train_loss",
    "accuracy_in_domain",
    "train_accuracy_base",
    "train_accuracy_other",
    "finite_logits",
    "seconds",
)
