"""A person signs in with a token, and has a cookie in its place, which no other site can make use of."""

import re

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select, update

from core.broker.doorbell import Doorbell
from core.store import tokens
from core.store.session import Store
from core.store.tables import sessions as table
from core.store.tables import tokens as tokens_table
from tests.unit.api.builders import problem, spec
from tests.unit.api.conftest import BASE_URL
from tests.unit.api.serving import application
from tests.unit.api.test_callers import Secrets, bearer
from tests.unit.api.test_callers import client as client
from tests.unit.api.test_callers import secrets as secrets
from tests.unit.api.test_callers import store as store

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": BASE_URL}


@pytest.fixture(autouse=True)
def _nobody_is_led_on_unseen(client: TestClient) -> None:
    client.follow_redirects = False


def signed_in(client: TestClient, secret: str, path: str = "/sign-in", **headers: str) -> Response:
    return client.post(path, data={"token": secret}, headers=BROWSER | headers)


def cookie_of(response: Response) -> str:
    return response.headers["set-cookie"].partition(";")[0]


def count_sessions(store: Store) -> int:
    with store.reading() as tx:
        return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_person_signs_in_looks_around_and_signs_out(client: TestClient, store: Store, secrets: Secrets) -> None:
    led = client.get("/sweeps?limit=1", headers=BROWSER)
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=/sweeps%3Flimit%3D1")
    form = client.get(led.headers["location"], headers=BROWSER)
    assert form.status_code == 200
    assert '<form method="post">' in form.text
    assert not re.search(r"<script|src=| on\w+=", form.text)
    assert "form-action 'self'" in form.headers["content-security-policy"]
    came = signed_in(client, secrets["alice"], led.headers["location"])
    assert (came.status_code, came.headers["location"]) == (303, "/sweeps?limit=1")
    assert client.get("/sweeps?limit=1", headers=BROWSER).json() == {"items": [], "next_cursor": None}
    assert "You are signed in as alice, who may submit." in client.get("/", headers=BROWSER).text
    made = client.post("/experiments", json=spec(), headers={"Origin": BASE_URL})
    assert made.json()["owner"] == "alice"
    assert client.get("/experiments/1/events").json()["items"][0]["actor"] == "alice"
    left = client.post("/sign-out", headers=BROWSER)
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert count_sessions(store) == 0
    problem(client.get("/sweeps"), 401)


def test_the_cookie_is_read_by_no_script_sent_by_no_other_site_and_ends(client: TestClient, secrets: Secrets) -> None:
    plain = signed_in(client, secrets["alice"]).headers["set-cookie"]
    assert re.fullmatch(r"ballast_session=[\w-]{43}; HttpOnly; Max-Age=(604800|604799); Path=/; SameSite=strict", plain)
    with TestClient(client.app, base_url="https://127.0.0.1:8000", follow_redirects=False) as by_tls:
        answer = signed_in(by_tls, secrets["alice"], Origin="https://127.0.0.1:8000")
        assert answer.headers["set-cookie"].endswith("; Secure")
        left = by_tls.post("/sign-out", headers={"Origin": "https://127.0.0.1:8000"}).headers["set-cookie"]
    assert 'ballast_session=""' in left
    assert "Max-Age=0" in left


def test_a_wrong_token_is_the_page_again_and_for_a_program_a_problem(client: TestClient, store: Store) -> None:
    refused = signed_in(client, "ballast_<script>")
    assert refused.status_code == 401
    assert refused.headers["content-type"].startswith("text/html")
    assert "This token is not valid here" in refused.text
    assert "script" not in refused.text
    assert "set-cookie" not in refused.headers
    problem(client.post("/sign-in", data={"token": "wrong"}), 401)
    assert count_sessions(store) == 0


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"token": "x"}', 415),
        ("multipart/form-data; boundary=x", b"--x", 415),
        ("application/x-www-form-urlencoded", b"", 422),
        ("application/x-www-form-urlencoded", b"token=a&token=b", 422),
        ("application/x-www-form-urlencoded", b"\xff=\xff", 400),
        ("application/x-www-form-urlencoded", b"&".join([b"token=a"] * 20), 400),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 2**20, 413),
    ],
)
def test_what_is_no_form_with_a_token_is_refused(
    client: TestClient, content_type: str, body: bytes, status: int
) -> None:
    problem(client.post("/sign-in", content=body, headers={"Content-Type": content_type}), status)


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\\b", "/\t/evil", "/é", "/" * 2001],
)
def test_nobody_is_led_away(client: TestClient, secrets: Secrets, path: str) -> None:
    refused = client.post("/sign-in", params={"next": path}, data={"token": secrets["alice"]}, headers=BROWSER)
    assert problem(refused, 422)["errors"][0]["pointer"] == "?next"
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("path", ["/", "/sweeps/3/report", "/experiments?state=failed&limit=3", "/a//b", "/%5C"])
def test_a_path_of_this_service_is_gone_to(client: TestClient, secrets: Secrets, path: str) -> None:
    answer = client.post("/sign-in", params={"next": path}, data={"token": secrets["alice"]}, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, path)


