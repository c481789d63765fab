"""The spec: what is accepted, what is refused and at which field, and the two hashes that must never change."""

import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.faults import Fault, faults_of
from core.spec import (
    Cnn,
    DatasetName,
    ImageFolder,
    ImportanceWeight,
    ModelName,
    Resample,
    Spec,
    epoch_sizes,
    field_in_words,
    holds_text,
)
from tests.unit.core.builders import Json, sent, spec, valid_specs

FULL: Json = {
    "name": "every field at another value than its default",
    "dataset": {
        "name": "image_folder",
        "folder": "birds",
        "base_class": "jay",
        "other_class": "crow",
        "train_per_class": 100,
        "eval_limit": 50,
        "seed": 3,
    },
    "model": {"name": "resnet", "width": 8, "batch_norm": False},
    "loss": {"name": "cross_entropy", "normalization": "batch_size"},
    "importance_weight": "0.5:256",
    "optimizer": {"lr": 0.05, "weight_decay": 0.001, "momentum": 0.9},
    "batch_size": None,
    "epochs": 7,
    "eval_every": 2,
    "seed": 4294967295,
}

LOSSES = set(Spec.model_json_schema()["properties"]["loss"]["discriminator"]["mapping"])
OTHER_LOSSES = sorted(LOSSES - {"cross_entropy"})

DEFAULTS: Json = {
    "name": "",
    "dataset": {
        "name": "mnist",
        "base_class": "0",
        "other_class": "1",
        "train_per_class": None,
        "eval_limit": None,
        "seed": 0,
        "label_noise": 0.0,
    },
    "model": {"name": "cnn", "width": 64, "dropout": 0.0},
    "loss": {"name": "cross_entropy", "normalization": "weight_sum"},
    "resample": None,
    "importance_weight": "16:1",
    "optimizer": {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.0},
    "batch_size": 16,
    "epochs": 1000,
    "eval_every": 1,
    "seed": 0,
    "precision": "fp32",
    "diagnostics": False,
}


def faults(value: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(value)
    return faults_of(caught.value, value)


def at(path: str, value: Any) -> Json:
    """A spec with `value` at a dotted path. A field of a part stands beside the name of that part: "loss=focal.gamma",
    or the default one's."""
    part, _, field = path.rpartition(".")
    part, _, name = part.partition("=")
    names = {"model": "cnn", "loss": "cross_entropy", "dataset": "mnist"}
    if not part:
        return sent(**{field: value})
    named = {"name": name or names[part]} if part in names else {}
    return sent(**{part: {**named, field: value}})


def without_names(path: str) -> str:
    return re.sub("=[a-z_]+", "", path)


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (sent(), "f380ef42926b18c735201cb79beac3a4f695512fe6af977050560705ebbc62e5"),
        (
            {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:256", "epochs": 100},
            "32b45b718986e03b854ce85e727d1c6bb8860ccd9fefe2b67f99c2689de2dad0",
        ),
        (FULL, "4dbfaf07ca18e0824e9026680c8b9210353142fd367bbfd6f9da0f1fac869073"),
        (
            sent(model={"name": "cnn", "width": 16}),
            "445e04336f8456f1fb22269f026a0ad197c9db7e88531a0df7743129b5f8d05f",
        ),
        (
            sent(loss={"name": "cross_entropy", "normalization": "batch_size"}),
            "effef44dceb28d4ee77838902b5a1f112a7ca591eeb6554c42b1ba7a346203fe",
        ),
        (sent(loss={"name": "focal"}), "a8b71920edb445ef3c3b8566933acda4986fb6d19e6656098d70f49c02a362a3"),
        (
            sent(loss={"name": "polynomial", "weight_exponent": 1.5}),
            "f97d7507f2aacf54376a570224ad40a0dd6cdf01086fccda11523433d2b61882",
        ),
    ],
    ids=["shortest", "digits", "full", "width", "normalization", "focal", "polynomial"],
)
def test_the_digests_of_what_was_ever_stored_stay_as_they_are(value: Json, digest: str) -> None:
    assert Spec.model_validate(value).digest == digest


