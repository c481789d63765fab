"""Texts on their way out, of a program of its own: terminals of every encoding, streams that are closed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.reading import UnreadableSpec, read_json
from core.streams import printable
from tests.servers import PATIENCE_S

ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "strict": {"PYTHONIOENCODING": "latin-1:strict"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
READY = "import os, sys; from core.streams import prepare_streams; prepare_streams(); "


def shell(code: str, redirected: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    words = ["/bin/sh", "-c", f'"$0" -P -c "$1" {redirected}', sys.executable, READY + code]
    return subprocess.run(words, env=os.environ | environment, capture_output=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_cannot_be_shown_is_replaced(encoding: str) -> None:
    done = shell(r"print('1 \u2013 2 \udcff'); print('\u2013', file=sys.stderr)", **ENCODINGS[encoding])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 ? 2 ?\n", b"\\u2013\n")


def test_utf_8_stays_what_it_is() -> None:
    assert shell(r"print('1 \u2013 2 \udcff')", PYTHONIOENCODING="utf-8").stdout == "1 – 2 ?\n".encode()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_nowhere_also_for_the_program_that_takes_our_place(closed: str) -> None:
    code = (
        "print(sys.stdin.read()[:0]); print('said'); print('told', file=sys.stderr); sys.stdout.flush(); "
        "os.execv('/bin/sh', ['sh', '-c', 'echo said; echo told >&2; cat'])"
    )
    done = shell(code, f"{'' if '<' in closed else '</dev/null'} {closed}")
    assert done.returncode == 0
    assert done.stdout == (b"" if " >&-" in f" {closed}" else b"\nsaid\nsaid\n")
    assert done.stderr == (b"" if "2>&-" in closed else b"told\ntold\n")


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert printable("a\x1b[2J\r\n\tb\x9b1m\x7f") == r"a\x1b[2J\r\n\tb\x9b1m\x7f"
    assert printable("cat\u202egnp.exe \udcff") == r"cat\u202egnp.exe \udcff"
    assert printable("é – 犬 👩‍🔬 \\x1b") == "é – 犬 👩‍🔬 \\x1b"


@pytest.mark.parametrize("renderer", ["console", "json"])
def test_a_log_line_is_one_line_that_no_terminal_obeys(renderer: str) -> None:
    code = (
        "import logging, structlog; from core import logs, settings; logs.configure(settings.load_settings()); "
        r"said = 'no image \x1b[2J\nb \u2013'; structlog.get_logger().warning(said, file=said); logging.warning(said)"
    )
    done = shell(code, BALLAST_LOG=renderer, **ENCODINGS["C"])
    assert done.stderr.count(b"no image") == 3, done.stderr
    assert done.stderr.count(b"\n") == 2
    assert b"\x1b[2J" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_is_read_by_the_rules_of_json(encoding: str, tmp_path: Path) -> None:
    value = {"name": "é – 犬 👩"}
    (tmp_path / "spec.json").write_bytes(json.dumps(value, ensure_ascii=False).encode(encoding))
    assert read_json(tmp_path / "spec.json") == value


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        (b"\xef\xbb\xbf", "Expecting value"),
        ('{"name": "é"}'.encode("latin-1"), "'utf-8' codec can't decode byte 0xe9"),
        (b"\xff\xfe\x00", "'utf-16-le' codec can't decode|'utf-16' codec can't decode"),
    ],
)
def test_what_is_no_text_is_no_json(sent: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_bytes(sent)
    with pytest.raises(UnreadableSpec, match=f"spec.json is not JSON: ({said})"):
        read_json(tmp_path / "spec.json")
