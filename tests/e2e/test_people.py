"""A service that others can reach, as they use it: tokens from the command line, owners, and no secret anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.e2e.processes import DIGITS, Process, ballast, running
from tests.servers import free_port, wait_until


class Lab(NamedTuple):
    api: Process
    home: Path
    port: int
    alice: str
    keeper: str

    def ballast(self, *arguments: str, **environment: object) -> tuple[int, str]:
        """Exit code, and what it prints."""
        done = ballast(*arguments, home=self.home, port=self.port, host="0.0.0.0", **environment)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    settings = {"home": home, "port": port, "host": "0.0.0.0"}
    assert ballast("db", "upgrade", home=home).returncode == 0
    refused = ballast("api", **settings)
    assert refused.returncode == 1
    assert "there is no token: make one by `ballast token create NAME --scope admin`" in refused.stderr
    alice = ballast("token", "create", "alice", home=home).stdout.strip()
    keeper = ballast("token", "create", "keeper", "--scope", "admin", home=home).stdout.strip()
    with running(Process("api", log=home / "api.log", **settings)) as api:
        wait_until(lambda: "Ballast serves" in api.log_text())
        yield Lab(api, home, port, alice, keeper)


def test_commands_carry_the_token_that_the_environment_names(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(lab.alice + "\n")
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(DIGITS))
    assert lab.ballast("list")[0] == 1
    assert "BALLAST_TOKEN" in lab.ballast("list")[1]
    assert lab.ballast("submit", str(spec), token_file=file)[0] == 0
    _, shown = lab.ballast("show", "1", "--json", token=lab.keeper)
    assert json.loads(shown)["owner"] == "alice"
    assert lab.ballast("submit", str(spec), token=lab.keeper)[0] == 0
    status, said = lab.ballast("cancel", "2", token_file=file)
    assert (status, said) == (
        1,
        "ballast: experiment 2 is keeper's: only keeper and tokens of scope admin may change it\n",
    )
    assert lab.ballast("cancel", "1", token=lab.keeper)[0] == 0


def test_a_rotated_token_is_another_and_a_revoked_one_is_none(lab: Lab) -> None:
    old = lab.ballast("token", "create", "bob", "--scope", "read", "--days", "30", "--json")[1]
    old = json.loads(old)["token"]
    assert lab.ballast("workers", token=old)[0] == 0
    new = json.loads(lab.ballast("token", "rotate", "bob", "--json")[1])["token"]
    assert lab.ballast("workers", token=old)[0] == 1
    assert lab.ballast("workers", token=new)[0] == 0
    assert lab.ballast("token", "revoke", "bob") == (0, "the token bob is revoked\n")
    assert "wrong, revoked or expired" in lab.ballast("workers", token=new)[1]
    listed = {each["name"]: each for each in json.loads(lab.ballast("token", "list", "--json")[1])["items"]}
    assert (listed["bob"]["scope"], listed["bob"]["valid"]) == ("read", False)
    assert listed["bob"]["used_at"] is not None
    assert "there is a token bob already, or was" in lab.ballast("token", "create", "bob")[1]


@pytest.mark.parametrize("name", ["local", "worker", "a b", "", "-", "x" * 65, "é"])
def test_what_is_no_name_of_a_token_is_usage(lab: Lab, name: str) -> None:
    assert lab.ballast("token", "create", "--", name)[0] == 2


def test_a_token_that_cannot_be_read_is_one_sentence(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for environment in (
        {"token_file": tmp_path / "nowhere"},
        {"token_file": tmp_path / "empty"},
        {"token": lab.alice, "token_file": tmp_path / "empty"},
        {"token": "é"},
    ):
        status, said = lab.ballast("list", **environment)
        assert (status, said.count("\n")) == (1, 1), said
        assert said.startswith("ballast: ")
        assert lab.alice not in said


def test_doctor_asks_with_the_token_too(lab: Lab) -> None:
    def workers(**environment: object) -> str:
        found = json.loads(lab.ballast("doctor", "--json", **environment)[1])
        return next(str(each["found"]) for each in found if each["name"] == "workers")

    assert "asks for a token" in workers()
    assert workers(token=lab.alice) == "none is alive"


def test_limits_are_said_listed_obeyed_and_lifted(lab: Lab, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(DIGITS))
    carol = lab.ballast("token", "create", "carol", "--max-queued", "1", "--max-running", "2")[1].split()[0]
    assert lab.ballast("submit", str(spec), token=carol)[0] == 0
    status, said = lab.ballast("submit", str(spec), token=carol)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("ballast: carol may have 1 queued: 1 are, and 1 more would be too many")
    said = lab.ballast("token", "limit", "carol", "--max-queued", "0", "--per-minute", "600")
    assert said == (0, "the token carol: max_queued -, max_running 2, per_minute 600\n")
    assert lab.ballast("submit", str(spec), token=carol)[0] == 0
    lab.ballast("token", "rotate", "carol")
    listed = {each["name"]: each for each in json.loads(lab.ballast("token", "list", "--json")[1])["items"]}
    assert [listed["carol"][name] for name in ("max_queued", "max_running", "per_minute")] == [None, 2, 600]
    assert lab.ballast("token", "limit", "nobody", "--max-queued", "1")[0] == 1
    assert lab.ballast("token", "limit", "carol", "--max-queued", "-1")[0] == 2


def test_no_secret_is_in_a_log_in_a_file_or_in_the_list_of_processes(lab: Lab) -> None:
    """After all of the above, if it ran before."""
    lab.ballast("list", token=lab.alice)
    lab.ballast("list", token=lab.alice + "x")
    lines = " ".join(word for each in psutil.process_iter(["cmdline"]) for word in each.info["cmdline"] or [])
    files = b"".join(file.read_bytes() for file in lab.home.rglob("*") if file.is_file())
    assert b"alice" in files
    for secret in (lab.alice, lab.keeper):
        assert secret not in lines
        assert secret.encode() not in files
