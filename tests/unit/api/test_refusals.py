"""Whatever is sent that should not be: a problem that names it, a 4xx and never a 500, and nothing written."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.api.builders import Json, problem, raw_messages, spec

JSON = {"content-type": "application/json"}
SHORT = '{"dataset": {"name": "mnist"}, "importance_weight": "16:1"'


@pytest.fixture
def client(shared_client: TestClient) -> TestClient:
    return shared_client


@pytest.fixture(autouse=True)
def _nothing_is_written(client: TestClient) -> Iterator[None]:
    yield
    assert client.get("/experiments").json()["items"] == []


def post(client: TestClient, content: Any, **headers: str | bytes) -> Any:
    return client.post("/experiments", content=content, headers={**JSON, **headers})


@pytest.mark.parametrize(
    ("more", "pointer", "value"),
    [
        ('"optimizer": {"lr": NaN}', "/optimizer/lr", "NaN"),
        ('"optimizer": {"lr": 1e400}', "/optimizer/lr", "Infinity"),
        ('"optimizer": {"lr": -Infinity}', "/optimizer/lr", "-Infinity"),
        ('"seed": NaN', "/seed", "NaN"),
        ('"name": "\\ud800"', "/name", "?"),
        ('"name": "\\u0000"', "/name", "\x00"),
        ('"name": "a\\u001b[2J"', "/name", "a\x1b[2J"),
        (f'"name": "{"x" * 201}"', "/name", "x" * 100),
        ('"epochs": 0', "/epochs", 0),
        ('"epochs": 1e2', "/epochs", 100.0),
        (f'"epochs": {2**64}', "/epochs", 2**64),
        (f'"name": {-(10**99)}', "/name", -(10**99)),
        (f'"epochs": {10**100}', "/epochs", "a number of more than 100 digits"),
        *((f'"seed": {sign}{"9" * 5001}', "/seed", "a number of more than 100 digits") for sign in ("", "-")),
        (f'"batch_size": {"1" * 100_000}', "/batch_size", "a number of more than 100 digits"),
        (f'"optimizer": {{"lr": {"9" * 5001}}}', "/optimizer/lr", "a number of more than 100 digits"),
        (f'"name": {"9" * 5001}', "/name", "a number of more than 100 digits"),
        (f'"x": {"9" * 5001}', "/x", "a number of more than 100 digits"),
        ('"\\ud800": 1', "/?", 1),
        ('"optimizer": {"lr": 0.1, "x\\udfff": [1]}', "/optimizer/x?", "[1]"),
        ('"model": {"name": "cnn", "\\ud800": 1}', "/model/?", 1),
        ('"model": {"width": 16, "hidden": 4}', "/model/hidden", 4),
        ('"model": {"hidden": 4}', "/model/hidden", 4),
        ('"model": {"name": null}', "/model/name", None),
        ('"loss": {"name": "hinge"}', "/loss/name", "hinge"),
        ('"loss": {"name": "focal", "gamma": -1}', "/loss/gamma", -1),
        ('"loss": {"name": "polynomial", "alpha": 0}', "/loss/alpha", 0),
        ('"loss": {"name": "polynomial", "polynomial": 0}', "/loss/polynomial", 0),
        ('"loss": {"gamma": 2}', "/loss/gamma", 2),
        ('"epochs": {"\\ud800": NaN}', "/epochs", '{"\\ud800": NaN}'),
        ('"label_noise": 0.1', "/label_noise", 0.1),
        ('"a/b": 1', "/a~1b", 1),
        ('"model": {"name": "cnn", "cnn": 1}', "/model/cnn", 1),
        ('"model": {"name": "vgg"}', "/model/name", "vgg"),
        ('"model": {"name": "\\udcff"}', "/model/name", "?"),
        ('"batch_size": "16"', "/batch_size", "16"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_allowed(
    client: TestClient, more: str, pointer: str, value: Any
) -> None:
    refusal = problem(post(client, f"{SHORT}, {more}}}"), 422)
    (fault,) = refusal["errors"]
    assert (fault["pointer"], fault["value"]) == (pointer, value)
    assert fault["allowed"]
    assert refusal["detail"].startswith(f"{pointer} {fault['detail']}")


@pytest.mark.parametrize(
    ("sweep", "pointer"),
    [
        ('{"base": @, "axes": {"\\ud800": [1]}}', "/axes/?/0"),
        ('{"base": @, "axes": {"seed": [1], "\\ud800.x": [1]}}', "/axes/?.x/0"),
        ('{"base": @, "axes": {"optimizer.a\\udfff": [1]}}', "/axes/optimizer.a?/0"),
        ('{"base": @, "axes": {"optimizer": [{}, {"\\udfff": 1}]}}', "/axes/optimizer/1/?"),
        ('{"base": @, "axes": {"\\ud800": []}}', "/axes/?"),
        ('{"preset": "figure-2", "axes": {"\\ud800": [1]}}', "/axes/?/0"),
        ('{"base": {"\\ud800": 1}, "axes": {"seed": [1]}}', "/base/?"),
        ('{"\\ud800": 1}', "/?"),
        ('{"base": @, "axes": {"seed": [1, %s]}}' % ("9" * 5001), "/axes/seed/1"),
        ('{"base": {"seed": %s}}' % ("9" * 5001), "/base/seed"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_told_where_it_was_sent_in_unicode(
    client: TestClient, sweep: str, pointer: str
) -> None:
    response = client.post("/sweeps", content=sweep.replace("@", SHORT + "}"), headers=JSON)
    refusal = problem(response, 422)
    assert pointer in [fault["pointer"] for fault in refusal["errors"]]
    json.dumps(refusal, ensure_ascii=False).encode()


def test_a_number_that_python_does_not_read_is_named_on_every_route(client: TestClient) -> None:
    huge = "9" * 5001
    for method, path, field in (("PATCH", "/experiments/1", "priority"), ("POST", "/experiments/1/extend", "epochs")):
        response = client.request(method, path, content=f'{{"{field}": {huge}}}', headers=JSON)
        (fault,) = problem(response, 422)["errors"]
        assert (fault["pointer"], fault["detail"]) == (f"/{field}", "is out of range")


def test_every_bad_field_is_named(client: TestClient) -> None:
    refusal = problem(client.post("/experiments", json={"dataset": {"name": "mnist", "seed": -1}, "epochs": 0}), 422)
    assert {fault["pointer"] for fault in refusal["errors"]} == {"/dataset/seed", "/epochs", "/importance_weight"}
    assert refusal["detail"].endswith("; and 2 more")


@pytest.mark.parametrize("body", ["null", "[]", "5", '"spec"', "true", "[{}]"])
def test_a_body_that_is_no_object_is_refused(client: TestClient, body: str) -> None:
    (fault,) = problem(post(client, body), 422)["errors"]
    assert (fault["pointer"], fault["detail"], fault["allowed"]) == ("", "is not an object", "an object")


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"{'dataset': 1}", b"\xff\xfe\xfd", b"\x00", b" ", b"{}{}", b"\xef\xbb\xbf{}", b'{"a": 01}'),
        *(b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        SHORT.encode() + b', "name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_readable_json_is_refused(client: TestClient, body: bytes) -> None:
    response = post(client, body)
    assert response.status_code in (400, 422)
    problem(response, response.status_code)


def test_depth_that_python_can_still_read_is_refused_too(client: TestClient) -> None:
    for depth in (50, 200, 500, 900, 990):
        response = post(client, f'{SHORT}, "name": {"[" * depth}{"]" * depth}}}')
        problem(response, 422 if depth < 500 else response.status_code)
        assert response.status_code in (400, 422)


def test_an_empty_body_is_refused(client: TestClient) -> None:
    (fault,) = problem(post(client, b""), 422)["errors"]
    assert (fault["pointer"], fault["detail"], fault["allowed"]) == ("", "is missing", "an object")


@pytest.mark.parametrize(
    "body",
    [
        SHORT + ', "epochs": 5, "epochs": 5000}',
        SHORT + ', "dataset": {"name": "digits"}}',
        '{"dataset": {"name": "mnist", "seed": 1, "seed": 2}, "importance_weight": "16:1"}',
        '{"dataset": {"name": "mnist"}, "importance_weight": "16:1", "\\u0069mportance_weight": "1:16"}',
    ],
)
def test_a_field_that_is_there_twice_is_refused_and_named(client: TestClient, body: str) -> None:
    """Of two values one would be ignored, without a word."""
    (fault,) = problem(post(client, body), 422)["errors"]
    assert fault["detail"].startswith("is ambiguous: ")
    assert fault["detail"].endswith(" is there more than once")


TWO_MIB = 2 * 1024 * 1024


def padded(size: int) -> bytes:
    start = f'{SHORT}, "name": "'.encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def in_chunks(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 65_536):
        yield body[at : at + 65_536]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1024 * 1024 + 1, TWO_MIB])
def test_a_body_above_a_mebibyte_is_too_large_announced_or_chunked(
    client: TestClient, size: int, chunked: bool
) -> None:
    body = padded(size)
    response = post(client, in_chunks(body) if chunked else body)
    assert problem(response, 413)["detail"] == "the body is larger than 1048576 bytes"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_a_mebibyte_is_read_and_its_fault_cut_short(client: TestClient, chunked: bool) -> None:
    body = padded(1024 * 1024)
    response = post(client, in_chunks(body) if chunked else body)
    assert problem(response, 422)["errors"][0]["value"] == "x" * 100
    assert len(response.content) < 2000


def test_of_80000_faults_the_first_hundred_are_named(client: TestClient) -> None:
    body = json.dumps({f"k{number}": 1 for number in range(80_000)}).encode()
    assert len(body) <= 1024 * 1024
    refusal = problem(post(client, body), 422)
    assert len(refusal["errors"]) == 100
    assert refusal["detail"].endswith("; and 80001 more")


@pytest.mark.parametrize("length", [b"-1", b"x", b"1e3", b"9" * 30, b"\xb3", b"0"])
def test_a_wrong_content_length_is_no_way_around(client: TestClient, length: bytes) -> None:
    response = post(client, padded(TWO_MIB), **{"content-length": length})
    assert response.status_code in (400, 413)


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/problem+json"],
)
def test_another_media_type_is_refused(client: TestClient, media_type: str) -> None:
    """A form can be sent by any page of the web, without asking."""
    refusal = problem(
        client.post("/experiments", content=json.dumps(spec()), headers={"content-type": media_type}), 415
    )
    assert refusal["detail"] == "send the body as application/json"


def test_no_media_type_is_refused(client: TestClient) -> None:
    problem(client.post("/experiments", content=json.dumps(spec())), 415)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "GZIP", "identity, gzip", "x"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_says_it_is_packed_is_refused(client: TestClient, coding: str, packed: bool) -> None:
    body = json.dumps(spec()).encode()
    response = post(client, gzip.compress(body) if packed else body, **{"content-encoding": coding})
    assert problem(response, 415)["detail"] == "send the body as it is, without a Content-Encoding"
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity, identity"])
def test_a_body_that_says_it_is_not_packed_is_read(client: TestClient, coding: str) -> None:
    (fault,) = problem(post(client, f'{SHORT}, "seed": -1}}', **{"content-encoding": coding}), 422)["errors"]
    assert fault["pointer"] == "/seed"


def test_a_body_that_breaks_off_is_no_fault_of_ours(client: TestClient) -> None:
    answered = raw_messages(client, "POST", "/experiments", JSON, [{"type": "http.disconnect"}])
    assert answered[0]["status"] == 400


@pytest.mark.parametrize("priority", ["-101", "101", "1.5", "x", "", "9" * 5000, "nan", "%00"])
def test_a_priority_out_of_range_is_refused(client: TestClient, priority: str) -> None:
    (fault,) = problem(client.post(f"/experiments?priority={priority}", json=spec()), 422)["errors"]
    assert (fault["pointer"], fault["allowed"]) == ("?priority", "an integer from -100 to 100")


DATASETS = "digits, mnist, fashion_mnist, cifar10, image_folder, two_gaussians, moons, blobs, points"
WEIGHTS = 'base:other, such as "16:1": two plain numbers above 0, at most 1000000, at most six decimals'


@pytest.mark.parametrize(
    ("query", "pointer", "allowed"),
    [
        ("limit=0", "?limit", "an integer from 1 to 500"),
        ("limit=501", "?limit", "an integer from 1 to 500"),
        ("limit=x", "?limit", "an integer from 1 to 500"),
        ("state=done", "?state", "queued, running, paused, succeeded, failed, cancelled"),
        ("cursor=x", "?cursor", "text that matches ^[0-9]{1,18}$"),
        ("cursor=-1", "?cursor", "text that matches ^[0-9]{1,18}$"),
        ("cursor=" + "9" * 19, "?cursor", "text that matches ^[0-9]{1,18}$"),
        ("cursor=1%0A", "?cursor", "text that matches ^[0-9]{1,18}$"),
        *((f"dataset={odd}", "?dataset", DATASETS) for odd in ("", "%27%20OR%201=1", "%F0%9F%90%95", "%ff%fe")),
        ("dataset=imagenet", "?dataset", DATASETS),
        ("model=CNN", "?model", "cnn, resnet, mlp, linear"),
        ("importance_weight=16", "?importance_weight", WEIGHTS),
        ("importance_weight=16:1:1", "?importance_weight", WEIGHTS),
        ("stat=queued", "?stat", "state, sweep, dataset, model, importance_weight, limit, cursor"),
        ("%FF=1", "?\ufffd", "state, sweep, dataset, model, importance_weight, limit, cursor"),
        ("state=queued&state=running", "?state", None),
    ],
)
def test_a_bad_query_parameter_is_named(client: TestClient, query: str, pointer: str, allowed: str | None) -> None:
    (fault,) = problem(client.get(f"/experiments?{query}"), 422)["errors"]
    assert (fault["pointer"], fault["allowed"]) == (pointer, allowed)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/livez", "/readyz", "/version", "/workers")),
        *(("GET", f"/experiments/1{path}") for path in ("", "/curve", "/events")),
        ("POST", "/experiments/1/cancel"),
    ],
)
def test_no_route_ignores_a_query_parameter_that_it_does_not_know(client: TestClient, method: str, path: str) -> None:
    assert "?dry_run" in problem(client.request(method, f"{path}?dry_run=true"), 422)["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/nope/",
        "/experiments//",
        "/static-offline-docs/",
        "/experiments/1/nope",
        "/experiments/1/curve/2",
        "/%00",
        "/%FF%FE",
        "//",
    ],
)
def test_a_path_where_nothing_is_is_not_found(client: TestClient, path: str) -> None:
    refusal = problem(client.get(f"http://127.0.0.1:8000{path}"), 404)
    refusal["instance"].encode("ascii")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/experiments", {"GET", "HEAD", "POST"}),
        ("PUT", "/experiments/", {"GET", "HEAD", "POST"}),
        ("DELETE", "/experiments", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/experiments", {"GET", "HEAD", "POST"}),
        ("POST", "/experiments/1", {"DELETE", "GET", "HEAD", "PATCH"}),
        ("PUT", "/sweeps/1", {"DELETE", "GET", "HEAD", "PATCH"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/docs", {"GET", "HEAD"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
        ("POST", "/static-offline-docs/swagger-ui.css", {"GET", "HEAD"}),
        ("GET", "/experiments/1/cancel", {"POST"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("TRACE", "/workers", {"GET", "HEAD"}),
        ("BREW", "/workers", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_for_a_path_is_405(client: TestClient, method: str, path: str, allow: set[str]) -> None:
    response = client.request(method, path)
    assert problem(response, 405)["detail"] == f"{method} is not for this path"
    assert set(response.headers["allow"].split(", ")) == allow


_junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_fields = st.sampled_from(
    ["name", "dataset", "model", "loss", "optimizer", "batch_size", "epochs", "seed", "precision"]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(_fields, _junk, min_size=1, max_size=4))
def test_whatever_json_is_sent_the_answer_is_no_500(client: TestClient, fields: Json) -> None:
    body = json.dumps({**fields, "importance_weight": "none"})
    problem(post(client, body), 422)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=40))
def test_whatever_bytes_are_sent_the_answer_is_no_500(client: TestClient, body: bytes) -> None:
    response = post(client, body)
    problem(response, response.status_code)
    assert response.status_code in (400, 422)
