"""Where the service listens, and where it is looked for. Apart from the other settings: every command needs it, and
pydantic takes longer to import than a service to answer.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import BallastError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # listening at all addresses, and where such a service is found
HOST, PORT = "127.0.0.1", 8000  # unless said otherwise


class NoToken(BallastError):
    """The token that the environment speaks of cannot be read."""


def service_url() -> str | None:
    """`Settings.url`; None where `BALLAST_URL`, `BALLAST_HOST` or `BALLAST_PORT` is not plainly right: the settings say
    what is wrong with it."""
    given = {name.upper(): value for name, value in os.environ.items()}
    url, host, port = (given.get(f"BALLAST_{name}") for name in ("URL", "HOST", "PORT"))
    host, port = host or HOST, port or str(PORT)
    if host in (*LOOPBACK, *ANY) and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536:
        if not url:
            return address_of(host, int(port))
        if is_address(url, "http", "https"):
            return url.rstrip("/")
    return None


def address_of(host: str, port: int) -> str:
    host = ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no such port, half an IPv6 address
        return False


def service_token() -> str | None:
    """`BALLAST_TOKEN`, or what the file says that `BALLAST_TOKEN_FILE` names. Raises BallastError."""
    token, file = os.environ.get("BALLAST_TOKEN"), os.environ.get("BALLAST_TOKEN_FILE")
    if token and file:
        raise NoToken("BALLAST_TOKEN and BALLAST_TOKEN_FILE are both set: keep one")
    if file:
        try:
            token = Path(file).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise NoToken(f"BALLAST_TOKEN_FILE: cannot read {file}: {reason}") from None
    token = (token or "").strip()
    if file and not token:
        raise NoToken(f"BALLAST_TOKEN_FILE: {file} is empty")
    if not (token.isascii() and token.isprintable()):
        raise NoToken("the token holds what no token has: `ballast token create` prints one, in a line")
    return token or None
