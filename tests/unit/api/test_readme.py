"""What `api/README.md` promises is what the code does: its routes, its moves between states, its commands."""

import re
from pathlib import Path

from fastapi.testclient import TestClient
from typer import Context
from typer.main import get_group

from api.cli.main import app
from core.states import MOVES, State

README = (Path(__file__).parents[3] / "api" / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """Of the table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def routes() -> set[str]:
    """`POST /x/a`, `b` are POST /x/a and POST /x/b; `GET /a`, `/b` are GET /a and GET /b."""
    found = []
    for first, *_ in rows("Routes"):
        for each in re.findall("`([^`]+)`", first):
            if " " in each:
                method, path = each.split(" ")
            else:
                path = each if each.startswith("/") else f"{path.rpartition('/')[0]}/{each}"
            found.append(f"{method} {path}")
    assert len(found) == len(set(found))
    return set(found)


def test_the_routes_are_those_of_the_document(shared_client: TestClient) -> None:
    paths = shared_client.get("/openapi.json").json()["paths"]
    documented = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes() == documented | {"GET /docs", "GET /openapi.json"}


def test_the_moves_are_those_of_the_states() -> None:
    moves = {
        (State(origin), State(to))
        for origins, targets, _ in rows("States")
        for origin in origins.split(", ")
        for to in targets.split(", ")
        if origin != "–"
    }
    assert moves == {(origin, to) for origin, targets in MOVES.items() for to in targets}


def test_every_command_is_named() -> None:
    group = get_group(app)
    ours, theirs = re.findall(r"`([a-z]+,[a-z {},\n]+)`", section("Exit codes"))
    named = re.sub(r" \{[^}]*\}", "", f"{ours}, {theirs}")
    assert set(re.split(r",\s+", named)) == set(group.list_commands(Context(group)))
