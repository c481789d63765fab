"""The picture of a sweep, or of several, over HTTP: as far as they have come, in each format, as it is asked for."""

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.states import State
from core.store import attempts
from core.store.session import Store
from tests.unit.api.builders import problem, spec
from tests.unit.store.builders import claimed, recorded, result

AXES = {"importance_weight": ["16:1", "1:1"], "seed": [0, 1]}
LEARNED = {"train_correct_base": 50, "train_correct_other": 50}


def a_sweep(client: TestClient, axes: dict[str, Any] = AXES, **fields: Any) -> int:
    base = fields.pop("base", {**spec(), "dataset": {"name": "digits"}, "model": {"name": "mlp"}})
    made = client.post("/sweeps", json={"base": base, "axes": axes, **fields})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def train(store: Store, count: int, less: int = 0, **fields: Any) -> None:
    """The first of the queue, to their ends, each a little lower out-of-domain than the one before."""
    for number in range(less, less + count):
        claim = claimed(store)
        for epoch in (1, 2):
            recorded(store, claim, result(epoch, base_out_of_domain=500 - number, **LEARNED | fields))
        with store.writing() as tx:
            last = result(3, base_out_of_domain=400 - number, **LEARNED | fields)
            attempts.finish(tx, claim, last, State.SUCCEEDED)


