"""Settings: `BALLAST_*` variables and their defaults (deploy/README.md, "Settings"). Nothing else in the house obeys
the environment, but what core.environment names."""

import json
import os
import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.address import ANY, HOST, LOOPBACK, PORT, address_of, is_address
from core.environment import environment_for_child
from core.errors import BallastError
from core.faults import Fault, faults_of

PREFIX = "BALLAST_"
SECRETS = ("DATABASE_URL", "BROKER_URL")  # each may also come from the file that `<name>_FILE` names

# A URL may hold a password; of hosts and devices the sentence says it.
_UNSAID = (
    *("database_url", "broker_url", "checkpoint_url", "url"),
    *("host", "allowed_hosts", "trusted_proxies", "device"),
)

_TEXTS = ("database_url", "broker_url", "checkpoint_url", "url")

_DATABASE = re.compile(
    r"sqlite:///(?!:memory:)[^?]|postgresql(\+psycopg)?://(?=.)(.*@)?(\[[^]]*\]|[^:/?@]*)(:\d{1,5})?(/|\?|$)"
)

# Of a host; the last part is no number, which would be an address.
_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*(?!\d+$){_LABEL}")
_FOLDER = re.compile("filesystem://(localhost)?/*")  # always the one under the home
_SSL_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_SSL_REQUIREMENTS = ("required", "optional", "none", "CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE")

GPU = r"cuda:(0|[1-9]\d?)"  # torch takes cuda:256 for cuda:0

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SettingsError(BallastError):
    """A `BALLAST_*` variable that cannot be obeyed."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Path(".ballast")
    database_url: str = ""
    broker_url: str = ""
    data_dir: Path = Path()
    checkpoint_url: str = ""
    host: str = HOST
    allowed_hosts: str = ""  # names between commas
    trusted_proxies: str = ""  # addresses and networks between commas
    port: Annotated[int, Field(ge=1, le=65_535)] = PORT
    url: str = ""
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    heartbeat_seconds: Annotated[float, Field(gt=0, le=20)] = 5  # silent for a minute is taken for dead
    lease_seconds: Seconds = 20
    checkpoint_seconds: Seconds = 60
    grace_seconds: Seconds = 8
    wish_seconds: Seconds = 30
    max_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    log: Literal["console", "json"] = "console"

    @field_validator("host")
    @classmethod
    def _known_host(cls, host: str) -> str:
        if not _is_host(host):
            raise ValueError(f"is {host[:100]} and must be an address or a name, such as 127.0.0.1 or 0.0.0.0")
        return host

    @field_validator("allowed_hosts")
    @classmethod
    def _known_names(cls, hosts: str) -> str:
        for host in _listed(hosts):
            if not _is_host(host.strip("[]")):
                raise ValueError(f"holds {host[:100]}, which is no name: names between commas, without port or path")
        return hosts

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, proxies: str) -> str:
        for proxy in _listed(proxies):
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"holds {proxy[:100]}, which is no address and no network such as 10.0.0.0/8"
                ) from None
        return proxies

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(f"auto|cpu|{GPU}", device):
            raise ValueError(f"is {device[:100]} and must be auto, cpu or cuda:N, such as cuda:0")
        return device

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if url and not _DATABASE.match(url):
            raise ValueError("is neither sqlite:///FILE nor postgresql://USER@HOST/DATABASE")
        return url

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: str) -> str:
        if not url or _FOLDER.fullmatch(url):
            return url
        if not is_address(url, "redis", "rediss"):
            raise ValueError("is neither redis://HOST:PORT/0 nor empty, for a queue folder")
        if not _kombu_reads(url):
            raise ValueError(
                "must end with the number of a database, such as redis://HOST:PORT/0, and know no options but "
                f"{', '.join(_SSL_OPTIONS)}; a sign such as ; or ? in a password is written %3B or %3F"
            )
        return url

    @field_validator("url")
    @classmethod
    def _known_address(cls, url: str) -> str:
        if url and not is_address(url, "http", "https"):
            raise ValueError("is not http://HOST:PORT")
        return url

    @model_validator(mode="after")
    def _lease_outlives_a_missed_heartbeat(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise PydanticCustomError(
                "misfit",
                "is shorter than two heartbeats",
                {
                    "path": ("lease_seconds",),
                    "allowed": f"at least 2 × heartbeat_seconds = {2 * self.heartbeat_seconds:g}",
                },
            )
        return self

    def model_post_init(self, _context: Any) -> None:
        """Defaults that depend on other settings; paths made absolute, since children start elsewhere."""
        home = self.home.expanduser().absolute()
        filled = {
            "home": home,
            "data_dir": self.data_dir.expanduser().absolute() if self.data_dir != Path() else home / "data",
            "database_url": self.database_url or f"sqlite:///{quote(os.fsencode(home / 'ballast.db'))}",
            "checkpoint_url": _address_of(self.checkpoint_url or str(home / "checkpoints")),
            "broker_url": self.broker_url or "filesystem://localhost//",
            "url": (self.url or self.address).rstrip("/"),
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        for name in ("home", *_TEXTS):
            _require_text(name, str(getattr(self, name)))

    @property
    def address(self) -> str:
        """Where the API listens; `url` is where the command line looks for it."""
        return address_of(self.host, self.port)

    @property
    def open_to_this_host(self) -> bool:
        """Whether nobody else can reach the API, so that it asks for no token."""
        return self.host in LOOPBACK and not self.allowed_hosts and not self.trusted_proxies

    @property
    def known_hosts(self) -> frozenset[str]:
        """What `Host` may say, beside loopback; in small letters."""
        own = [] if self.host in ANY else [self.host]
        names = [name.lower().strip("[]") for name in (*own, *_listed(self.allowed_hosts))]
        return frozenset(f"[{name}]" if ":" in name else name for name in names)

    @property
    def proxies(self) -> list[str]:
        """Each of IPv4 also as a socket of IPv6 names it."""
        networks = [ip_network(proxy) for proxy in _listed(self.trusted_proxies)]
        mapped = [f"::ffff:{each.network_address}/{96 + each.prefixlen}" for each in networks if each.version == 4]
        return [*map(str, networks), *mapped]

    @property
    def embedded_database(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def sqlite_file(self) -> Path:
        """Where an embedded database lies."""
        return Path(unquote(self.database_url.removeprefix("sqlite:///").partition("?")[0]))

    @property
    def embedded_broker(self) -> bool:
        return self.broker_url.startswith("filesystem://")

    @property
    def locks_dir(self) -> Path:
        return self.home / "locks"

    @property
    def queue_dir(self) -> Path:
        return self.home / "queue"

    def child_environment(self) -> dict[str, str]:
        """The environment in which a child process reads these same settings."""
        inherited = environment_for_child(os.environ)
        for name in list(inherited):
            if name.upper().startswith(PREFIX):  # pydantic reads them in small letters too
                del inherited[name]
        values = self.model_dump(mode="json")
        return inherited | {PREFIX + name.upper(): str(value) for name, value in values.items()}


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment. Raises SettingsError with one sentence a fault."""
    try:
        return Settings(**{**_from_files(), **overrides})
    except RuntimeError as error:  # a home of nobody's, such as ~nobody-of-this-name
        raise SettingsError(f"{PREFIX}HOME or {PREFIX}DATA_DIR: {error}") from None
    except ValidationError as error:
        sent = {name: os.environ.get(PREFIX + name.upper()) for name in Settings.model_fields if name not in _UNSAID}
        faults = faults_of(error, sent, Settings.model_json_schema())
        raise SettingsError("; ".join(map(_sentence, faults))) from None


