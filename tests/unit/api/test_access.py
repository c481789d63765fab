"""Who may ask: this host's own programs and pages, and no page of anybody else."""

import pytest
from fastapi.testclient import TestClient

from tests.unit.api.builders import problem, spec


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