@pytest.mark.parametrize(
    ("value", "pack_key"),
    [
        (sent(), "1bfc9ac0e0de64b56489a6aeb0dec0f8dab4141efd41286f17088458ad3bf3b6"),
        (
            {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:256", "epochs": 100},
            "b959d0c8c15a8c9154513b387ec9a8ff1187054531642f0e9008084b5235da4e",
        ),
        (FULL, "9669b8ac251de2d8b10c44aaf6b5ccad93e3e9ab980b3cc50a006c8d90e0c9c9"),
        (
            sent(model={"name": "cnn", "width": 16}),
            "a2c960964a6949a08dd5fd8e3528985835614619ed033f621655c6999f263adc",
        ),
        (
            sent(loss={"name": "cross_entropy", "normalization": "batch_size"}),
            "28a07582e974f2fdd5c0a2afc893b229cf422baf8d28d788034e4e596de0f763",
        ),
    ],
    ids=["shortest", "digits", "full", "width", "normalization"],
)
def test_the_pack_keys_of_what_was_ever_stored_stay_as_they_are(value: Json, pack_key: str) -> None:
    assert Spec.model_validate(value).pack_key == pack_key


@pytest.mark.parametrize("model", [{"name": "cnn"}, {"name": "cnn", "width": 16}])
def test_a_field_that_is_added_later_changes_neither_digest_nor_pack_key(model: Json) -> None:
    class LaterCnn(Cnn):
        padding: int = 1

    class LaterSpec(Spec):
        model: LaterCnn = LaterCnn()

    later, now = LaterSpec.model_validate(sent(model=model)), spec(model=model)
    assert later.model.model_dump() != now.model.model_dump()
    assert (later.digest, later.pack_key) == (now.digest, now.pack_key)
    padded = LaterSpec.model_validate(sent(model={**model, "padding": 2}))
    assert padded.digest != now.digest
    assert padded.pack_key != now.pack_key


def test_the_shortest_spec_is_the_papers() -> None:
    assert spec().model_dump() == DEFAULTS


@pytest.mark.parametrize(
    ("unnamed", "named"),
    [
        ({"model": {"width": 16}}, {"model": {"name": "cnn", "width": 16}}),
        ({"model": {}, "loss": {}}, {"model": {"name": "cnn"}, "loss": {"name": "cross_entropy"}}),
        (
            {"loss": {"normalization": "batch_size"}},
            {"loss": {"name": "cross_entropy", "normalization": "batch_size"}},
        ),
    ],
)
def test_a_model_or_loss_without_a_name_is_the_default_one(unnamed: Json, named: Json) -> None:
    assert spec(**unnamed) == spec(**named)
    assert spec(**unnamed).digest == spec(**named).digest
    assert Spec.model_validate_json(json.dumps(sent(**unnamed))) == spec(**named)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (sent(dataset={"seed": 1}), "/dataset/name"),
        (sent(model={"hidden": 4}), "/model/hidden"),
        (sent(model={"name": None}), "/model/name"),
        (sent(model=["cnn"]), "/model"),
        (sent(loss={"name": None}), "/loss/name"),
        (sent(loss=None), "/loss"),
    ],
)
def test_what_the_default_one_has_not_is_refused_and_a_data_set_has_no_default(value: Json, place: str) -> None:
    assert [fault.pointer for fault in faults(value)] == [place]


def test_the_schema_says_which_names_may_be_left_out() -> None:
    parts = Spec.model_json_schema()["$defs"]
    assert {
        name for name, part in parts.items() if "name" in part["properties"] and "name" not in part.get("required", ())
    } == {
        "Cnn",
        "CrossEntropy",
    }


def test_defaults_that_are_spelled_out_and_the_name_change_no_digest() -> None:
    assert Spec.model_validate({**DEFAULTS, "name": "spelled out"}).digest == spec().digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"optimizer": {"lr": 0.1}}', '{"optimizer": {"lr": 1e-1}}'),
        ('{"optimizer": {"lr": 1}}', '{"optimizer": {"lr": 1.0}}'),
        ('{"optimizer": {"weight_decay": 0}}', "{}"),
        ('{"importance_weight": "16:1"}', '{"importance_weight": "16.0:1"}'),
        ('{"importance_weight": "0.5:1"}', '{"importance_weight": "0.500000:0001"}'),
        ('{"batch_size": 32, "seed": 1}', '{"seed": 1, "batch_size": 32}'),
    ],
)
def test_the_same_numbers_in_another_writing_have_the_same_digest(one: str, other: str) -> None:
    assert spec(**json.loads(one)).digest == spec(**json.loads(other)).digest


def test_weights_of_the_same_ratio_are_not_the_same() -> None:
    """Under `batch_size` normalisation "2:2" doubles the learning rate."""
    assert len({spec(importance_weight=weight).digest for weight in ("1:1", "2:2", "0.5:0.5")}) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"dataset": {"name": "fashion_mnist"}},
        {"dataset": {"name": "mnist", "base_class": "2"}},
        {"dataset": {"name": "mnist", "seed": 1}},
        {"dataset": {"name": "mnist", "eval_limit": 10}},
        {"dataset": {"name": "mnist", "label_noise": 0.1}},
        {"model": {"name": "resnet"}},
        {"model": {"name": "cnn", "dropout": 0.5}},
        {"loss": {"name": "cross_entropy", "normalization": "dataset_mean"}},
        *({"loss": {"name": name}} for name in OTHER_LOSSES),
        {"resample": "drop"},
        {"importance_weight": "1:16"},
        {"optimizer": {"lr": 0.2}},
        {"batch_size": None},
        {"epochs": 999},
        {"eval_every": 2},
        {"seed": 1},
        {"diagnostics": True},
    ],
    ids=str,
)
def test_whatever_decides_the_curve_changes_the_digest(changed: Json) -> None:
    assert spec(**changed).digest != spec().digest


