"""A service that others can reach, as somebody looks at it who should not: over PostgreSQL and Redis with passwords, by
every route of its document, by what HTTP itself allows; and where secrets could be left, while things go wrong.
"""

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psutil
import psycopg
import pytest
import redis

from api.client import Client
from tests.data import DATA
from tests.e2e.processes import DIGITS, ENDLESS, FAST, Process, ballast, is_ready, running, wait_for_end, wait_for_epoch
from tests.servers import Postgres, Redis, free_port, wait_until

POSTGRES_SECRET, REDIS_SECRET = "pg-s3cret-Ahx7", "redis-s3cret-Ooz4"

# As deploy/README.md, "Several hosts" has it.
_REDIS_USER = (
    *("ACL", "SETUSER", "ballast", "on", f">{REDIS_SECRET}", "resetchannels", "~ballast*", "~unacked*", "~_kombu.*"),
    *("&/0.celery.pidbox", "&/0.celeryev*", "+@all", "-@dangerous"),
)


class Lab(NamedTuple):
    postgres: Postgres
    redis: Redis
    api: Process
    folder: Path
    port: int
    settings: dict[str, object]
    secrets: dict[str, str]  # of tokens, by their names

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ballast(self, *arguments: str, **environment: object) -> str:
        done = ballast(*arguments, **{**self.settings, **environment})
        return done.stdout + done.stderr

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[name]}"}

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(self.url + path, headers=headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    with Postgres() as postgres, Redis() as broker:
        _ask_for_passwords(postgres, broker)
        settings: dict[str, object] = {
            "database_url": f"postgresql://ballast:{POSTGRES_SECRET}@127.0.0.1:{postgres.port}/ballast",
            "broker_url": f"redis://ballast:{REDIS_SECRET}@127.0.0.1:{broker.port}/0",
            "home": folder / "home",
            "data_dir": DATA,
            "host": "0.0.0.0",
            "port": port,
            **FAST,
        }
        assert ballast("db", "upgrade", **settings).returncode == 0
        secrets = {name: _token(settings, name, *options) for name, options in TOKENS.items()}
        postgres_url = f"postgresql://ballast:{POSTGRES_SECRET}@127.0.0.1:{postgres.port}/ballast"
        with psycopg.connect(postgres_url, autocommit=True) as sql:
            sql.execute("UPDATE tokens SET expires_ms = 1 WHERE name = 'over'")
        assert ballast("token", "revoke", "gone", **settings).returncode == 0
        with running(Process("api", log=folder / "api.log", **settings)) as api:
            wait_until(lambda: "Ballast serves" in api.log_text())
            yield Lab(postgres, broker, api, folder, port, settings, secrets)


TOKENS: dict[str, tuple[str, ...]] = {
    "alice": (),
    "bob": ("--per-minute", "100000"),
    "reader": ("--scope", "read"),
    "keeper": ("--scope", "admin"),
    "over": ("--scope", "admin", "--days", "1"),
    "gone": ("--scope", "admin"),
}


def _ask_for_passwords(postgres: Postgres, broker: Redis) -> None:
    file = postgres.folder / "data" / "pg_hba.conf"
    file.write_text("host all ballast 127.0.0.1/32 scram-sha-256\n" + file.read_text())
    postgres.execute(
        f"CREATE ROLE ballast LOGIN PASSWORD '{POSTGRES_SECRET}'",
        "CREATE DATABASE ballast OWNER ballast TEMPLATE template0",
        "SELECT pg_reload_conf()",
    )
    broker.ask(*_REDIS_USER)


def _token(settings: dict[str, object], name: str, *options: str) -> str:
    return ballast("token", "create", name, *options, **settings).stdout.strip()


def operations(lab: Lab) -> list[tuple[str, str, dict[str, Any]]]:
    paths = lab.get("/openapi.json").json()["paths"]
    return [(method.upper(), path, each) for path, methods in paths.items() for method, each in methods.items()]


def call(lab: Lab, client: httpx2.Client, method: str, path: str, **headers: str) -> httpx2.Response:
    filled = path.replace("{name}", "figure-2").replace("{id}", "1")
    body = {"priority": 3} if method == "PATCH" else {"axes": {"seed": [7]}} if path.endswith("members") else {}
    sent = {"json": body} if method in ("POST", "PATCH") else {}
    return client.request(method, lab.url + filled, headers=headers, **sent)


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=120) as client:
        yield client


