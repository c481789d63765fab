"""Who may ask: this host's own programs and pages, and no page of anybody else."""

import pytest
from fastapi.testclient import TestClient

from tests.unit.api.builders import problem, raw_messages, spec


@pytest.fixture
def client(shared_client: TestClient) -> TestClient:
    return shared_client


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "127.0.0.1", "localhost", "LocalHost:1", "[::1]:8000", "[::1]", "localhost:65535"]
)
def test_a_known_host_is_let_in(client: TestClient, host: str) -> None:
    assert client.get("/livez", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "localhost."),
        *(
            "",
            " ",
            ":8000",
            "127.0.0.1:",
            "127.0.0.1:port",
            "127.0.0.1:8000:1",
            "evil.example@127.0.0.1",
            "[::1",
            "::1",
        ),
        *("127.1", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1/", "127.0.0.1,evil.example"),
    ],
)
def test_any_other_host_is_refused(client: TestClient, host: str) -> None:
    """A page may have its name resolve to this host (DNS rebinding)."""
    assert "this Host is not known" in problem(client.get("/livez", headers={"host": host}), 403)["detail"]


def test_two_hosts_are_none(client: TestClient) -> None:
    headers = [("host", "127.0.0.1:8000"), ("host", "127.0.0.1:8000")]
    problem(client.get("/livez", headers=headers), 403)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:9"])
def test_an_origin_equal_to_scheme_and_host_is_let_in(client: TestClient, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}"}
    assert client.get("/livez", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "", "http://localhost:8000", "http://127.0.0.1", "http://127.0.0.1:8001"),
        *("https://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://127.0.0.1:8000.evil.example", "127.0.0.1:8000"),
    ],
)
def test_any_other_origin_is_refused(client: TestClient, origin: str) -> None:
    before = client.get("/experiments").json()
    refusal = problem(client.post("/experiments", json=spec(), headers={"origin": origin}), 403)
    assert "Origin" in refusal["detail"]
    assert client.get("/experiments").json() == before


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
)
def test_the_browser_says_whose_page_asks(client: TestClient, site: str, status: int) -> None:
    response = client.get("/livez", headers={"sec-fetch-site": site})
    assert response.status_code == status
    if status == 403:
        problem(response, 403)


def test_no_web_page_can_cancel_an_experiment(client: TestClient) -> None:
    number = client.post("/experiments", json=spec()).json()["id"]
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        problem(client.post(f"/experiments/{number}/cancel", headers=headers), 403)
    assert client.get(f"/experiments/{number}").json()["state"] == "queued"


def test_a_preflight_gets_no_permission(client: TestClient) -> None:
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    response = client.options("/experiments", headers=headers)
    problem(response, 403)
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/nope", "/experiments/1"])
def test_every_path_is_guarded(client: TestClient, path: str) -> None:
    problem(client.get(path, headers={"host": "evil.example"}), 403)


@pytest.mark.parametrize("sent", ["a", "4f2e-88.x_Y", "x" * 64])
def test_a_request_keeps_the_id_that_it_came_with(client: TestClient, sent: str) -> None:
    assert client.get("/livez", headers={"x-request-id": sent}).headers["x-request-id"] == sent
    assert problem(client.get("/nope", headers={"x-request-id": sent}), 404)["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", "<script>", "a;b", "é"])
def test_a_senseless_id_is_replaced(client: TestClient, sent: str) -> None:
    answered = client.get("/livez", headers={"x-request-id": sent.encode()}).headers["x-request-id"]
    assert answered != sent
    assert len(answered) == 16


def test_every_request_without_an_id_gets_one_of_its_own(client: TestClient) -> None:
    assert len({client.get("/livez").headers["x-request-id"] for _ in range(3)}) == 3


@pytest.fixture(scope="module")
def sweep(shared_client: TestClient) -> int:
    number: int = shared_client.post("/sweeps", json={"base": spec()}).json()["id"]
    return number


