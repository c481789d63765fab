"""What died is started again, ever more slowly; also what could not be started at all."""

import subprocess
from pathlib import Path

from structlog.testing import capture_logs

from core.restarts import NOT_STARTED, RESTART_AFTER, Kept
from tests.servers import wait_until


def restarted(kept: Kept, times: int) -> bool:
    if kept.status() is not None and kept.deaths < times:
        kept.restart_when_due()
    return kept.deaths == times


def test_what_dies_again_and_again_is_started_ever_more_slowly() -> None:
    with capture_logs() as said:
        kept = Kept("it", lambda: subprocess.Popen(["false"]), device="cpu")
        wait_until(lambda: restarted(kept, 3))
    waits = [line["restart_in_seconds"] for line in said]
    assert waits == list(RESTART_AFTER[:3])
    assert (said[0]["event"], said[0]["device"], said[0]["status"]) == ("it died", "cpu", 1)


def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    command = tmp_path / "command"
    kept = Kept("it", lambda: subprocess.Popen([str(command)], stdin=subprocess.DEVNULL))
    assert (kept.status(), kept.running) == (NOT_STARTED, None)
    command.symlink_to("/bin/true")
    kept.restart_when_due()
    assert kept.deaths == 1
    wait_until(lambda: kept.restart_when_due() or kept.status() == 0)