@pytest.mark.parametrize(
    ("changed", "together"),
    [
        ({"importance_weight": "1:16"}, True),
        ({"seed": 1}, True),
        ({"epochs": 5}, True),
        ({"optimizer": {"lr": 0.2}}, True),
        ({"eval_every": 3}, True),
        ({"diagnostics": True}, True),
        ({"name": "other"}, True),
        ({"dataset": {"name": "mnist", "seed": 1}}, False),
        ({"model": {"name": "cnn", "width": 32}}, False),
        ({"loss": {"name": "cross_entropy", "normalization": "batch_size"}}, False),
        *(({"loss": {"name": name}}, False) for name in OTHER_LOSSES),
        ({"batch_size": 32}, False),
    ],
    ids=str,
)
def test_the_pack_key_says_what_can_be_trained_side_by_side(changed: Json, together: bool) -> None:
    assert (spec(**changed).pack_key == spec().pack_key) is together


BOUNDS: list[tuple[str, list[Any], list[Any], str]] = [
    ("seed", [0, 2**32 - 1], [-1, 2**32, 0.5, True, "0", None], "an integer from 0 to 4294967295"),
    ("dataset.seed", [0, 2**32 - 1], [-1, 2**32], "an integer from 0 to 4294967295"),
    ("epochs", [1, 1_000_000], [0, -1, 1_000_001, 10**400, 1.5, "5", None], "an integer from 1 to 1000000"),
    ("eval_every", [1, 1_000_000], [0, 1_000_001], "an integer from 1 to 1000000"),
    ("batch_size", [None, 1, 1_000_000], [0, 1_000_001, 2.5, "all"], "an integer from 1 to 1000000 or null"),
    ("dataset.train_per_class", [None, 8, 1_000_000], [0, 1_000_001], "an integer from 1 to 1000000 or null"),
    ("dataset.eval_limit", [None, 1, 1_000_000], [0, 1_000_001], "an integer from 1 to 1000000 or null"),
    ("dataset.label_noise", [0, 0.25, 0.5], [-1e-9, 0.500001, True, None], "a number from 0 to 0.5"),
    ("model.width", [1, 1024], [0, 1025], "an integer from 1 to 1024"),
    ("model.dropout", [0, 0.0, 0.999999], [-1e-9, 1, 1.0], "a number at least 0 and below 1"),
    ("optimizer.lr", [1e-300, 1000, 5e-324], [0, 0.0, -0.1, 1000.0001, True], "a number above 0 and at most 1000"),
    ("optimizer.weight_decay", [0, 1000], [-1e-12, 1000.5], "a number from 0 to 1000"),
    ("optimizer.momentum", [0, 0.9999], [-0.1, 1], "a number at least 0 and below 1"),
    ("name", ["", "é" * 200], ["x" * 201, None, 5], "text of at most 200 characters"),
    ("resample", [None, "drop", "repeat"], ["", "keep", True], "drop, repeat or null"),
    ("diagnostics", [True, False], [1, 0, "true", None], "true or false"),
    ("precision", ["fp32", "bf16", "tf32"], ["fp16", "", None], "fp32, bf16, tf32"),
    (
        "loss.normalization",
        ["weight_sum", "batch_size", "dataset_mean"],
        ["sum", None],
        "weight_sum, batch_size, dataset_mean",
    ),
    ("loss=polynomial.alpha", [1e-9, 100], [0, -1, 100.5, "1", None], "a number above 0 and at most 100"),
    ("loss=polynomial.weight_exponent", [0, 1.5, 4], [-0.1, 4.001], "a number from 0 to 4"),
    ("loss=logit_adjusted.tau", [0, 100], [-1e-9, 101], "a number from 0 to 100"),
    ("loss=vs.tau", [0, 100], [-1, 101], "a number from 0 to 100"),
    ("loss=vs.gamma", [0, 5], [-0.1, 5.1], "a number from 0 to 5"),
    ("loss=ldam.max_margin", [0, 100], [-0.1, 100.1], "a number from 0 to 100"),
    ("loss=ldam.scale", [1e-9, 1000], [0, 1000.1], "a number above 0 and at most 1000"),
    ("loss=focal.gamma", [0, 100], [-1, 100.1, True], "a number from 0 to 100"),
    ("loss=focal.normalization", ["dataset_mean"], ["sum"], "weight_sum, batch_size, dataset_mean"),
    ("dataset.base_class", ["0", "9"], ["10", 0, ""], ", ".join(f'"{n}"' for n in range(10))),
]


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, inside, *_ in BOUNDS for value in inside])
def test_just_inside_a_bound_is_accepted(path: str, value: Any) -> None:
    part, _, field = without_names(path).rpartition(".")
    accepted = Spec.model_validate(at(path, value))
    assert getattr(getattr(accepted, part) if part else accepted, field) == value


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [(path, value, allowed) for path, _, outside, allowed in BOUNDS for value in outside],
    ids=lambda value: str(value)[:20],
)
def test_just_outside_a_bound_is_refused_at_its_field_with_the_whole_range(path: str, value: Any, allowed: str) -> None:
    (fault,) = faults(at(path, value))
    assert (fault.pointer, fault.allowed) == ("/" + without_names(path).replace(".", "/"), allowed)


