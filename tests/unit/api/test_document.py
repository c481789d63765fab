"""The OpenAPI document tells the truth; and an API host loads nothing that it does not need."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.main import OPEN_ROUTERS, ROUTERS
from core.spec import Spec
from tests.unit.api.builders import Json, problem

ROOT = Path(__file__).parents[3]
WISHES = ("cancel", "pause", "resume", "retry")
HEAVY = ("torch", "numpy", "scipy", "matplotlib", "alembic")


@pytest.fixture
def client(shared_client: TestClient) -> TestClient:
    return shared_client


@pytest.fixture
def document(client: TestClient) -> Json:
    body: Json = client.get("/openapi.json").json()
    return body


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key == "$ref")
        for key, inner in value.items():
            if key == "mapping":
                yield from inner.values()
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_document_lists_the_routes_of_the_contract_and_no_other(document: Json) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == {
        ("POST", "/experiments"),
        ("POST", "/experiments/{id}/extend"),
        ("GET", "/experiments"),
        ("GET", "/experiments/{id}"),
        ("GET", "/experiments/{id}/curve"),
        ("GET", "/experiments/{id}/events"),
        ("PATCH", "/experiments/{id}"),
        ("DELETE", "/experiments/{id}"),
        ("GET", "/experiments/{id}/predictions"),
        ("GET", "/experiments/{id}/weights"),
        *(("POST", f"/{things}/{{id}}/{wish}") for things in ("experiments", "sweeps") for wish in WISHES),
        ("POST", "/sweeps"),
        ("GET", "/sweeps"),
        ("GET", "/sweeps/{id}"),
        ("PATCH", "/sweeps/{id}"),
        ("DELETE", "/sweeps/{id}"),
        ("POST", "/sweeps/{id}/members"),
        ("POST", "/sweeps/{id}/extend"),
        ("GET", "/sweeps/{id}/figure.png"),
        ("GET", "/sweeps/{id}/figure.svg"),
        ("GET", "/sweeps/{id}/figure.pdf"),
        ("GET", "/sweeps/{id}/effect"),
        ("GET", "/sweeps/{id}/effect.svg"),
        ("GET", "/sweeps/{id}/report"),
        ("GET", "/sweeps/{id}/report.md"),
        ("GET", "/presets"),
        ("GET", "/presets/{name}"),
        ("GET", "/"),
        ("GET", "/workers"),
        ("GET", "/queue/stats"),
        ("GET", "/metrics"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/version"),
        ("GET", "/sign-in"),
        ("POST", "/sign-in"),
        ("POST", "/sign-out"),
    }


def test_every_reference_leads_to_a_schema(document: Json) -> None:
    schemas = document["components"]["schemas"]
    found = set(references(document))
    assert found
    assert found == {f"#/components/schemas/{reference.rpartition('/')[2]}" for reference in found}
    assert {reference.rpartition("/")[2] for reference in found} <= set(schemas)


def test_every_error_of_every_route_is_documented_as_a_problem(document: Json) -> None:
    assert "HTTPValidationError" not in json.dumps(document)
    for method, path, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"403", "422", "500", "503"} <= set(errors), (method, path)
        if "{id}" in path:
            assert "404" in errors
        for answer in errors.values():
            assert answer["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
    assert {"400", "413", "415"} <= set(document["paths"]["/experiments"]["post"]["responses"])
    assert "409" in document["paths"]["/experiments/{id}/cancel"]["post"]["responses"]


def test_a_refusal_looks_as_documented(client: TestClient, document: Json) -> None:
    schemas = document["components"]["schemas"]
    refusal = problem(client.post("/experiments", json={}), 422)
    assert set(refusal) == set(schemas["Problem"]["properties"])
    assert set(refusal["errors"][0]) == set(schemas["FaultOut"]["properties"])


def test_the_examples_are_specs_and_every_route_has_a_sentence(document: Json) -> None:
    examples = document["paths"]["/experiments"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 2
    for example in examples.values():
        Spec.model_validate(example["value"])
    for method, path, operation in operations(document):
        assert operation["description"], (method, path)
        assert operation["tags"]


def test_every_operation_is_listed_by_a_name_of_its_own_in_plain_words(document: Json) -> None:
    names = [operation["summary"] for _, _, operation in operations(document)]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len({name.lower() for name in names}) == len(names)
    assert len(set(ids)) == len(ids)
    assert {"Submit Experiment", "Show Experiment", "Delete Sweep", "Cancel Experiment"} <= set(names)
    assert all(re.fullmatch(r"[A-Za-z]+( [A-Za-z]+){0,3}", name) for name in names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", each) for each in ids)


def test_every_route_is_a_function_that_bears_its_name(client: TestClient) -> None:
    routes = [route for router in (*ROUTERS, *OPEN_ROUTERS) for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) == len(list(operations(client.get("/openapi.json").json())))
    for route in routes:
        assert f"def {route.name}(" in inspect.getsource(route.endpoint), route.path


def test_a_bad_id_is_documented_with_an_example(document: Json) -> None:
    (parameter,) = document["paths"]["/experiments/{id}"]["get"]["parameters"]
    assert parameter["schema"]["type"] == "integer"
    assert parameter["examples"] if "examples" in parameter else parameter["schema"]["examples"] == [417]


ONCE = ("/experiments", "/experiments/{id}/extend", "/sweeps", "/sweeps/{id}/members", "/sweeps/{id}/extend")


def test_what_makes_something_once_is_documented_where_it_does(document: Json) -> None:
    for method, path, operation in operations(document):
        sent = [each for each in operation.get("parameters", []) if each["in"] == "header"]
        answered = {status for status, answer in operation["responses"].items() if "headers" in answer}
        if method == "POST" and path in ONCE:
            (key,) = sent
            assert (key["name"], key["required"]) == ("Idempotency-Key", False)
            assert "24 hours" in key["description"]
            assert set(operation["responses"]["201"]["headers"]) == {"Location", "Idempotency-Replayed"}
            assert answered == ({"200", "201"} if path == "/experiments" else {"201"})
        else:
            assert sent == []
            assert answered == set()


def test_the_pattern_of_a_key_is_what_is_taken(client: TestClient, document: Json) -> None:
    (parameter,) = (each for each in document["paths"]["/sweeps"]["post"]["parameters"] if each["in"] == "header")
    pattern = parameter["schema"]["anyOf"][0]["pattern"]
    odd = ("a", "~" * 255, '"a"', 'a"', "\\", "", '""', '"', '"a', "a b", "\x7f", "a" * 256, '"\\"')
    for key in odd:
        response = client.post("/sweeps", json={"preset": "figure-9"}, headers={"Idempotency-Key": key})
        pointers = [fault["pointer"] for fault in problem(response, 422)["errors"]]
        assert ("Idempotency-Key" not in pointers) == bool(re.search(pattern, key))


def test_the_document_can_be_read_by_people_without_internet(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    parts = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(parts) == 3
    for part in parts:  # a path, so of this host
        assert part.startswith("/")
        assert not part.startswith("//")
        assert client.get(part).status_code == 200


def python(code: str, cwd: Path, *options: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["api.main", "api.client", "api.cli.main"])
def test_importing_the_api_loads_nothing_that_trains_draws_or_migrates(tmp_path: Path, module: str) -> None:
    loaded = python(f"import {module}, sys; print(sorted(set({HEAVY}) & set(sys.modules)))", tmp_path)
    assert loaded == "[]"


def test_making_the_application_loads_nothing_of_it_either(tmp_path: Path) -> None:
    code = (
        "import sys; from api.main import create_app; from core.broker.doorbell import Doorbell;"
        "from core.settings import load_settings; from core.store.session import Store;"
        "from core.store.files import Files;"
        f"settings = load_settings(home={str(tmp_path)!r}, database_url='', broker_url='');"
        "store, doorbell, files = Store(settings.database_url), Doorbell(settings), Files(settings.checkpoint_url);"
        "create_app(store, doorbell, files, settings.home).openapi();"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    assert python(code, tmp_path) == "[]"


def test_a_folder_with_its_own_api_and_core_does_not_come_before_ours(tmp_path: Path) -> None:
    for package in ("api", "core", "worker", "migrations"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('theirs')")
    code = "import api.main, core.spec, worker, migrations; print(api.__file__, core.__file__)"
    assert python(code, tmp_path, "-P").split() == [str(ROOT / part / "__init__.py") for part in ("api", "core")]
