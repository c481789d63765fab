"""API and workers under one roof: who notices that one of them is gone."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

# The API's thread ends as by a fault of its own; in a process of its own, where pytest hears nothing of that.
ENDS = """
import ctypes, threading, time
from api.service import api_server, bind, free_port
from core.opening import prepare_home
from core.settings import load_settings
from core.store import schema

settings = load_settings(port=free_port())
prepare_home(settings)
schema.upgrade(settings.database_url)
with bind(settings) as listener, api_server(settings, listener) as serves:
    assert serves()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "api"]
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    thread.join()
    assert not serves()
"""


def test_an_api_that_has_ended_is_noticed(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", ENDS], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the API has ended: stopping" in done.stdout + done.stderr
