"""API and workers under one roof: who notices that one of them is gone. And what takes the place of `ballast`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.environment import KEPT_MEMORY

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


# What `ballast run` does last.
HANDS_OVER = """
import sys
from api.cli.machine.handover import exec_command
from core.settings import load_settings
exec_command([sys.executable, "-c", "import os; print(os.environ['GLIBC_TUNABLES'])"], load_settings())
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc here")
@pytest.mark.parametrize(("of_the_user", "told"), [({}, KEPT_MEMORY), ({"GLIBC_TUNABLES": ""}, "")])
def test_what_takes_our_place_keeps_its_memory(of_the_user: dict[str, str], told: str, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(REPOSITORY)} | of_the_user
    done = subprocess.run(
        [sys.executable, "-c", HANDS_OVER], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == told