@pytest.mark.parametrize(
    "path",
    [
        *("optimizer.lr", "optimizer.weight_decay", "optimizer.momentum", "model.dropout"),
        *("loss=polynomial.alpha", "loss=vs.tau", "loss=ldam.scale"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_may_be_infinite_or_nan(path: str, value: float) -> None:
    (fault,) = faults(at(path, value))
    assert fault.pointer == "/" + without_names(path).replace(".", "/")


@pytest.mark.parametrize(
    "weight",
    ["1:1", "256:1", "1:256", "0.5:1", "0.000001:1000000", "1000000.000000:1", "0000001:1", "2:2", "1.5:2.25"],
)
def test_a_weight_is_two_plain_decimals_and_kept_as_written(weight: str) -> None:
    accepted = spec(importance_weight=weight)
    assert accepted.importance_weight == weight
    assert accepted.weights == tuple(float(side) for side in weight.split(":"))


@pytest.mark.parametrize(
    "weight",
    [
        *("", ":", "1", "1:", ":1", "1:1:1", "1 :1", " 1:1", "1:1\n", "1,5:1", "16/1"),
        *("0:1", "1:0", "0.0:1", "0.000000:1", "-1:1", "+1:1", "1e1:1", ".5:1", "1.:1"),
        *("1000000.000001:1", "1000001:1", "10000000:1", "0.0000001:1", "00000001:1"),
        *("nan:1", "inf:1", "0x1:1", "1_0:1", "٣:1", "１:1", "1:1\x00", "x" * 500),
    ],
)
def test_anything_else_is_no_weight(weight: str) -> None:
    (fault,) = faults(sent(importance_weight=weight))
    assert fault.pointer == "/importance_weight"
    assert fault.value == weight[:100]
    assert '"16:1"' in (fault.allowed or "")
    with pytest.raises(ValueError, match=f"^{re.escape(weight)}$"):
        ImportanceWeight.parse(weight)


@pytest.mark.parametrize("weight", [16, 1.5, None, True, ["16", "1"], {"base": 16}])
def test_a_weight_that_is_no_text_is_refused(weight: Any) -> None:
    (fault,) = faults(sent(importance_weight=weight))
    assert (fault.pointer, fault.allowed) == ("/importance_weight", 'text such as "16:1"')


@given(st.text(max_size=20))
def test_the_schema_and_the_parser_agree_on_what_a_weight_looks_like(text: str) -> None:
    pattern = Spec.model_json_schema()["properties"]["importance_weight"]["pattern"]
    try:
        ImportanceWeight.parse(text)
    except ValueError:
        return
    assert re.search(pattern, text)


@pytest.mark.parametrize(
    "character", ["\x00", "\t", "\n", "\x1b", "\x7f", "\x85", "\x9f", chr(0xD800), chr(0xDFFF)], ids=ascii
)
def test_a_name_holds_no_control_character_and_no_half_of_a_surrogate_pair(character: str) -> None:
    (fault,) = faults(sent(name=f"a{character}b"))
    assert fault.pointer == "/name"


def test_a_name_may_be_in_any_script() -> None:
    assert spec(name="Gewicht 16:1 – 重み 🐕").name == "Gewicht 16:1 – 重み 🐕"


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (sent(label_noise=0.1), "/label_noise"),
        (sent(dataset={"name": "mnist", "folder": "x"}), "/dataset/folder"),
        (sent(model={"name": "resnet", "dropout": 0.5}), "/model/dropout"),
        (sent(model={"name": "linear", "width": 5}), "/model/width"),
        (sent(loss={"name": "cross_entropy", "gamma": 2}), "/loss/gamma"),
        (sent(loss={"gamma": 2}), "/loss/gamma"),
        (sent(loss={"name": "focal", "alpha": 2}), "/loss/alpha"),
        (sent(loss={"name": "logit_adjusted", "weight_exponent": 2}), "/loss/weight_exponent"),
        (sent(optimizer={"name": "adam"}), "/optimizer/name"),
        (sent(**{"a/b~c": 1}), "/a~1b~0c"),
    ],
)
def test_a_field_that_nothing_obeys_is_refused(value: Json, pointer: str) -> None:
    (fault,) = faults(value)
    assert (fault.pointer, fault.detail) == (pointer, "is not a field")


@pytest.mark.parametrize("name", ["mnist", "digits", "fashion_mnist", "cifar10"])
def test_the_two_classes_differ(name: str) -> None:
    classes = {"base_class": "dog", "other_class": "dog"} if name == "cifar10" else {"base_class": "1"}
    (fault,) = faults(sent(dataset={"name": name, **classes}))
    assert fault.pointer == "/dataset/other_class"
    assert fault.allowed == "a class other than the base class"


@pytest.mark.parametrize(("batch_size", "fits"), [(200, True), (201, False), (None, True)])
def test_a_batch_is_no_larger_than_a_training_set_whose_size_the_spec_says(batch_size: int | None, fits: bool) -> None:
    value = sent(dataset={"name": "mnist", "train_per_class": 100}, batch_size=batch_size)
    if fits:
        assert Spec.model_validate(value).batch_size == batch_size
        return
    (fault,) = faults(value)
    assert (fault.pointer, fault.value) == ("/batch_size", 201)
    assert fault.allowed == "at most 2 × train_per_class = 200"


SIX_POINTS: Json = {"name": "points", "base": [[1, 5], [0, 1], [3, 5]], "other": [[4, 1], [5, 5], [4, -1]]}


def of_points(**fields: Any) -> Json:
    return sent(**{"dataset": SIX_POINTS, "model": {"name": "linear"}, "batch_size": None} | fields)


def test_points_are_part_of_what_decides_a_curve() -> None:
    one, other = (
        Spec.model_validate(of_points()),
        Spec.model_validate(of_points(dataset=SIX_POINTS | {"base": [[1, 5]]})),
    )
    assert one.digest != other.digest
    assert one.pack_key != other.pack_key
    as_numbers = SIX_POINTS | {"base": [[1.0, 5.0], [0.0, 1.0], [3.0, 5.0]]}
    assert Spec.model_validate(of_points(dataset=as_numbers)).digest == one.digest
    assert hash(one.dataset) == hash(Spec.model_validate(of_points()).dataset)


@pytest.mark.parametrize(
    ("points", "pointer", "allowed"),
    [
        ({"base": []}, "/dataset/base", "at least one point"),
        ({"other": []}, "/dataset/other", "at least one point"),
        ({"base": [[]]}, "/dataset/base/0", "a list of at least one number"),
        ({"base": 3}, "/dataset/base", "a list"),
        ({"base": [1, 5]}, "/dataset/base/0", "a list"),
        ({"base": [[1, 5], [1, "5"]]}, "/dataset/base/1/1", "a number from -1000000 to 1000000"),
        ({"base": [[1, None]]}, "/dataset/base/0/1", "a number from -1000000 to 1000000"),
        ({"other": [[1, 1000001]]}, "/dataset/other/0/1", "a number from -1000000 to 1000000"),
        ({"other": [[1, float("nan")]]}, "/dataset/other/0/1", "a number from -1000000 to 1000000"),
        ({"other": [[1, 2], [1, 2, 3]]}, "/dataset/other/1", "a list of 2 numbers"),
        ({"test_base": [[1]]}, "/dataset/test_base/0", "a list of 2 numbers"),
        ({"test_base": [[1, 2, 3]]}, "/dataset/test_base/0", "a list of 2 numbers"),
        ({"base": [[[1, 5], [0, 1]]]}, "/dataset/base/0/0", "a number from -1000000 to 1000000"),
        ({"test_other": [[1, 2]] * 4998}, "/dataset/test_other", "at most 10000 numbers in all points"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_points_that_are_none_are_refused_at_their_place(points: Json, pointer: str, allowed: str) -> None:
    (fault,) = faults(of_points(dataset=SIX_POINTS | points))
    assert (fault.pointer, fault.allowed) == (pointer, allowed)


def test_ten_thousand_numbers_are_not_too_many() -> None:
    assert (
        len(Spec.model_validate(of_points(dataset=SIX_POINTS | {"test_other": [[1, 2]] * 4994})).dataset.test_other)
        == 4994
    )


@pytest.mark.parametrize(
    "dataset", [SIX_POINTS, *({"name": name} for name in ("two_gaussians", "moons", "blobs"))], ids=str
)
def test_points_are_for_networks_without_convolutions(dataset: Json) -> None:
    for name in ("cnn", "resnet"):
        (fault,) = faults(of_points(dataset=dataset, model={"name": name}))
        assert (fault.pointer, fault.value, fault.allowed) == ("/model/name", name, "linear, mlp")
    assert Spec.model_validate(of_points(dataset=dataset, model={"name": "mlp"})).dataset.name == dataset["name"]


@pytest.mark.parametrize(
    ("dataset", "n"),
    [(SIX_POINTS, 6), ({"name": "two_gaussians"}, 40), ({"name": "moons"}, 200), ({"name": "blobs"}, 200)],
)
def test_a_batch_is_no_larger_than_the_points(dataset: Json, n: int) -> None:
    assert Spec.model_validate(of_points(dataset=dataset, batch_size=n)).batch_size == n
    (fault,) = faults(of_points(dataset=dataset, batch_size=n + 1))
    assert (fault.pointer, fault.allowed) == ("/batch_size", f"at most {n}, or null for the full batch")


@pytest.mark.parametrize("resample", ["drop", "repeat"])
def test_resampling_is_part_of_what_decides_a_curve_and_with_its_weight_of_a_pack(resample: str) -> None:
    plain, one, other = spec(), spec(resample=resample), spec(resample=resample, importance_weight="4:1")
    assert (spec(resample=None).digest, spec(resample=None).pack_key) == (plain.digest, plain.pack_key)
    assert len({plain.digest, one.digest, other.digest}) == 3
    assert len({plain.pack_key, one.pack_key, other.pack_key}) == 3
    assert one.pack_key == spec(resample=resample, importance_weight="16.0:1").pack_key
    assert (plain.loss_weights, one.loss_weights) == ((16, 1), (1, 1))


@pytest.mark.parametrize("normalization", ["batch_size", "dataset_mean"])
def test_resampling_leaves_no_weights_to_normalise(normalization: str) -> None:
    (fault,) = faults(sent(resample="drop", loss={"normalization": normalization}))
    assert (fault.pointer, fault.value) == ("/resample", "drop")
    assert fault.detail == f"leaves no weights for {normalization}"
    assert fault.allowed == "null, or normalization weight_sum"


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"resample": "drop", "importance_weight": "1:256"}, "/resample", "leaves no example of the class"),
        ({"resample": "repeat", "importance_weight": "1:60000"}, "/resample", "makes an epoch of 6000100 examples"),
        ({"resample": "drop", "batch_size": 107}, "/batch_size", "is larger than the resampled training set"),
    ],
)
def test_what_cannot_be_resampled_is_refused_where_sizes_are_known(fields: Json, pointer: str, detail: str) -> None:
    for dataset, model in (({"name": "mnist", "train_per_class": 100}, "mlp"), ({"name": "moons"}, "mlp")):
        (fault,) = faults(sent(**{"dataset": dataset, "model": {"name": model}} | fields))
        assert (fault.pointer, fault.detail[: len(detail)]) == (pointer, detail)
    assert Spec.model_validate(sent(**fields | {"batch_size": 16})).resample == fields["resample"]  # a worker will see


