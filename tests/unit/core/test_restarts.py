"""What died is started again, ever more slowly; also what could not be started at all."""

import subprocess
from pathlib import Path

from structlog.testing import capture_logs

from core.restarts import NOT_STARTED, RESTART_AFTER, RestartedProcess
from tests.servers import wait_until


def restarted(process: RestartedProcess, times: int) -> bool:
    if process.status() is not None and process.deaths < times:
        process.restart_when_due()
    return process.deaths == times


def test_what_dies_again_and_again_is_started_ever_more_slowly() -> None:
    with capture_logs() as said:
        process = RestartedProcess("it", lambda: subprocess.Popen(["false"]), device="cpu")
        wait_until(lambda: restarted(process, 3))
    waits = [line["restart_in_seconds"] for line in said]
    assert waits == list(RESTART_AFTER[:3])
    assert (said[0]["event"], said[0]["device"], said[0]["status"]) == ("it died", "cpu", 1)


def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    command = tmp_path / "command"
    process = RestartedProcess("it", lambda: subprocess.Popen([str(command)], stdin=subprocess.DEVNULL))
    assert (process.status(), process.running) == (NOT_STARTED, None)
    command.symlink_to("/bin/true")
    process.restart_when_due()
    assert process.deaths == 1
    wait_until(lambda: process.restart_when_due() or process.status() == 0)
