"""deploy/compose.yaml: read by compose itself, and held to what deploy/README.md says of it."""

import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import Settings
from tests.deploy.tools import FOLDER, words_of

PROFILES = ("--profile", "cpu", "--profile", "gpu", "--profile", "watch")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    status, words = words_of("docker-compose", "-f", "compose.yaml", *PROFILES, "config")
    assert status == 0, words
    services: dict[str, Any] = yaml.safe_load(words)["services"]
    return services


@pytest.mark.parametrize("environment", [None, FOLDER / ".env.example"], ids=["defaults", "example"])
def test_compose_takes_it(environment: Path | None) -> None:
    chosen = ["--env-file", environment] if environment else []
    assert words_of("docker-compose", *chosen, "-f", "compose.yaml", *PROFILES, "config", "--quiet") == (0, "")


def test_compose_would_refuse_a_mistyped_key(tmp_path: Path) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("stop_grace_period", "stop_grace_perriod"))
    status, words = words_of("docker-compose", "-f", tmp_path / "compose.yaml", "config", "--quiet")
    assert status != 0
    assert "stop_grace_perriod" in words


def test_every_service_has_no_rights_and_no_disk_but_its_own(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_no_secret_is_a_variable(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable in service.get("environment") or {}:
            secret = any(word in variable for word in ("PASSWORD", "TOKEN", "DATABASE_URL", "BROKER_URL", "KEY"))
            assert not secret or variable.endswith("_FILE"), (name, variable)


def test_only_the_proxy_listens_beyond_this_host(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert name == "proxy" or port["host_ip"] == "127.0.0.1", name


def test_whoever_is_told_to_stop_has_longer_than_the_grace_time(services: dict[str, Any]) -> None:
    for name in ("api", "worker-cpu", "worker-gpu"):
        seconds = int(services[name]["stop_grace_period"].removesuffix("s"))
        grace = services[name]["environment"]["BALLAST_GRACE_SECONDS"]
        assert float(grace) == Settings().grace_seconds
        assert seconds > float(grace) + 10


def test_the_secrets_are_made_once_and_in_a_folder_that_nobody_else_reads(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    folder = tmp_path / "deploy" / "secrets"

    def made() -> dict[str, str]:
        status, words = words_of("sh", "secrets.sh", "ballast.lab", cwd=tmp_path / "deploy")
        assert status == 0, words
        return {file.name: file.read_text() for file in folder.iterdir()}

    first = made()
    assert made() == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    named = yaml.safe_load((FOLDER / "compose.yaml").read_text())["secrets"].values()
    assert {Path(secret["file"]).name for secret in named} <= set(first)
    assert first["postgres_password"] in first["database_url"]