def words(client: TestClient, path: str) -> list[str]:
    """What stands in an SVG."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return re.findall(r"<text [^>]*>([^<]*)</text>", answer.text)


def titles(said: Iterable[str]) -> list[str]:
    """Of rows."""
    return [word for word in said if word.startswith(("sweep ", "weight_decay")) and "have rows" not in word]


@pytest.mark.parametrize(
    ("file_format", "media"), [("png", "image/png"), ("svg", "image/svg+xml"), ("pdf", "application/pdf")]
)
def test_a_figure_is_drawn_as_far_as_it_has_come(
    client: TestClient, store: Store, file_format: str, media: str
) -> None:
    number = a_sweep(client, AXES | {"optimizer.weight_decay": [0, 0.01]}, name="so far")
    here = f"/sweeps/{number}/figure.{file_format}"
    empty = client.get(here)
    assert (empty.status_code, empty.headers["content-type"]) == (200, media)
    claim = claimed(store)
    recorded(store, claim, result(1))
    recorded(store, claim, result(2))
    drawn = client.get(here)
    assert drawn.content != empty.content
    assert client.get(here).content == drawn.content
    if file_format == "svg":
        assert "so far (1 of 8 have rows)" in drawn.text
        for words in ("digits, mlp, epochs 3", "weight_decay 0.01", "16:1", "in-domain", "out-of-domain"):
            assert words in drawn.text


@pytest.mark.parametrize("true", ["true", "1"])
def test_bands_are_over_fit_seeds_and_why_there_is_none_is_said(client: TestClient, store: Store, true: str) -> None:
    here = f"/sweeps/{a_sweep(client)}/figure.svg?bands={true}"
    train(store, 2)  # of both weights the first seed
    assert "no bands: one fit seed of each weight" in words(client, here)
    train(store, 1, less=9)
    assert {"no band: 1:1 (one fit seed)", "95 % over fit seeds"} <= set(words(client, here))
    train(store, 1, train_correct_base=40)  # which so has not learned
    said = words(client, here)
    assert said.count("1 of 4 not fit") == 2
    plain = words(client, here.partition("?")[0])
    assert {"mean of seeds", "one seed"} <= set(plain)
    assert not [word for word in plain if "fit" in word]


def test_rows_are_chosen_by_number_and_by_title(client: TestClient) -> None:
    here = f"/sweeps/{a_sweep(client, AXES | {'optimizer.weight_decay': [0, 0.01, 0.02]})}/figure.svg"
    assert len(titles(words(client, here))) == 3
    assert titles(words(client, f"{here}?rows=1,3")) == ["weight_decay 0", "weight_decay 0.02"]
    assert titles(words(client, f"{here}?rows=decay 0.01")) == ["weight_decay 0.01"]
    (fault,) = problem(client.get(f"{here}?rows=dropout"), 422)["errors"]
    assert fault == {
        "pointer": "?rows",
        "detail": "is no row of this figure",
        "value": "dropout",
        "allowed": "1 (weight_decay 0), 2 (weight_decay 0.01), 3 (weight_decay 0.02)",
    }
    (fault,) = problem(client.get(f"{here}?rows="), 422)["errors"]
    assert (fault["detail"], fault["allowed"]) == ("is too short", "text of 1 to 200 characters")


def test_the_title_counts_the_rows_of_what_is_drawn(client: TestClient, store: Store) -> None:
    here = f"/sweeps/{a_sweep(client, {'optimizer.weight_decay': [0, 0.01]}, name='mine')}/figure.svg"
    train(store, 1)
    assert "mine (1 of 2 have rows)" in words(client, here)
    assert "mine (1 of 1 have rows)" in words(client, f"{here}?rows=1")
    assert "mine (0 of 1 have rows)" in words(client, f"{here}?rows=2")


def test_the_scale_of_the_epochs_is_as_asked(client: TestClient, store: Store) -> None:
    here = f"/sweeps/{a_sweep(client)}/figure.svg"
    train(store, 4)
    assert [words(client, here + query).count("epoch") for query in ("", "?scale=linear", "?scale=log")] == [2, 2, 0]
    (fault,) = problem(client.get(f"{here}?scale=square"), 422)["errors"]
    assert (fault["pointer"], fault["allowed"]) == ("?scale", "linear, log")


def test_sweeps_are_drawn_below_each_other_each_under_its_number(client: TestClient, store: Store) -> None:
    first, second = a_sweep(client, name="mine"), a_sweep(client, {"optimizer.weight_decay": [0, 0.01]})
    third = a_sweep(client, preset="figure-2", base={"dataset": {"name": "digits"}, "model": {"name": "mlp"}})
    train(store, 4)
    said = words(client, f"/sweeps/{first}/figure.svg?with={third}&with={second}")
    assert said.count(f"sweeps {first}, {third} and {second} (4 of 10 have rows)") == 1
    assert titles(said) == [
        f"sweep {first}, mine: weight_decay 0, epochs 3",
        f"sweep {third}, figure-2: weight_decay 0, epochs 1000",
        f"sweep {second}: weight_decay 0, epochs 3",
        f"sweep {second}: weight_decay 0.01, epochs 3",
    ]
    chosen = words(client, f"/sweeps/{first}/figure.svg?with={second}&rows=3")
    assert titles(chosen) == [f"sweep {second}: weight_decay 0.01"]
    assert f"sweeps {first} and {second} (0 of 1 have rows)" in chosen


def test_a_long_name_hides_no_difference(client: TestClient) -> None:
    first, second = a_sweep(client, name="very long " * 20), a_sweep(client, {"optimizer.weight_decay": [0, 0.01]})
    first_row, *_ = titles(words(client, f"/sweeps/{first}/figure.svg?with={second}"))
    assert first_row.startswith(f"sweep {first}, very long very long")
    assert first_row.endswith("…: weight_decay 0")


@pytest.mark.parametrize(
    ("query", "status", "detail", "value", "allowed"),
    [
        ("with=99", 404, "names no sweep that there is", 99, None),
        ("with=1", 422, "names a sweep twice", 1, None),
        ("with=2&with=2", 422, "names a sweep twice", 2, None),
        ("with=0", 422, "is out of range", "0", "an integer at least 1"),
        ("with=x&with=2", 422, "is not an integer", "x", "an integer at least 1"),
        ("&".join(f"with={n}" for n in range(2, 10)), 422, "is too long", None, "a list of at most 7"),
    ],
)
def test_sweeps_that_cannot_be_beside_it_are_refused(
    client: TestClient, query: str, status: int, detail: str, value: object, allowed: str | None
) -> None:
    assert (a_sweep(client), a_sweep(client)) == (1, 2)
    (fault,) = problem(client.get(f"/sweeps/1/figure.svg?{query}"), status)["errors"]
    assert (fault["pointer"], fault["detail"], fault["allowed"]) == ("?with", detail, allowed)
    assert value in (None, fault["value"])


def test_what_is_said_once_is_refused_twice(client: TestClient) -> None:
    number = a_sweep(client)
    for name, value in (("bands", "true"), ("rows", "1"), ("scale", "log")):
        (fault,) = problem(client.get(f"/sweeps/{number}/figure.svg?{name}={value}&{name}={value}"), 422)["errors"]
        assert (fault["pointer"], fault["detail"]) == (f"?{name}", "is there more than once")
    (fault,) = problem(client.get(f"/sweeps/{number}/figure.svg?bands=perhaps"), 422)["errors"]
    assert (fault["pointer"], fault["allowed"]) == ("?bands", "true or false")


def test_several_sweeps_share_the_lines_that_a_figure_may_have(client: TestClient) -> None:
    seeds = {"seed": list(range(501))}
    first, second = a_sweep(client, seeds), a_sweep(client, AXES)
    said = words(client, f"/sweeps/{first}/figure.svg?with={second}")
    assert f"sweeps {first} and {second} (the first 504 of 505) (0 of 504 have rows)" in said


def test_what_was_published_is_marked_in_figure_and_report_of_the_same_network(client: TestClient) -> None:
    mark = "read off the paper&#x27;s figure", "read off the paper's figure"

    def is_marked(path: str) -> bool:
        return any(word in mark for word in words(client, path))

    number = a_sweep(client, {"optimizer.weight_decay": [0, 0.01]}, preset="figure-2", base={"epochs": 3})
    here = f"/sweeps/{number}/figure.svg"
    assert [is_marked(here + query) for query in ("", "?rows=1", "?rows=2")] == [True, True, False]
    report = client.get(f"/sweeps/{number}/report").text
    pictures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", report)
    assert "read off the paper" in b64decode(pictures[0]).decode()
    assert client.get(f"/sweeps/{number}/report.md").text.count("published in-domain") == 1  # without L2
    digits = a_sweep(client, {"seed": [0]}, preset="figure-2", base={"dataset": {"name": "digits"}})
    assert not is_marked(f"/sweeps/{digits}/figure.svg")
