"""Dotted paths and pointers: what is put is there and nothing else changes; leaves put at their paths are the value."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.paths import (
    NoObject,
    enclosing_paths,
    keys_of,
    keys_of_pointer,
    leaves_by_path,
    lies_inside,
    path_of,
    pointer,
    put,
    value_at,
    without,
)

Json = dict[str, Any]

_keys = st.text("abcé/~ ", max_size=3)
_few_keys = st.sampled_from("abc")  # so that paths meet
_leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


def _objects(min_size: int) -> st.SearchStrategy[Json]:
    values = st.recursive(_leaves, lambda inner: st.dictionaries(_few_keys, inner, min_size=min_size, max_size=3))
    return st.dictionaries(_few_keys, values, max_size=3)


@given(_objects(min_size=0), st.lists(_few_keys, min_size=1, max_size=4), _leaves)
def test_what_is_put_is_there_and_nothing_that_others_share_has_changed(
    value: Json, keys: list[str], leaf: Any
) -> None:
    before, changed = copy.deepcopy(value), dict(value)
    on_the_way = [value_at(value, keys[:end]) for end in range(1, len(keys))]
    if all(isinstance(each, dict | None) for each in on_the_way):
        put(changed, keys, leaf)
        assert value_at(changed, keys) == leaf
        assert without(changed, keys[:1]) == without(value, keys[:1])
    else:
        with pytest.raises(NoObject) as refused:
            put(changed, keys, leaf)
        assert refused.value.value in on_the_way
    assert value == before


@given(_objects(min_size=1))
def test_leaves_put_at_their_paths_are_the_value_again(value: Json) -> None:
    again: Json = {}
    for path, leaf in leaves_by_path(value).items():
        assert value_at(value, keys_of(path)) == leaf
        put(again, keys_of(path), leaf)
    assert again == value


@given(_objects(min_size=0), st.lists(_few_keys, min_size=1, max_size=4))
def test_what_is_taken_away_is_not_there_and_nothing_else_is_gone(value: Json, keys: list[str]) -> None:
    nothing = object()
    left = without(value, keys)
    assert value_at(left, keys, nothing) is nothing
    path = path_of(keys)
    rest = {at: leaf for at, leaf in leaves_by_path(value).items() if path not in (at, *enclosing_paths(at))}
    assert leaves_by_path(left) == rest


@given(st.lists(_keys, min_size=1, max_size=4))
def test_keys_come_back_from_a_path_and_from_a_pointer(keys: list[str]) -> None:
    assert keys_of(path_of(keys)) == keys
    assert keys_of_pointer(pointer(*keys)) == keys


def test_a_pointer_tells_its_slashes_from_those_of_a_key() -> None:
    assert pointer() == ""
    assert pointer("axes", "a/b~1", 0) == "/axes/a~1b~01/0"
    assert keys_of_pointer("/a~1b~01/0") == ["a/b~1", "0"]
    assert keys_of_pointer("") == []


def test_a_path_lies_inside_all_its_beginnings() -> None:
    assert enclosing_paths("a.b.c") == ["a", "a.b"]
    assert enclosing_paths("a") == []
    assert [outer for outer in ("a", "a.b", "a.b.c", "a.", "b", "") if lies_inside("a.b.c", outer)] == ["a", "a.b"]


@pytest.mark.parametrize(
    ("keys", "there"),
    [
        ([], {"a": [1, {"b": None}]}),
        (["a", 0], 1),
        (["a", 1, "b"], None),
        (["a", 2], "–"),
        (["a", "b"], "–"),
        (["b"], "–"),
    ],
)
def test_what_lies_nowhere_is_told_from_null(keys: list[int | str], there: Any) -> None:
    assert value_at({"a": [1, {"b": None}]}, keys, default="–") == there


def test_an_object_is_made_where_there_is_none_or_null_and_not_of_a_value() -> None:
    spec: Json = {"optimizer": None, "loss": "cross_entropy"}
    put(spec, ["optimizer", "lr"], 0.1)
    put(spec, ["model", "name"], "mlp")
    assert spec == {"optimizer": {"lr": 0.1}, "loss": "cross_entropy", "model": {"name": "mlp"}}
    with pytest.raises(NoObject) as refused:
        put(spec, ["loss", "name"], "cross_entropy")
    assert refused.value.value == "cross_entropy"