def test_a_browser_is_led_and_a_program_is_told(client: TestClient) -> None:
    for path in ("/", "/sweeps/1/report", "/experiments"):
        assert client.get(path, headers=BROWSER).status_code == 303
    problem(client.get("/experiments", headers={"Accept": "application/json"}), 401)
    problem(client.post("/experiments", json={}, headers=BROWSER), 401)
    problem(client.get("/experiments", headers=BROWSER | bearer("wrong")), 401)
    assert client.get("/").json()["name"] == "ballast"


def test_what_a_header_says_comes_before_the_cookie(client: TestClient, secrets: Secrets) -> None:
    signed_in(client, secrets["keeper"])
    sent = bearer(secrets["reader"])
    assert "You are signed in as reader" in client.get("/", headers=BROWSER | sent).text
    problem(client.post("/experiments", json=spec(), headers=BROWSER | sent), 403)
    problem(client.get("/experiments", headers=bearer("wrong")), 401)


def test_another_site_can_make_no_use_of_a_cookie(client: TestClient, store: Store, secrets: Secrets) -> None:
    """Also in a browser that sends it along, whatever SameSite says."""
    signed_in(client, secrets["alice"])
    client.post("/experiments", json=spec(), headers={"Origin": BASE_URL})
    unsafe = [("POST", "/experiments"), ("POST", "/experiments/1/cancel"), ("DELETE", "/experiments/1")]
    unsafe += [("PATCH", "/experiments/1"), ("POST", "/sign-out")]
    foreign = [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
    foreign += [{"Sec-Fetch-Site": "same-site"}, {"Origin": BASE_URL, "Sec-Fetch-Site": "cross-site"}]
    for headers in foreign:
        for method, path in unsafe:
            sent = {"json": {}} if method in ("POST", "PATCH") else {}
            problem(client.request(method, path, headers=headers, **sent), 403)
    assert client.get("/experiments/1").json()["state"] == "queued"
    assert count_sessions(store) == 1
    assert client.post("/experiments/1/cancel", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202


def test_nobody_is_signed_in_by_another_site(client: TestClient, store: Store, secrets: Secrets) -> None:
    problem(signed_in(client, secrets["alice"], Origin="http://evil.example"), 403)
    problem(signed_in(client, secrets["alice"], **{"Sec-Fetch-Site": "cross-site"}), 403)
    assert count_sessions(store) == 0


@pytest.mark.parametrize("change", [lambda it: it[:-1], lambda it: it[:-1] + "%", lambda it: it + "A", str.swapcase])
def test_an_altered_cookie_is_none(client: TestClient, secrets: Secrets, change: object) -> None:
    name, _, secret = cookie_of(signed_in(client, secrets["alice"])).partition("=")
    client.cookies.clear()
    assert client.get("/experiments", headers={"Cookie": f"{name}={secret}"}).status_code == 200
    problem(client.get("/experiments", headers={"Cookie": f"{name}={change(secret)}"}), 401)  # type: ignore[operator]


@pytest.mark.parametrize("forged", ["", "alice", "x" * 43, "ballast_session", "null", "1", '"', "\u00e9", "a" * 5000])
def test_a_forged_cookie_is_none(client: TestClient, forged: str) -> None:
    problem(client.get("/experiments", headers={"Cookie": f"ballast_session={forged}".encode()}), 401)


def test_neither_a_token_nor_a_hash_is_a_cookie_nor_a_cookie_a_token(
    client: TestClient, store: Store, secrets: Secrets
) -> None:
    cookie = cookie_of(signed_in(client, secrets["alice"])).partition("=")[2]
    client.cookies.clear()
    with store.reading() as tx:
        hashes = [*tx.execute(select(table.c.sha256)).scalars(), *tx.execute(select(tokens_table.c.sha256)).scalars()]
    for secret in (secrets["alice"], *hashes):
        problem(client.get("/experiments", headers={"Cookie": f"ballast_session={secret}"}), 401)
    for secret in (cookie, *hashes):
        problem(client.get("/experiments", headers=bearer(secret)), 401)


@pytest.mark.parametrize("change", ["revoke", "rotate", "expire"])
def test_a_session_ends_with_its_token(client: TestClient, store: Store, secrets: Secrets, change: str) -> None:
    signed_in(client, secrets["alice"])
    assert client.get("/experiments").status_code == 200
    with store.writing() as tx:
        if change == "expire":
            tx.execute(update(tokens_table).values(expires_ms=1).where(tokens_table.c.name == "alice"))
        else:
            getattr(tokens, change)(tx, "alice")
    problem(client.get("/experiments"), 401)
    assert client.get("/", headers=BROWSER).status_code == 303


def test_where_none_is_needed_a_cookie_of_another_service_is_nobodys(store: Store, doorbell: Doorbell) -> None:
    with TestClient(application(store, doorbell), base_url=BASE_URL) as client:
        other = {"Cookie": "ballast_session=of-another-service"}
        assert client.post("/experiments", json=spec(), headers=other).json()["owner"] == "local"
        assert "signed in" not in client.get("/", headers=BROWSER).text
