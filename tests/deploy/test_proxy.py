"""The proxy: nginx reads both configurations, and passes events on as they are sent, through TLS."""

import http.client
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deploy.tools import FOLDER, tool, words_of
from tests.servers import PATIENCE_S, free_port

SPOOFED = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the configurations, and a certificate of this machine's."""
    shutil.copytree(FOLDER / "nginx", tmp_path / "nginx")
    shutil.copy(FOLDER / "secrets.sh", tmp_path)
    shutil.copytree(FOLDER / "watch", tmp_path / "watch")
    assert words_of("sh", "secrets.sh", "localhost", cwd=tmp_path)[0] == 0
    return tmp_path


def site(folder: Path) -> str:
    text = (folder / "nginx" / "ballast.conf").read_text()
    text = text.replace("/opt/ballast/deploy/nginx", f"{folder}/nginx").replace("/etc/ballast", f"{folder}/secrets")
    return f"pid {folder}/nginx.pid; error_log stderr; events {{}} http {{ access_log off; {text} }}"


def container(folder: Path, port: int = 8443, upstream: str = "127.0.0.1:8000") -> str:
    text = (folder / "nginx" / "container.conf").read_text()
    for there, here in {
        " /tmp/": f" {folder}/",  # first: the folder itself may lie there
        "/run/secrets/tls_certificate": f"{folder}/secrets/tls.crt",
        "/run/secrets/tls_key": f"{folder}/secrets/tls.key",
        "/etc/ballast": f"{folder}/nginx",
        "/dev/stdout": f"{folder}/access.log",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "http://api:8000": f"http://{upstream}",
    }.items():
        text = text.replace(there, here)
    return text


@pytest.mark.parametrize("made", [site, container])
def test_nginx_takes_it(made: object, folder: Path) -> None:
    assert callable(made)
    (folder / "nginx.conf").write_text(made(folder))
    status, words = words_of("nginx", "-t", "-q", "-c", folder / "nginx.conf")
    assert (status, words) == (0, "")


def test_nginx_would_refuse_a_mistyped_line(folder: Path) -> None:
    (folder / "nginx.conf").write_text(site(folder).replace("ssl_certificate_key", "ssl_certificat_key"))
    assert words_of("nginx", "-t", "-q", "-c", folder / "nginx.conf")[0] != 0


class _Upstream(BaseHTTPRequestHandler):
    """Sends an event, and the next one only when the client has told that it has read the first."""

    read = threading.Event()
    seen: dict[str, str]

    def do_GET(self) -> None:
        type(self).seen = dict(self.headers)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: 1\n\n")
        self.wfile.flush()
        if type(self).read.wait(PATIENCE_S):
            self.wfile.write(b"data: 2\n\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxied(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(container(folder, port, f"127.0.0.1:{upstream.server_port}"))
    nginx = subprocess.Popen([tool("nginx"), "-c", configuration, "-g", "daemon off; master_process off;"])
    try:
        yield port, nginx
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE_S)
        upstream.shutdown()
        upstream.server_close()


def test_events_come_through_as_they_are_sent_and_nobody_says_who_he_is(folder: Path) -> None:
    trusting = ssl.create_default_context(cafile=folder / "secrets" / "tls.crt")
    with proxied(folder) as (port, nginx):
        answer = _asked(port, trusting, nginx)
        assert answer.readline() == b"data: 1\n"
        _Upstream.read.set()
        assert answer.read() == b"\ndata: 2\n\n"
        assert answer.headers["Strict-Transport-Security"]
    assert _Upstream.seen["Host"] == f"localhost:{port}"
    assert _Upstream.seen["X-Forwarded-For"] == "127.0.0.1"
    assert _Upstream.seen["X-Forwarded-Proto"] == "https"
    assert "Forwarded" not in _Upstream.seen


def _asked(port: int, trusting: ssl.SSLContext, nginx: subprocess.Popen[bytes]) -> http.client.HTTPResponse:
    """The answer of the proxy as soon as it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/", headers=SPOOFED | {"Connection": "close"})
            return connection.getresponse()
        except ConnectionRefusedError:
            assert nginx.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
