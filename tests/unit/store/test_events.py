"""What an event may be: of a kind that the code knows, or of one that only a newer Ballast does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core.states import State
from core.store import events
from core.store.events import EventKind
from core.store.session import Store
from tests.unit.store.builders import event_kinds, submitted

SOURCES = [file for room in ("core/store", "worker") for file in sorted(Path(room).glob("*.py"))]
STATES = {EventKind(state) for state in State if state is not State.RUNNING}  # which is told as CLAIMED
RECORDERS = {"record", "record_all", "note", "move", "end", "_add_event"}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            partly = name == "partial" and isinstance(node.args[0], ast.Attribute) and node.args[0].attr in RECORDERS
            if name in RECORDERS or partly:
                yield node


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_no_kind_of_an_event_is_written_as_a_string(source: Path) -> None:
    for call in calls(ast.parse(source.read_text())):
        for given in (*call.args, *(keyword.value for keyword in call.keywords)):
            for node in ast.walk(given):
                assert not (isinstance(node, ast.Constant) and node.value in set(EventKind)), f"line {node.lineno}"


def test_every_kind_is_recorded_somewhere() -> None:
    named = {
        node.attr
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "EventKind"
    }
    assert named == {kind.name for kind in set(EventKind) - STATES}


def test_a_kind_of_a_newer_ballast_is_read_as_it_is(store: Store) -> None:
    experiment_id = submitted(store)
    with store.writing() as tx:
        tx.execute(
            text("INSERT INTO events (experiment_id, at_ms, kind, attempt) VALUES (:id, 1, 'dreamt', 0)"),
            {"id": experiment_id},
        )
    assert event_kinds(store, experiment_id) == [EventKind.SUBMITTED, "dreamt"]
    with store.reading() as tx:
        assert all(type(event.kind) is str for event in events.read(tx, experiment_id))