@pytest.mark.parametrize("dataset", [{"name": "mnist", "train_per_class": 20}, {"name": "two_gaussians"}], ids=str)
def test_a_batch_may_be_as_large_as_an_epoch_of_repeated_examples(dataset: Json) -> None:
    fields = {"dataset": dataset, "model": {"name": "mlp"}, "resample": "repeat"}
    assert spec(**fields, batch_size=17 * 20).batch_size == 340
    (fault,) = faults(sent(**fields, batch_size=341))
    assert (fault.pointer, fault.allowed) == ("/batch_size", "at most 340")


@given(
    st.sampled_from(["drop", "repeat"]),
    st.integers(1, 9999),
    st.integers(1, 9999),
    st.builds(ImportanceWeight, st.integers(1, 99), st.integers(1, 99)),
)
def test_epochs_are_in_proportion_to_the_weights(resample: Resample, n: int, m: int, weights: ImportanceWeight) -> None:
    sizes = epoch_sizes(resample, weights, (n, m))
    for size, of_class, weight in zip(sizes, (n, m), weights, strict=True):
        if resample == "drop":
            assert abs(size - of_class * weight / max(weights)) <= 0.5
        else:
            assert abs(size / of_class - weight / min(weights)) <= 0.5
    assert epoch_sizes(resample, ImportanceWeight(7, 7), (n, m)) == epoch_sizes(None, weights, (n, m)) == (n, m)


