"""What nobody should send, to every route that takes a body, at every path and with every header: always a problem
below 500, and never a row written."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from core.store.session import Store
from core.store.tables import metadata

SPEC = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 3}


def deep(levels: int, opening: str, closing: str) -> str:
    return opening * levels + closing * levels


def with_(path: str, value: str) -> str:
    """A spec in which a field is this raw JSON."""
    *outer, last = path.split(".")
    body: dict[str, Any] = json.loads(json.dumps(SPEC))
    inner = body
    for key in outer:
        inner = inner.setdefault(key, {})
    inner[last] = "@"
    return json.dumps(body).replace('"@"', value)


HUGE = "9" * 5000
VALUES = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", HUGE, f"-{HUGE}", f"1e{HUGE}", "1e-400", "0.1"),
    *('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"a\\u0000b"', '"\\u202e"', '"' + "x" * 300 + '"', '"\\ufffe"'),
    *("null", "true", "[]", "{}", "[[]]", '{"a": 1}', '"1"', '""', "-1", deep(500, "[", "]")),
]
FIELDS = ["epochs", "seed", "optimizer.lr", "dataset.name", "importance_weight", "model.hidden", "dataset.base_class"]
FINE = [("optimizer.lr", "0.1")]
WHOLE = [
    *(
        "",
        " ",
        "{",
        "}",
        "[",
        "null",
        "true",
        "1",
        '"text"',
        "[]",
        "{}",
        "NaN",
        "\ufeff{}",
        "{'a': 1}",
        "{,}",
        "//",
        "a=b",
    ),
    *('{"a": 1,}', '{"epochs": 1, "epochs": 2}', "\x00", "{}{}", "[1,2", '{"\\ud800": 1}', '{"\\u0000": 1}'),
    *(
        deep(10_000, "[", "]"),
        deep(10_000, '{"a":', "}"),
        deep(100_000, "[", ""),
        "1" * 100_000,
        '"' + "x" * 900_000 + '"',
    ),
    json.dumps({f"field{i}": i for i in range(20_000)}),
    json.dumps(SPEC | {"__proto__": {"x": 1}}),
    json.dumps(SPEC | {"constructor": 1, "$ref": "#/"}),
    json.dumps(SPEC | {"name": "'; DROP TABLE experiments; --\0"}),
    json.dumps(
        SPEC | {"dataset": {"name": "image_folder", "folder": "../../etc", "base_class": "a", "other_class": "b"}}
    ),
    json.dumps(SPEC | {"dataset": {"name": "image_folder", "folder": "/etc", "base_class": "a", "other_class": "b"}}),
    json.dumps(SPEC | {"dataset": {"name": "image_folder", "folder": "..", "base_class": "a", "other_class": "b"}}),
    json.dumps(SPEC | {"dataset": {"name": "image_folder", "folder": "x", "base_class": "../x", "other_class": "b"}}),
    json.dumps(SPEC | {"dataset": {"name": "image_folder", "folder": "x", "base_class": "a\\b", "other_class": "b"}}),
]
RAW = [
    *(
        b"\xff\xfe",
        b"\x80{}",
        b'{"name": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32"),
        b"\x1f\x8b\x08",
    ),
    *(
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        b"epochs=3",
        b"\n" * 1000,
    ),
]
AXES = [
    *(
        '{"seed": [0, NaN]}',
        '{"seed": [1e400]}',
        '{"seed": 1}',
        '{"seed": []}',
        '{"seed": {}}',
        '{"seed": [[]]}',
        "[]",
        "null",
    ),
    *(
        '{"": [1]}',
        '{".": [1]}',
        '{"..": [1]}',
        '{"seed.": [1]}',
        '{".seed": [1]}',
        '{"\\ud800": [1]}',
        '{"\\u0000": [1]}',
    ),
    *(
        '{"seed": [true]}',
        '{"seed": ["\\ud800"]}',
        '{"name": ["\\u0000"]}',
        '{"seed": [1, 1]}',
        '{"seed": [1], "seed.x": [1]}',
    ),
    *('{"dataset": [{"name": "digits"}], "dataset.seed": [1]}', '{"__class__": [1]}', '{"dataset.__class__": ["x"]}'),
    json.dumps({"seed": list(range(100_000))}),
    json.dumps({f"a{i}": [0, 1] for i in range(2000)}),
    json.dumps({"a." * 5000 + "a": [0]}),
    json.dumps({"seed": [deep(300, "[", "]")]}),
    '{"seed": [' + deep(500, "[", "]") + "]}",
    '{"seed": [0], "seed": [1]}',
]


def bodies() -> Iterator[bytes]:
    yield from RAW
    for body in WHOLE:
        yield body.encode("utf-8", "surrogatepass")
    for field, value in itertools.product(FIELDS, VALUES):
        if (field, value) not in FINE:
            yield with_(field, value).encode()
    for axes in AXES:
        yield f'{{"base": {json.dumps(SPEC)}, "axes": {axes}}}'.encode()
        yield f'{{"axes": {axes}}}'.encode()
        yield f'{{"preset": "figure-2", "axes": {axes}}}'.encode()


BODIES = list(bodies())
PATHS = [
    *(
        "/experiments/0",
        "/experiments/-1",
        "/experiments/1.0",
        "/experiments/01",
        "/experiments/1e3",
        "/experiments/%00",
    ),
    *("/experiments/" + HUGE[:4000], "/experiments/9223372036854775808", "/experiments/١", "/experiments/1%2F..%2F2"),
    *(
        "/experiments/../workers/../etc",
        "/experiments/%2e%2e",
        "/experiments/NaN",
        "/experiments/1;x=1",
        "/experiments/ 1",
    ),
    *("/experiments/99/curve", "/experiments/99/events", "/experiments/99/weights"),
    *("/experiments/99/predictions", "/experiments/1/predictions?epoch=0", "/experiments/1/predictions?epoch=1e9"),
    *("/experiments/1/curve?after=-1", "/experiments/1/curve?after=" + HUGE, "/experiments/1/curve?after=NaN"),
    *("/experiments?cursor=-1", "/experiments?cursor=" + HUGE, "/experiments?limit=0", "/experiments?limit=1e3"),
    *("/experiments?sweep=0", "/experiments?sweep=a", "/experiments?state=%00", "/experiments?dataset=%00"),
    *(
        "/experiments?limit=1&limit=2",
        "/experiments?x=1",
        "/experiments?importance_weight=%00",
    ),
    *(
        "/sweeps/0",
        "/sweeps/x",
        "/sweeps/" + HUGE[:4000],
        "/sweeps/99",
        "/sweeps/99/figure.png",
        "/sweeps/1/figure.gif",
    ),
    *("/sweeps/1/figure.", "/sweeps/1/figure.svg?x=1", "/sweeps?limit=501", "/sweeps?cursor=x", "/sweeps/1?limit=-1"),
    *(
        f"/sweeps/1/figure.svg?{query}"
        for query in (
            *("bands=2", "scale=%00", "scale=", "rows=", "rows=%00", "rows=99", "rows=" + HUGE[:1000], "rows=%F0%9F"),
            *("with=1", "with=0", "with=-1", "with=1e3", "with=NaN", "with=" + HUGE[:1000], "with=2&with=2", "with="),
        )
    ),
    *(
        "/sweeps/1?cursor=" + HUGE,
        "/presets/x",
        "/presets/%00",
        "/presets/paper?as_drawn=2",
        "/presets/../../etc/passwd",
    ),
    *(
        "http://127.0.0.1:8000//",
        "http://127.0.0.1:8000//experiments",
        "/experiments//",
        "/.env",
        "/%",
        "/docs/x",
        "/nothing",
        "/nothing/",
        "/Experiments",
    ),
]
HEADERS = [
    *(
        {"Origin": origin}
        for origin in ("null", "http://evil.example", "http://127.0.0.1:8001", "https://127.0.0.1:8000", "")
    ),
    *({"Origin": origin} for origin in ("http://localhost:8000", "http://127.0.0.1:8000.evil.example", "file://", "*")),
    *(
        {"Host": host}
        for host in ("evil.example", "127.0.0.1.evil.example", "", "127.0.0.1:99999999", "[::2]", "0.0.0.0")
    ),
    *(
        {"Host": host}
        for host in ("localhost.evil.example:8000", "127.0.0.1@evil.example", "127.1", "LOCALHOST.", "a b")
    ),
    *({"Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "", "nonsense")),
    *(
        {"Content-Type": kind}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x")
    ),
    *({"Content-Encoding": coding} for coding in ("gzip", "br", "identity, gzip", "GZIP", "x", "chunked")),
    *({"Content-Length": n} for n in ("2000000", "999999999999")),
    *({"Idempotency-Key": key} for key in ("", " ", '""', '"', "a b", "a, b", "\x7f", "\x01", "a\tb", "x" * 256)),
    *({"Idempotency-Key": key} for key in ("x" * 1000, '"a', '"a"; b=1', '"\\"', '"' + "x" * 256 + '"')),
]


@pytest.fixture(scope="module")
def sweep_id(shared_client: TestClient) -> int:
    number: int = shared_client.post("/sweeps", json={"base": SPEC}).json()["id"]
    return number


def everything(client: TestClient) -> dict[str, list[Any]]:
    store: Store = client.app.state.store  # type: ignore[attr-defined]
    with store.reading() as tx:
        return {name: list(tx.execute(text(f"SELECT * FROM {name}"))) for name in metadata.tables}


def test_the_corpus_is_large() -> None:
    assert len(BODIES) * 4 + len(PATHS) + len(HEADERS) > 1000
    assert len(set(BODIES)) == len(BODIES)


@pytest.mark.parametrize(
    "route", ["POST /experiments", "POST /sweeps", "POST /sweeps/{id}/members", "PATCH /experiments/1"]
)
def test_bodies(shared_client: TestClient, sweep_id: int, route: str) -> None:
    before = everything(shared_client)
    method, path = route.format(id=sweep_id).split()
    for body in BODIES:
        response = shared_client.request(method, path, content=body, headers={"Content-Type": "application/json"})
        shows = f"{route} {body[:80]!r} … → {response.status_code} {response.text[:300]}"
        assert 400 <= response.status_code < 500, shows
        assert response.headers["content-type"] == "application/problem+json", shows
        assert len(response.content) < 200_000, shows
        answer = json.loads(response.text, parse_constant=pytest.fail)  # no NaN
        json.dumps(answer, ensure_ascii=False).encode()  # no half of a surrogate pair
    assert everything(shared_client) == before


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_paths(shared_client: TestClient, sweep_id: int, path: str) -> None:
    before = everything(shared_client)
    for method in ("GET", "POST", "DELETE", "PATCH", "PUT"):
        response = shared_client.request(method, path, headers={"Content-Type": "application/json"})
        assert 400 <= response.status_code < 500, (method, path, response.text[:300])
        assert response.headers["content-type"] == "application/problem+json"
    assert everything(shared_client) == before
    assert sweep_id


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_headers(shared_client: TestClient, sweep_id: int, headers: dict[str, str]) -> None:
    before = everything(shared_client)
    for method, path, body in (
        ("POST", "/experiments", SPEC | {"seed": 5}),
        ("POST", f"/sweeps/{sweep_id}/members", {"axes": {"seed": [5]}}),
    ):
        sent = {"Content-Type": "application/json", **headers}
        response = shared_client.request(method, path, content=json.dumps(body), headers=sent)
        assert 400 <= response.status_code < 500, (method, path, response.text[:300])
    if not set(headers) & {"Content-Type", "Content-Encoding", "Content-Length", "Idempotency-Key"}:
        for method, path in (
            ("POST", f"/sweeps/{sweep_id}/cancel"),
            ("DELETE", "/experiments/1"),
            ("GET", "/experiments"),
        ):
            assert shared_client.request(method, path, headers=headers).status_code == 403
    assert everything(shared_client) == before


def test_a_body_in_pieces_is_measured_as_it_comes(shared_client: TestClient) -> None:
    pieces = itertools.repeat(b" " * 65_536, 40)
    response = shared_client.post("/sweeps", content=pieces, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