THERE = (
    *("/", "/experiments", "/experiments/1", "/experiments/1/curve", "/experiments/1/events", "/sweeps", "/sweeps/1"),
    *("/sweeps/1/figure.png", "/sweeps/1/figure.svg", "/sweeps/1/figure.pdf", "/presets", "/presets/figure-2"),
    *("/workers", "/livez", "/readyz"),
    *("/sweeps/1/effect", "/sweeps/1/effect.svg", "/sweeps/1/report", "/sweeps/1/report.md"),
    *("/version", "/sign-in", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"),
)
EACH_TIME_ANOTHER = ("/queue/stats", "/metrics")  # they say how long something takes
NOT_THERE = ("/nope", "/experiments/99", "/experiments?x=1", "/experiments/1/weights", "/experiments/1/predictions")


def test_every_path_of_the_document_is_tried(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    documented = {path.format(id=1, name="figure-2") for path, methods in paths.items() if "get" in methods}
    assert documented <= {*THERE, *EACH_TIME_ANOTHER, *NOT_THERE}


@pytest.mark.parametrize("path", [*THERE, *NOT_THERE])
def test_head_is_answered_as_get_is(client: TestClient, sweep: int, path: str) -> None:
    assert sweep == 1
    got, headed = client.get(path), client.head(path)
    assert got.is_success == (path in THERE)
    assert headed.status_code == got.status_code
    assert {**headed.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}


@pytest.mark.parametrize("path", ["/experiments", "/docs", "/static-offline-docs/swagger-ui.css", "/nope"])
def test_an_answer_to_head_has_no_body_but_says_its_length(client: TestClient, path: str) -> None:
    start, *bodies = raw_messages(client, "HEAD", path)
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert b"".join(message.get("body", b"") for message in bodies) == b""
    assert not bodies[-1].get("more_body")


@pytest.mark.parametrize("path", EACH_TIME_ANOTHER)
def test_what_is_another_each_time_is_answered_to_head_and_with_a_slash_too(client: TestClient, path: str) -> None:
    assert [client.head(path).status_code, client.get(f"{path}/").status_code] == [200, 200]


def test_what_lets_nobody_in_lets_head_in_neither(client: TestClient) -> None:
    start, body = raw_messages(client, "HEAD", "/experiments", {"origin": "http://evil.example"})
    assert (start["status"], body["body"]) == (403, b"")


def test_head_of_what_is_only_posted_to_is_405(client: TestClient) -> None:
    response = client.head("/experiments/1/cancel")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", [path for path in (*THERE, *NOT_THERE) if path != "/" and "?" not in path])
def test_a_slash_at_the_end_of_a_path_changes_nothing(client: TestClient, sweep: int, path: str) -> None:
    assert sweep == 1
    as_it_is, with_slash = (
        client.get(each, headers={"x-request-id": "x"}, follow_redirects=False) for each in (path, f"{path}/")
    )
    assert (with_slash.status_code, with_slash.headers) == (as_it_is.status_code, as_it_is.headers)
    assert with_slash.content == as_it_is.content


def test_with_a_slash_too_a_path_is_asked_by_every_method(client: TestClient) -> None:
    created = client.post("/experiments/?priority=3", json=spec(), follow_redirects=False)
    assert (created.status_code, created.json()["priority"]) == (201, 3)
    here = created.headers["location"]
    assert here == f"/experiments/{created.json()['id']}"
    assert client.patch(f"{here}/", json={"priority": 5}, follow_redirects=False).json()["priority"] == 5
    assert client.post(f"{here}/cancel/", follow_redirects=False).json()["state"] == "cancelled"
    assert client.delete(f"{here}/", follow_redirects=False).status_code == 204
    assert problem(client.get(f"{here}/"), 404)["instance"] == here


@pytest.mark.parametrize("path", ["//", "/experiments//", "//experiments", "/docs//"])
def test_two_slashes_are_none(client: TestClient, path: str) -> None:
    problem(client.get(f"http://127.0.0.1:8000{path}", follow_redirects=False), 404)
