"""Signing in with a real browser: the form, the cookie, and what another site's page can do with it."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from api.client import Client
from tests.browser import Chromium, NoBrowser, Page
from tests.e2e.processes import DIGITS, Process, ballast, running
from tests.servers import free_port, wait_until

pytestmark = pytest.mark.slow


def fill_in(page: Page, token: str) -> None:
    page.evaluate(f"document.querySelector('[name=token]').value = '{token}'; document.querySelector('button').click()")


def wait_for(page: Page, expression: str, value: object) -> None:
    def is_so() -> bool:
        with suppress(AssertionError):  # it is just between two pages
            return bool(page.evaluate(expression) == value)
        return False

    wait_until(is_so, 60)


@contextmanager
def another_site(html: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"  # another site than 127.0.0.1
        server.shutdown()
        thread.join()


def test_a_person_signs_in_and_out_and_another_site_gains_nothing(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "home"
    assert ballast("db", "upgrade", home=home).returncode == 0
    token = ballast("token", "create", "alice", home=home).stdout.strip()
    url = f"http://127.0.0.1:{port}"
    try:
        chromium = Chromium(tmp_path)
    except NoBrowser as reason:
        pytest.skip(f"NOT TRIED: signing in with a browser. {reason}")
    settings = {"home": home, "port": port, "host": "0.0.0.0"}
    client = Client(url, token=token)
    with running(Process("api", log=tmp_path / "api.log", **settings)) as api, chromium, closing(client):
        wait_until(lambda: "Ballast serves" in api.log_text())
        number = client.submit(DIGITS)["id"]
        page = chromium.open(f"{url}/?")
        assert page.evaluate("location.pathname + location.search") == "/sign-in?next=/"
        assert page.complaints == []
        fill_in(page, "wrong")
        wait_for(page, "document.querySelector('strong')?.textContent.slice(0, 28)", "This token is not valid here")
        fill_in(page, token)
        wait_for(page, "location.pathname", "/")
        assert "signed in as alice" in page.evaluate("document.body.innerText")
        assert page.evaluate("document.cookie") == ""
        cancel = f"fetch('/experiments/{number}/pause', {{method: 'POST'}}).then(answer => answer.status)"
        assert chromium.open(f"{url}/docs").evaluate(cancel) == 202
        assert client.ask(number, "resume")["state"] == "queued"

        attack = f"{url}/experiments/{number}/cancel"
        with another_site(f'<form method="post" action="{attack}"></form>') as it:
            foreign = chromium.open(it)
            foreign.evaluate("document.forms[0].submit()")
            wait_for(foreign, "document.body.innerText.includes('another site')", True)
        with another_site("<p>hello") as it:
            sent = f"fetch('{attack}', {{method: 'POST', credentials: 'include', mode: 'no-cors'}}).then(it => it.type)"
            assert chromium.open(it).evaluate(sent) == "opaque"
        assert client.experiment(number)["state"] == "queued"

        page.evaluate("document.querySelector('form').submit()")
        wait_for(page, "location.pathname", "/sign-in")
        assert chromium.open(f"{url}/experiments").evaluate("location.pathname") == "/sign-in"