def test_every_route_of_the_document_asks_who_calls(lab: Lab, http: httpx2.Client) -> None:
    asked = 0
    for method, path, operation in operations(lab):
        if operation.get("security") == []:
            continue
        for headers in ({}, {"Authorization": "Bearer ballast_" + "x" * 43}, lab.bearer("over"), lab.bearer("gone")):
            answer = call(lab, http, method, path, **headers)
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            asked += 1
        if method != "GET":
            answer = call(lab, http, method, path, **lab.bearer("reader"))
            assert (answer.status_code, "may read only" in answer.text) == (403, True), (method, path)
    assert asked >= 140


def test_no_route_changes_what_is_anothers(lab: Lab, http: httpx2.Client) -> None:
    client = Client(lab.url, token=lab.secrets["alice"])
    experiment = client.submit(DIGITS)
    sweep = client.submit_sweep({"base": DIGITS, "axes": {"seed": [0, 1]}})
    before = [client.experiment(experiment["id"]), client.sweep(sweep["id"], 10)]
    for method, path, _ in operations(lab):
        if method == "GET" or "{id}" not in path or path.endswith("/extend"):
            continue
        assert call(lab, http, method, path, **lab.bearer("bob")).status_code == 403, (method, path)
    assert [client.experiment(experiment["id"]), client.sweep(sweep["id"], 10)] == before
    client.ask(experiment["id"], "cancel")
    client.ask_sweep(sweep["id"], "cancel")
    client.close()


SPOOFED = {
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "127.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;host=127.0.0.1;proto=https",
    "X-Original-URL": "/livez",
    "X-Rewrite-URL": "/livez",
    "X-HTTP-Method-Override": "GET",
    "X-Ballast-Owner": "keeper",
    "Via": "1.1 127.0.0.1",
}


def test_what_a_header_says_of_others_opens_nothing(lab: Lab, http: httpx2.Client) -> None:
    assert http.get(f"{lab.url}/experiments", headers=SPOOFED).status_code == 401
    assert http.post(f"{lab.url}/experiments", json=DIGITS, headers=SPOOFED | lab.bearer("reader")).status_code == 403
    signed_in = http.post(f"{lab.url}/sign-in", data={"token": lab.secrets["reader"]}, headers=SPOOFED)
    assert "Secure" not in signed_in.headers["set-cookie"]  # the scheme was no proxy's to say


def raw(lab: Lab, *lines: str) -> bytes:
    """What is answered to just these lines."""
    with socket.create_connection(("127.0.0.1", lab.port), timeout=60) as link:
        link.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b""
        while part := link.recv(65536):
            answer += part
    return answer


HERE = "Host: 127.0.0.1"
TRICKS = {
    "two slashes": ("GET //experiments HTTP/1.1", HERE),
    "a slash that is written out": ("GET /%2Fexperiments HTTP/1.1", HERE),
    "inside an open path": ("GET /livez/../experiments HTTP/1.1", HERE),
    "inside an open path, written out": ("GET /livez/%2e%2e/experiments HTTP/1.1", HERE),
    "a slash within": ("GET /livez%2f..%2fexperiments HTTP/1.1", HERE),
    "behind a semicolon": ("GET /livez;/experiments HTTP/1.1", HERE),
    "another case": ("GET /EXPERIMENTS HTTP/1.1", HERE),
    "a letter written out": ("GET /%65xperiments HTTP/1.1", HERE),
    "a slash at the end": ("GET /experiments/ HTTP/1.1", HERE),
    "absolute": ("GET http://127.0.0.1/experiments HTTP/1.1", HERE),
    "absolute of another": ("GET http://evil.example/experiments HTTP/1.1", HERE),
    "absolute of an open path": ("GET http://127.0.0.1/livez/../experiments HTTP/1.1", HERE),
    "a fragment": ("GET /experiments#/livez HTTP/1.1", HERE),
    "a query as a path": ("GET /experiments?/livez HTTP/1.1", HERE),
    "HEAD": ("HEAD /experiments HTTP/1.1", HERE),
    "an unknown method": ("BREW /experiments HTTP/1.1", HERE),
    "a small method": ("get /experiments HTTP/1.1", HERE),
    "TRACE": ("TRACE /experiments HTTP/1.1", HERE),
    "CONNECT": ("CONNECT 127.0.0.1:5432 HTTP/1.1", HERE),
    "OPTIONS of all": ("OPTIONS * HTTP/1.1", HERE),
    "HTTP/1.0": ("GET /experiments HTTP/1.0",),
    "another Host": ("GET /livez HTTP/1.1", "Host: evil.example"),
    "two Hosts": ("GET /livez HTTP/1.1", HERE, "Host: evil.example"),
    "a Host with a user": ("GET /livez HTTP/1.1", "Host: 127.0.0.1@evil.example"),
    "a Host with a path": ("GET /livez HTTP/1.1", "Host: 127.0.0.1/evil.example"),
    "no Host": ("GET /livez HTTP/1.1",),
    "a token in two": ("GET /experiments HTTP/1.1", HERE, "Authorization: Bearer", " x"),
    "a NUL": ("GET /experiments HTTP/1.1", HERE, "Authorization: Bearer \0"),
    "two lengths": ("POST /experiments HTTP/1.1", HERE, "Content-Length: 1", "Content-Length: 2"),
    "chunks and a length": ("POST /experiments HTTP/1.1", HERE, "Content-Length: 4", "Transfer-Encoding: chunked"),
    "a token in the query": ("GET /experiments?token=x HTTP/1.1", HERE),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_of_http_is_answered_as_it_hopes(lab: Lab, trick: str) -> None:
    answer = raw(lab, *TRICKS[trick], "Connection: close")
    statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]
    assert all(400 <= status < 500 for status in statuses), answer
    assert len(statuses) == 1  # nothing that follows is taken for another request
    assert b"items" not in answer