@pytest.mark.parametrize("field", ["base_class", "train_per_class", "eval_limit", "margin"])
def test_points_have_no_field_that_is_for_images(field: str) -> None:
    (fault,) = faults(of_points(dataset={"name": "moons", field: 1}))
    assert (fault.pointer, fault.allowed) == (f"/dataset/{field}", "seed, label_noise, name")


def test_many_points_in_words_are_cut_and_still_told_apart() -> None:
    assert field_in_words("dataset.base", [[1, 5], [0, 1]]) == "base [[1, 5], [0, 1]]"
    one, other = (field_in_words("dataset.base", [[1, 5]] * 30 + [[n, 0]]) for n in (1, 2))
    assert one.startswith("base [[1, 5], [1, 5], [1, 5], ")
    assert len(one) < 70
    assert one != other


@pytest.mark.parametrize("field", ["folder", "base_class", "other_class"])
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "/etc", "a\\b", "a\x00", "a\n", "a\x1b[2J", "a\x85", "x" * 101, "a\ud800"],
    ids=ascii,
)
def test_no_folder_leaves_the_data_directory(field: str, name: str) -> None:
    value = {"name": "image_folder", "folder": "birds", "base_class": "jay", "other_class": "crow", field: name}
    (fault,) = faults(sent(dataset=value))
    assert fault.pointer == f"/dataset/{field}"
    assert fault.detail == "is no name of a folder"
    assert fault.allowed == "at most 100 printable characters, no slash or backslash, no leading dot"


