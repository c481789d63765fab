"""Settings: the defaults of deploy/README.md, "Settings", secrets from files, and one good sentence for each that
cannot be obeyed."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from kombu import Connection

from core.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("BALLAST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_the_contracts(tmp_path: Path) -> None:
    home = tmp_path / ".ballast"
    assert load_settings().model_dump() == {
        "home": home,
        "database_url": f"sqlite:///{home}/ballast.db",
        "broker_url": "filesystem://localhost//",
        "data_dir": home / "data",
        "checkpoint_url": f"file://{home}/checkpoints",
        "host": "127.0.0.1",
        "port": 8000,
        "allowed_hosts": "",
        "trusted_proxies": "",
        "url": "http://127.0.0.1:8000",
        "device": "auto",
        "threads": 1,
        "heartbeat_seconds": 5,
        "lease_seconds": 20,
        "checkpoint_seconds": 60,
        "grace_seconds": 8,
        "wish_seconds": 30,
        "max_failures": 5,
        "log": "console",
    }
    assert load_settings().embedded_database
    assert load_settings().embedded_broker
    assert not home.exists()  # reading settings makes nothing


def test_the_manual_lists_every_setting() -> None:
    manual = (Path(__file__).parents[3] / "deploy" / "README.md").read_text()
    listed = set(re.findall(r"`(BALLAST_[A-Z_]+)`", manual[manual.index("## Settings") :]))
    assert {f"BALLAST_{name.upper()}" for name in Settings.model_fields} <= listed


def test_what_lies_under_the_home_moves_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BALLAST_HOME", "elsewhere")
    settings = load_settings()
    home = tmp_path / "elsewhere"
    assert (settings.home, settings.data_dir) == (home, home / "data")
    assert (settings.queue_dir, settings.locks_dir) == (home / "queue", home / "locks")
    assert settings.database_url == f"sqlite:///{home}/ballast.db"


def test_a_tilde_is_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BALLAST_DATA_DIR", "~/images")
    assert load_settings().data_dir == tmp_path / "images"


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("localhost", "9000", "http://localhost:9000"),
        ("::1", "8000", "http://[::1]:8000"),
        ("127.0.0.1", "1", "http://127.0.0.1:1"),
    ],
)
def test_the_url_is_made_of_host_and_port(monkeypatch: pytest.MonkeyPatch, host: str, port: str, url: str) -> None:
    monkeypatch.setenv("BALLAST_HOST", host)
    monkeypatch.setenv("BALLAST_PORT", port)
    assert load_settings().url == url


def test_the_url_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_URL", "https://ballast.example/api/")
    assert load_settings().url == "https://ballast.example/api"


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "DATABASE_URL", "HOME", "DEVICE", "DATABASE_URL_FILE"):
        monkeypatch.setenv(f"BALLAST_{name}", "")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "field", "url"),
    [
        ("DATABASE_URL", "database_url", "postgresql://ballast:secret@db:5432/ballast"),
        ("BROKER_URL", "broker_url", "redis://:secret@broker:6379/0"),
    ],
)
def test_a_secret_may_come_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, field: str, url: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{url}\n")
    monkeypatch.setenv(f"BALLAST_{name}_FILE", str(file))
    assert getattr(load_settings(), field) == url
    monkeypatch.setenv(f"BALLAST_{name}", url)
    with pytest.raises(SettingsError, match=f"BALLAST_{name} and BALLAST_{name}_FILE are both set: keep one"):
        load_settings()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_secret_may_have_been_written_on_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes("postgresql://ballast:pässword@db/ballast\r\n".encode(encoding))
    monkeypatch.setenv("BALLAST_DATABASE_URL_FILE", str(file))
    assert load_settings().database_url == "postgresql://ballast:pässword@db/ballast"


@pytest.mark.parametrize(
    ("name", "value"), [("HOME", "/h\udcff"), ("DATABASE_URL", "sqlite:////h\udcff"), ("CHECKPOINT_URL", "c\udcff")]
)
def test_bytes_that_are_no_text_are_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BALLAST_{name}", value)
    with pytest.raises(SettingsError, match=f"^BALLAST_{name} holds bytes that are no UTF-8: choose another one$"):
        load_settings()


def test_what_the_caller_says_goes_before_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`ballast demo` runs on a database of its own, also where another is set."""
    file = tmp_path / "secret"
    file.write_text("postgresql://db/ballast")
    monkeypatch.setenv("BALLAST_DATABASE_URL_FILE", str(file))
    assert load_settings(database_url="").embedded_database


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", "a folder"])
def test_a_secret_that_cannot_be_read_is_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | str | None
) -> None:
    file = tmp_path / "secret"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.mkdir()
    monkeypatch.setenv("BALLAST_DATABASE_URL_FILE", str(file))
    with pytest.raises(SettingsError, match=r"^BALLAST_DATABASE_URL_FILE: .*secret"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", 'BALLAST_PORT is not an integer: "abc" (allowed: an integer from 1 to 65535)'),
        ("PORT", "65536", 'BALLAST_PORT is out of range: "65536" (allowed: an integer from 1 to 65535)'),
        ("PORT", "80.5", 'BALLAST_PORT is not an integer: "80.5" (allowed: an integer from 1 to 65535)'),
        ("THREADS", "0", 'BALLAST_THREADS is out of range: "0" (allowed: an integer from 1 to 256)'),
        ("LOG", "xml", 'BALLAST_LOG is not one of the choices: "xml" (allowed: console, json)'),
        ("DEVICE", "tpu", "BALLAST_DEVICE is tpu and must be auto, cpu or cuda:N, such as cuda:0"),
        ("DEVICE", "cuda:256", "BALLAST_DEVICE is cuda:256 and must be auto, cpu or cuda:N, such as cuda:0"),
        (
            "LEASE_SECONDS",
            "0",
            'BALLAST_LEASE_SECONDS is out of range: "0" (allowed: a number above 0 and at most 86400)',
        ),
        (
            "HOST",
            "http://a",
            "BALLAST_HOST is http://a and must be an address or a name, such as 127.0.0.1 or 0.0.0.0",
        ),
        (
            "DATABASE_URL",
            "mysql://db/ballast",
            "BALLAST_DATABASE_URL is neither sqlite:///FILE nor postgresql://USER@HOST/DATABASE",
        ),
        (
            "BROKER_URL",
            "amqp://broker",
            "BALLAST_BROKER_URL is neither redis://HOST:PORT/0 nor empty, for a queue folder",
        ),
        ("URL", "localhost:8000", "BALLAST_URL is not http://HOST:PORT"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"BALLAST_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == sentence


def test_two_bad_values_are_two_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_PORT", "x")
    monkeypatch.setenv("BALLAST_LOG", "y")
    with pytest.raises(SettingsError, match=r"BALLAST_PORT .*; BALLAST_LOG "):
        load_settings()


def test_no_sentence_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_DATABASE_URL", "mysql://me:hunter2@db/x")
    monkeypatch.setenv("BALLAST_BROKER_URL", "amqp://me:hunter2@broker")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_open_to_this_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("BALLAST_HOST", host)
    assert load_settings().open_to_this_host


@pytest.mark.parametrize(
    ("variables", "known", "url"),
    [
        ({"HOST": "0.0.0.0"}, set(), "http://127.0.0.1:8000"),
        ({"HOST": "::"}, set(), "http://[::1]:8000"),
        ({"HOST": "192.168.1.2"}, {"192.168.1.2"}, "http://192.168.1.2:8000"),
        ({"HOST": "127.0.0.1.example.org"}, {"127.0.0.1.example.org"}, "http://127.0.0.1.example.org:8000"),
        ({"HOST": "fd00::1"}, {"[fd00::1]"}, "http://[fd00::1]:8000"),
        ({"ALLOWED_HOSTS": " A.example, b , [fd00::2] "}, {"127.0.0.1", "a.example", "b", "[fd00::2]"}, None),
        ({"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}, {"127.0.0.1"}, None),
    ],
)
def test_what_others_reach_is_open_to_nobody_without_a_token(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], known: set[str], url: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"BALLAST_{name}", value)
    settings = load_settings()
    assert not settings.open_to_this_host
    assert settings.known_hosts == known
    assert settings.url == (url or "http://127.0.0.1:8000")


def test_a_trusted_proxy_is_known_to_a_socket_of_ipv6_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    own = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    assert load_settings().proxies == [*own, "::ffff:127.0.0.1/128", "::ffff:10.0.0.0/104"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOST", host) for host in ("LOCALHOST ", "a b", "http://a", "a:80", "-a", "a/", "*", "a..b", "0", "127.1")),
        *(("ALLOWED_HOSTS", hosts) for hosts in ("*", "a:80", "http://a", "a,b/c", "a b")),
        *(("TRUSTED_PROXIES", proxies) for proxies in ("*", "proxy", "10.0.0.1/8", "10.0.0", "1.2.3.4:80")),
    ],
)
def test_what_is_no_name_and_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BALLAST_{name}", value)
    with pytest.raises(SettingsError, match=f"BALLAST_{name}"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///?x", "postgresql://", "postgresql://a@b:xx/c", "x"],
)
def test_a_database_is_a_file_or_a_server(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_DATABASE_URL", url)
    with pytest.raises(SettingsError, match="BALLAST_DATABASE_URL"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://db", "postgresql://db/x", "postgresql://me@db:5432/x", "postgresql+psycopg://me:p:/#@db/x"),
        *("postgresql:///x?host=/run/postgresql", "postgresql://me:p%40@[::1]:5432/x", "sqlite:////var/ballast.db"),
    ],
)
def test_every_usual_form_of_a_database_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_DATABASE_URL", url)
    assert load_settings().database_url == url


@pytest.mark.parametrize("url", ["redis://", "redis://host:port/0", "redis://host:99999", "redis://[::1", "http://x"])
def test_a_broker_is_an_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_BROKER_URL", url)
    with pytest.raises(SettingsError, match="BALLAST_BROKER_URL"):
        load_settings()


UNREADABLE = (
    *("redis://h/abc", "redis://h/-1", "redis://h/1_0", "redis://h/0/x", "redis://h/%61", "redis://h:6379/0%20"),
    *("redis://h/0?db=1", "redis://h/0?socket_timeout=5", "redis://h/0?hostname=x", "rediss://h/0?ssl_cert_reqs=maybe"),
    *("redis://a:6379/0;redis://b:6379/0", "redis://:pa;ss@h/0", "redis://h/0?credential_provider=os.system"),
)
READABLE = (
    *(
        "redis://h",
        "redis://h/",
        "redis://h:6379/15",
        "redis://h//3",
        "redis://me:p%40%3B%2F@h:1/0",
        "redis://[::1]:1/0",
    ),
    *(
        "redis://:p%zz@h/0",
        "redis://h/%31",
        "rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem",
        "redis://me@h/0",
    ),
)


@pytest.mark.parametrize("url", UNREADABLE)
def test_what_kombu_would_stumble_over_is_a_sentence_at_the_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_BROKER_URL", url)
    with pytest.raises(SettingsError, match="BALLAST_BROKER_URL must end with the number of a database"):
        load_settings()


@pytest.mark.parametrize("url", READABLE)
def test_what_is_taken_is_read_by_kombu_too(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_BROKER_URL", url)
    with Connection(load_settings().broker_url) as connection:
        path = re.sub(r"\D", "", unquote(urlsplit(url).path)) or "0"
        assert connection.transport.Channel._prepare_virtual_host(None, connection.virtual_host) == int(path)


@pytest.mark.parametrize("url", ["filesystem:///elsewhere", "filesystem://h:x/", "filesystem://host//"])
def test_a_queue_folder_is_always_the_one_under_the_home(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_BROKER_URL", url)
    with pytest.raises(SettingsError, match="BALLAST_BROKER_URL"):
        load_settings()


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://h:99999", "http://h:0", "ftp://h", "h", "//h:1"])
def test_a_service_is_at_an_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BALLAST_URL", url)
    with pytest.raises(SettingsError, match="BALLAST_URL"):
        load_settings()


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("postgresql://me:p%40ss@db/ballast")
    for name, value in {
        "HOME": "relative home",
        "DATABASE_URL_FILE": str(file),
        "BROKER_URL": "redis://:x@broker:6379/0",
        "HOST": "::1",
        "PORT": "1234",
        "DEVICE": "cuda:1",
        "LEASE_SECONDS": "0.25",
        "HEARTBEAT_SECONDS": "0.1",
        "LOG": "json",
    }.items():
        monkeypatch.setenv(f"BALLAST_{name}", value)
    settings = load_settings()
    child = settings.child_environment()
    assert child["PATH"] == os.environ["PATH"]
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in child.items():
        monkeypatch.setenv(name, value)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_settings() == settings


def test_a_childs_settings_are_those_that_the_parent_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_PORT", "1234")
    settings = load_settings(port=4321)
    for name, value in settings.child_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