def _is_host(text: str) -> bool:
    """A name or an address."""
    try:
        ip_address(text)
    except ValueError:
        return _NAME.fullmatch(text) is not None
    return True


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _require_text(name: str, value: str) -> None:
    """A path may be any bytes, and SQLite opens none that is not text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{PREFIX}{name.upper()} holds bytes that are no UTF-8: choose another one") from None


def _sentence(fault: Fault) -> str:
    return str(replace(fault, pointer=PREFIX + fault.pointer.strip("/").upper()))


def _address_of(place: str) -> str:
    """A URL as it is; a path made absolute, as file://."""
    return place if "://" in place else f"file://{Path(place).expanduser().absolute()}"


def _kombu_reads(url: str) -> bool:
    """As it does when it connects, which raises too late: a path that is a number, one server, no option of others."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    return (
        ";" not in url
        and re.fullmatch(r"/{0,2}\d{0,9}", unquote(parts.path), re.ASCII) is not None
        and all(name in _SSL_OPTIONS for name in options)
        and all(each in _SSL_REQUIREMENTS for each in options.get("ssl_cert_reqs", []))
    )


def _from_files() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in SECRETS:
        file = os.environ.get(f"{PREFIX}{name}_FILE")
        if not file:
            continue
        if os.environ.get(PREFIX + name):
            raise SettingsError(f"{PREFIX}{name} and {PREFIX}{name}_FILE are both set: keep one")
        try:
            sent = Path(file).read_bytes()
            value = sent.decode(json.detect_encoding(sent)).strip()  # as Windows writes it too, with a byte-order mark
        except OSError as error:
            raise SettingsError(f"{PREFIX}{name}_FILE: cannot read {file}: {error.strerror}") from None
        except ValueError:
            raise SettingsError(f"{PREFIX}{name}_FILE: {file} holds no text") from None
        if not value:  # the default in its place would be another database, without a word
            raise SettingsError(f"{PREFIX}{name}_FILE: {file} is empty")
        values[name.lower()] = value
    return values