@pytest.mark.parametrize("name", ["hot dog", "é", "犬", "-", "a.b", "x" * 100, "\u0958" * 50], ids=ascii)
def test_a_folder_has_any_printable_name_and_keeps_it(name: str) -> None:
    """In the composed form, which may be the longer one."""
    dataset = Spec.model_validate(
        sent(dataset={"name": "image_folder", "folder": name, "base_class": name, "other_class": "crow"})
    ).dataset
    assert dataset.base_class == unicodedata.normalize("NFC", name)
    pattern = ImageFolder.model_json_schema()["properties"]["folder"]["pattern"]
    assert re.fullmatch(pattern, dataset.base_class)  # what the document says
    assert type(dataset).model_validate_json(dataset.model_dump_json()) == dataset


def test_two_forms_of_one_name_are_one_class() -> None:
    classes = {"base_class": "Caf\u00e9", "other_class": "Cafe\u0301"}
    (fault,) = faults(sent(dataset={"name": "image_folder", "folder": "x", **classes}))
    assert (fault.pointer, fault.detail) == ("/dataset/other_class", "is the base class too")


def test_every_fault_is_told_at_once() -> None:
    value = {"dataset": {"name": "mnist", "seed": -1}, "epochs": 0, "model": {"name": "vgg"}}
    assert {fault.pointer for fault in faults(value)} == {
        "/dataset/seed",
        "/epochs",
        "/model/name",
        "/importance_weight",
    }


@given(valid_specs())
def test_a_stored_spec_comes_back_as_it_was(value: Json) -> None:
    written = Spec.model_validate(value)
    stored = written.model_dump_json()
    for back in (Spec.model_validate_json(stored), Spec.model_validate(json.loads(stored))):
        assert back == written
        assert (back.digest, back.pack_key) == (written.digest, written.pack_key)


def test_a_digest_is_the_same_in_another_process() -> None:
    code = f"from core.spec import Spec; print(Spec.model_validate({FULL!r}).digest)"
    root = Path(__file__).parents[3]
    said = subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True, env={"PYTHONHASHSEED": "1"})
    assert said.strip() == Spec.model_validate(FULL).digest


@pytest.mark.parametrize(
    ("epochs", "every", "rows"),
    [(3, 1, [1, 2, 3]), (10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 5, [3]), (1, 1, [1])],
)
def test_the_curve_has_a_row_every_so_many_epochs_and_after_the_last(epochs: int, every: int, rows: list[int]) -> None:
    evaluated = spec(epochs=epochs, eval_every=every).evaluated
    assert [epoch for epoch in range(1, epochs + 1) if evaluated(epoch)] == rows


def test_no_two_losses_have_the_same_digest_though_their_fields_are_alike() -> None:
    losses: list[Json] = [{"name": name} for name in LOSSES]
    losses += [{"name": "vs", "gamma": 2}, {"name": "focal", "gamma": 3}, {"name": "vs", "gamma": 3}]
    losses += [{"name": "ldam", "scale": 1}, {"name": "focal", "normalization": "batch_size"}]
    assert len({spec(loss=loss).digest for loss in losses}) == len(losses)
    assert len({spec(loss=loss).pack_key for loss in losses}) == len(losses)
    assert spec(loss={"name": "focal", "gamma": 2}).digest == spec(loss={"name": "focal"}).digest


def test_weights_that_resampling_takes_away_are_raised_to_no_power() -> None:
    loss = {"name": "polynomial", "weight_exponent": 1.5}
    (fault,) = faults(sent(loss=loss, resample="drop"))
    assert (fault.pointer, fault.value, fault.allowed) == ("/loss/weight_exponent", 1.5, "1, or no resample")
    assert spec(loss={"name": "polynomial"}, resample="drop").loss_weights == (1, 1)


@pytest.mark.parametrize(
    ("loss", "weight", "lr", "warned"),
    [
        ({"name": "polynomial", "normalization": "batch_size", "weight_exponent": 1.5}, "9:1", 0.1, ["by up to 27:"]),
        ({"name": "polynomial", "normalization": "batch_size", "weight_exponent": 0.5}, "256:1", 0.1, ["by up to 16:"]),
        ({"name": "polynomial", "normalization": "batch_size", "weight_exponent": 0}, "256:1", 0.1, []),
        ({"name": "focal", "normalization": "batch_size"}, "1:64", 0.1, ["by up to 64:"]),
        ({"name": "ldam"}, "1:1", 0.1, ["scale 30 multiplies the gradient: with lr 0.1 "]),
        ({"name": "ldam"}, "1:1", 0.01, []),
        ({"name": "ldam", "scale": 3}, "1:1", 0.1, []),
        ({"name": "ldam", "normalization": "batch_size"}, "16:1", 0.1, ["by up to 16:", "scale 30"]),
        ({"name": "vs"}, "256:1", 1, []),
    ],
    ids=str,
)
def test_a_loss_warns_of_what_makes_the_steps_too_long(loss: Json, weight: str, lr: float, warned: list[str]) -> None:
    sentences = spec(loss=loss, importance_weight=weight, optimizer={"lr": lr}).warnings()
    assert len(sentences) == len(warned)
    assert all(part in sentence for part, sentence in zip(warned, sentences, strict=True))


