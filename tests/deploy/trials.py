"""What the trials of deploy/ share."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STANDIN_FILES = Path(__file__).parent / "standins"

# Longer than any of the trials trains it.
LONG = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "4:1", "epochs": 100_000}


def told(line: str) -> None:
    """For the note: sizes and times."""
    print(f"\n    {line}", flush=True)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    told(f"{what}: {time.monotonic() - began:.1f} s")


@contextmanager
def torch_without_cuda() -> Iterator[str]:
    """The address of an index that has this machine's own wheel, where it has one; else none, and CUDA comes along.
    Always the same, since what is built with another address is built anew."""
    wheels = list(Path("/opt/wheels").glob("torch-*.whl"))
    if not wheels:
        yield ""
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "torch").mkdir()
        for wheel in wheels:
            (Path(folder) / "torch" / wheel.name).symlink_to(wheel)
        server = ThreadingHTTPServer(("127.0.0.1", 37023), partial(_Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:37023/"
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