def test_a_second_request_in_the_body_of_the_first_is_none(lab: Lab) -> None:
    hidden = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = ("POST /experiments HTTP/1.1", HERE, f"Content-Length: {len(hidden)}", "Connection: close", "", hidden)
    assert raw(lab, *sent).count(b"HTTP/1.1 ") == 1


def test_a_token_in_an_address_is_none(lab: Lab, http: httpx2.Client) -> None:
    for query in ("token", "access_token", "authorization", "ballast_session"):
        assert http.get(f"{lab.url}/experiments?{query}={lab.secrets['keeper']}").status_code == 401


def test_a_secret_is_looked_up_by_its_hash_alone() -> None:
    """Timing of comparisons: no code of ours compares a secret, and the database compares SHA-256s, of which whoever
    measures can choose no beginning. So the way there is what is looked at."""
    root = Path(__file__).parents[2]
    source = (root / "core/store/tokens.py").read_text()
    assert source.count("sha256 == sha256_of(secret)") == 2
    for file in (root / "api").rglob("*.py"):
        assert not re.search(r"(secret|cookie|token) (==|!=) |(==|!=) (secret|cookie)\b", file.read_text()), file


# Where secrets could be left


@contextmanager
def _watching_processes(lines: set[str]) -> Iterator[None]:
    """Every command line of this machine's processes, while it lasts."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.25):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    lines.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_no_secret_is_left_anywhere_while_things_go_wrong(lab: Lab) -> None:
    lines: set[str] = set()
    said: list[str] = []
    worker_log = lab.folder / "worker.log"
    client, worker_home = Client(lab.url, token=lab.secrets["alice"]), lab.folder / "worker"
    with closing(client), _watching_processes(lines), httpx2.Client(trust_env=False, timeout=60) as browser:
        signed_in = browser.post(f"{lab.url}/sign-in", data={"token": lab.secrets["bob"]})
        cookie = signed_in.headers["set-cookie"].partition("=")[2].partition(";")[0]
        with running(Process("worker", log=worker_log, **{**lab.settings, "home": worker_home})) as worker:
            wait_until(lambda: is_ready(client, worker))
            number = client.submit(ENDLESS | {"name": "endless"})["id"]
            wait_for_epoch(client, number, 10)
            said += _asked_with_secrets(lab, browser)
            for victim in worker.family()[1:]:
                with suppress(psutil.Error):
                    victim.kill()
            lab.redis.restart(signal.SIGKILL)  # it comes back without its users
            said += _asked_with_secrets(lab, browser)
            lab.redis.ask(*_REDIS_USER)
            lab.postgres.stop(signal.SIGQUIT)
            said += _asked_with_secrets(lab, browser)
            said += _commands_that_fail(lab)
            lab.postgres.start()
            wait_until(lambda: lab.get("/readyz").status_code == 200)
            epoch = client.experiment(number)["epochs_done"]
            wait_for_epoch(client, number, epoch + 10)
            client.ask(number, "cancel")
            wait_for_end(client, number)
            failed = client.submit(DIGITS | {"batch_size": 1000})["id"]
            wait_for_end(client, failed)
            said += _asked_with_secrets(lab, browser)
    said += _all_answers(lab)
    places = {
        "an answer": "\n".join(said),
        "a log": lab.api.log_text() + worker_log.read_text(),
        "the database": _database_dump(lab),
        "Redis": _redis_dump(lab),
        "a process list": "\n".join(lines),
        "a file": b"".join(file.read_bytes() for file in lab.folder.rglob("*") if file.is_file()).decode("latin-1"),
    }
    assert all(word in places["a log"] for word in ("database", "Redis")), "nothing went wrong"
    assert "ballast" in places["a process list"]
    assert "alice" in places["the database"]
    for what, secret in {**lab.secrets, "cookie": cookie, "pg": POSTGRES_SECRET, "redis": REDIS_SECRET}.items():
        for place, text in places.items():
            assert secret not in text, f"the secret of {what} is in {place}"


def _asked_with_secrets(lab: Lab, browser: httpx2.Client) -> list[str]:
    """Requests that are good, wrong, and wrong by a hair, by header and cookie; what was answered."""
    answers = []
    for secret in (*lab.secrets.values(), lab.secrets["alice"] + "x", "ballast_wrong"):
        headers = {"Authorization": f"Bearer {secret}"}
        for path in ("/experiments", "/workers", "/experiments/999999", "/readyz", "/", "/nope", "/experiments?x=1"):
            answers.append(httpx2.get(lab.url + path, headers=headers, trust_env=False, timeout=60))
        spec = DIGITS | {"model": {"name": "transformer"}}
        answers.append(httpx2.post(f"{lab.url}/experiments", json=spec, headers=headers, trust_env=False, timeout=60))
        answers.append(httpx2.post(f"{lab.url}/sign-in", data={"token": secret + "y"}, trust_env=False, timeout=60))
    answers += [browser.get(f"{lab.url}{path}", headers={"Accept": "text/html"}) for path in ("/", "/experiments")]
    answers.append(httpx2.get(f"{lab.url}/readyz", trust_env=False, timeout=60))
    if answers[-1].status_code == 503:  # a stranger is told no names
        assert not re.search(r"127\.0\.0\.1|port|ballast\b", answers[-1].json()["detail"]), answers[-1].text
    return [f"{answer.headers}\n{answer.text}" for answer in answers]


def _commands_that_fail(lab: Lab) -> list[str]:
    """With the database away, with wrong passwords, with addresses that are none."""
    wrong = str(lab.settings["database_url"]).replace("ballast:", "nobody:")
    no_port = f"postgresql://ballast:{POSTGRES_SECRET}@127.0.0.1:port/x"
    no_redis = f"redis://ballast:{REDIS_SECRET}@127.0.0.1:1/0"
    token = lab.secrets["alice"]
    return [
        lab.ballast("db", "check"),
        lab.ballast("db", "check", database_url=wrong),
        lab.ballast("db", "upgrade", database_url=no_port),
        lab.ballast("api", port=free_port(), broker_url=no_redis),
        lab.ballast("api", port=free_port(), broker_url=f"redis://ballast:{REDIS_SECRET}@/x"),
        lab.ballast("doctor", token=token),
        lab.ballast("list", token=token),
        lab.ballast("list", token=token, url=f"http://127.0.0.1:{free_port()}"),
        lab.ballast("token", "list"),
    ]


def _all_answers(lab: Lab) -> list[str]:
    with httpx2.Client(trust_env=False, timeout=120, headers=lab.bearer("keeper")) as client:
        paths = [path for method, path, _ in operations(lab) if method == "GET"]
        ids = [each["id"] for each in client.get(f"{lab.url}/experiments?limit=500").json()["items"]]
        filled = {path.replace("{id}", str(id)).replace("{name}", "figure-2") for path in paths for id in ids}
        answers = [client.get(lab.url + path) for path in sorted(filled)]
    return [f"{answer.headers}\n{answer.text}" for answer in answers] + [lab.ballast("token", "list", "--json")]


def _database_dump(lab: Lab) -> str:
    with psycopg.connect(str(lab.settings["database_url"]), autocommit=True) as sql:
        tables = sql.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [sql.execute(f"SELECT t::text FROM {table} t").fetchall() for (table,) in tables]  # type: ignore[call-overload]
    return json.dumps(rows)


def _redis_dump(lab: Lab) -> str:
    with redis.Redis.from_url(lab.redis.url) as client:
        return "".join(f"{key!r} {client.dump(key)!r}\n" for key in client.scan_iter("*"))