@pytest.mark.parametrize(
    ("weight", "normalization", "warned"),
    [
        ("16:1", "batch_size", True),
        ("1:16", "batch_size", True),
        ("15.9:1", "batch_size", False),
        ("256:1", "weight_sum", False),
        ("256:1", "dataset_mean", False),
    ],
)
def test_a_weight_that_multiplies_the_learning_rate_is_warned_of(weight: str, normalization: str, warned: bool) -> None:
    loss = {"name": "cross_entropy", "normalization": normalization}
    sentences = spec(importance_weight=weight, loss=loss).warnings()
    assert bool(sentences) is warned
    assert all("learning rate by up to 16:" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("loss", "remedies"),
    [
        ({}, []),
        ({"normalization": "batch_size"}, ["normalization weight_sum"]),
        ({"normalization": "dataset_mean"}, ["normalization weight_sum"]),
        ({"name": "focal", "normalization": "dataset_mean"}, ["normalization weight_sum"]),
        ({"name": "ldam"}, ["a smaller scale"]),
        ({"name": "ldam", "scale": 1}, []),
        ({"name": "ldam", "normalization": "batch_size"}, ["normalization weight_sum", "a smaller scale"]),
        ({"name": "polynomial", "weight_exponent": 2}, []),
        ({"name": "polynomial", "normalization": "batch_size"}, ["normalization weight_sum"]),
        (
            {"name": "polynomial", "normalization": "batch_size", "weight_exponent": 2},
            ["normalization weight_sum", "a smaller weight_exponent"],
        ),
    ],
    ids=str,
)
def test_a_loss_says_what_else_helps_where_it_diverged(loss: Json, remedies: list[str]) -> None:
    assert spec(loss=loss).loss.remedies == remedies


@pytest.mark.parametrize(
    ("epochs", "every", "kept"),
    [
        (60, 1, [1, 2, 4, 8, *range(11, 61)]),
        (3, 1, [1, 2, 3]),
        (1000, 1, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(951, 1001)]),
        (1000, 10, [10, 20, 40, 80, 160, 320, *range(510, 1001, 10)]),
        (105, 2, [2, 4, *range(8, 106, 2), 105]),
        (5, 10, [5]),
    ],
)
def test_predictions_are_kept_at_powers_of_two_and_of_the_last_fifty_evaluated(
    epochs: int, every: int, kept: list[int]
) -> None:
    whole = spec(epochs=epochs, eval_every=every)
    assert [epoch for epoch in range(1, epochs + 1) if whole.predicted(epoch)] == kept


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_a_network_without_convolutions_has_one_precision(precision: str, model: str) -> None:
    (fault,) = faults(spec().model_dump() | {"model": {"name": model}, "precision": precision})
    assert (fault.pointer, fault.value, fault.allowed) == ("/precision", precision, "fp32")
    assert fault.detail == f"makes no {model} any faster"


def test_precision_is_part_of_what_decides_a_curve_and_of_a_pack() -> None:
    one, other = spec(), spec(precision="bf16")
    assert (one.digest, one.pack_key) == (spec(precision="fp32").digest, spec(precision="fp32").pack_key)
    assert one.digest != other.digest
    assert one.pack_key != other.pack_key


def test_the_names_of_data_sets_and_models_are_those_of_the_spec() -> None:
    schema = Spec.model_json_schema()["properties"]
    assert set(get_args(DatasetName)) == set(schema["dataset"]["discriminator"]["mapping"])
    assert set(get_args(ModelName)) == set(schema["model"]["discriminator"]["mapping"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("loss.name", "focal", "focal"),
        ("loss.gamma", 2.0, "gamma 2"),
        ("loss.weight_exponent", 1.5, "weight_exponent 1.5"),
        ("loss", {"name": "vs"}, 'loss {"name": "vs"}'),
    ],
)
def test_a_field_of_a_loss_in_words(path: str, value: Any, words: str) -> None:
    assert field_in_words(path, value) == words


def test_which_fields_hold_text() -> None:
    paths = [f"{part}.{field}" for part in ("dataset", "model", "loss", "optimizer") for field in FIELDS_OF[part]]
    text = {path for path in [*paths, *Spec.model_fields, "nothing", "seed.x", "dataset.x", ""] if holds_text(path)}
    assert text == {
        *("name", "importance_weight", "precision", "loss.name", "loss.normalization", "model.name"),
        *("dataset.name", "dataset.base_class", "dataset.other_class", "dataset.folder"),
    }


FIELDS_OF = {
    "dataset": [
        *("name", "base_class", "other_class", "folder", "seed", "train_per_class", "eval_limit"),
        *("base", "other", "test_base", "test_other", "label_noise"),
    ],
    "model": ["name", "width", "dropout", "batch_norm", "hidden"],
    "loss": [*("name", "normalization", "alpha", "weight_exponent", "tau", "gamma"), "max_margin", "scale"],
    "optimizer": ["lr", "weight_decay", "momentum"],
}
