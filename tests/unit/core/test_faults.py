"""Refusals: a pointer into what was sent, the value, what would be allowed; strict JSON, whatever was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.faults import Fault, excerpt, faults_of
from core.reading import RepeatedName, parse_json
from core.spec import Spec
from tests.unit.core.builders import Json, sent


def faults(value: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(value)
    return faults_of(caught.value, value)


DATASETS = "blobs, cifar10, digits, fashion_mnist, image_folder, mnist, moons, points, two_gaussians"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            sent(epochs=0),
            "/epochs is out of range: 0 (allowed: an integer from 1 to 1000000)",
        ),
        (
            sent(dataset={"name": "mnist", "base_class": "dog"}),
            '/dataset/base_class is not one of the choices: "dog" '
            '(allowed: "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")',
        ),
        (
            sent(dataset={"name": "imagenet"}),
            f'/dataset/name is not one of the choices: "imagenet" (allowed: {DATASETS})',
        ),
        (sent(dataset={}), f"/dataset/name is missing (allowed: {DATASETS})"),
        (sent(dataset=5), f"/dataset is not an object: 5 (allowed: an object whose name is one of {DATASETS})"),
        ({"importance_weight": "1:1"}, f"/dataset is missing (allowed: an object whose name is one of {DATASETS})"),
        ({"dataset": {"name": "mnist"}}, '/importance_weight is missing (allowed: text such as "16:1")'),
        (
            sent(model={"name": "resnet", "dropout": 0.5}),
            "/model/dropout is not a field: 0.5 (allowed: name, width, batch_norm)",
        ),
        (
            sent(model={"name": "resnet", "batch_norm": 1}),
            "/model/batch_norm is not true or false: 1 (allowed: true or false)",
        ),
        (
            sent(optimizer={"lr": "0.1"}),
            '/optimizer/lr is not a number: "0.1" (allowed: a number above 0 and at most 1000)',
        ),
        (sent(optimizer=None), "/optimizer is not an object (allowed: an object)"),
        (sent(batch_size=1.5), "/batch_size is not an integer: 1.5 (allowed: an integer from 1 to 1000000 or null)"),
        (sent(name=5), "/name is not text: 5 (allowed: text of at most 200 characters)"),
        ([], 'the body is not an object: "[]" (allowed: an object)'),
    ],
)
def test_a_refusal_is_a_sentence_with_field_value_and_what_is_allowed(value: Any, sentence: str) -> None:
    (fault,) = faults(value)
    assert str(fault) == sentence


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        # the name of a variant is no key of what was sent, also where something else is called like it
        (sent(dataset={"name": "mnist", "mnist": 1}), "/dataset/mnist"),
        (sent(dataset={"name": "mnist", "seed": -1, "mnist": 1}), "/dataset/seed"),
        (sent(model={"name": "cnn", "cnn": {"width": 0}}), "/model/cnn"),
        # and a name that is no variant's is nothing but a name
        ({"name": "dataset", "importance_weight": "1:1"}, "/dataset"),
        ({"name": "importance_weight", "dataset": {"name": "mnist"}}, "/importance_weight"),
        (sent(name="epochs", epochs=0), "/epochs"),
        (sent(dataset={"name": ["mnist"]}), "/dataset/name"),
        (sent(dataset={"name": {"mnist": 1}}), "/dataset/name"),
        (sent(dataset={"name": "image_folder", "base_class": "a", "other_class": "b"}), "/dataset/folder"),
        (sent(**{"": 1}), "/"),
        (sent(**{"~": 1}), "/~0"),
    ],
)
def test_a_pointer_holds_keys_of_what_was_sent_and_no_tag_of_a_union(value: Json, pointer: str) -> None:
    assert pointer in {fault.pointer for fault in faults(value)}
    assert len(faults(value)) <= 2


def test_what_is_shown_is_cut_at_100_characters() -> None:
    (fault,) = faults(sent(name="x" * 5000))
    assert fault.value == "x" * 100
    (fault,) = faults(sent(seed={"a": "x" * 5000}))
    assert len(fault.value) == 100


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (10**99, 10**99),
        (10**5000, "a number of more than 100 digits"),
        (-(10**100), "a number of more than 100 digits"),
        ("\ud800", "?"),
        ("\x00", "\x00"),
        ([1, float("nan")], "[1, NaN]"),
        ({"\ud800": 1}, '{"\\ud800": 1}'),
        ({"seed": 10**5000}, "too large to show"),
        (True, True),
        (None, None),
        (0.1, 0.1),
    ],
    ids="abcdefghijklm",
)
def test_odd_values_are_shown_as_strict_json(value: Any, seen: Any) -> None:
    assert excerpt(value) == seen
    json.dumps(excerpt(value), allow_nan=False).encode("utf-8", "strict")


def test_of_a_value_without_end_the_beginning_is_shown() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert excerpt(deep) == "[" * 100


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_parts = st.sampled_from(["dataset", "model", "loss", "optimizer", "name", "seed", "importance_weight", "epochs"])


@given(
    st.dictionaries(
        _parts | st.text(st.characters(), max_size=3),
        _anything | st.fixed_dictionaries({"name": st.sampled_from(["mnist", "cnn", "cross_entropy"])}),
    )
)
def test_whatever_is_sent_is_accepted_or_refused_in_strict_json_with_pointers_that_resolve(value: Json) -> None:
    try:
        Spec.model_validate(value)
    except ValidationError as error:
        for fault in faults_of(error, value):
            assert str(fault)
            json.dumps([fault.pointer, fault.detail, fault.value, fault.allowed], allow_nan=False).encode()
            here: Any = value
            *parents, last = fault.pointer.split("/")[1:] or [""]
            for key in parents:
                here = here[key.replace("~1", "/").replace("~0", "~")]
            if fault.detail == "is missing":
                assert last not in here


def test_two_values_for_one_name_are_refused() -> None:
    with pytest.raises(RepeatedName, match='"seed" is there more than once'):
        parse_json('{"a": {"seed": 1, "seed": 1}}')
    text = '{"a": {"seed": 1}, "b": [{"seed": 2}, {}]}'
    assert parse_json(text) == json.loads(text)
