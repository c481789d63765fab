"""Where the service listens, and where it is looked for. Apart from the other settings: every command needs it, and
pydantic takes longer to import than a service to answer.
"""

import os
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HOST, PORT = "127.0.0.1", 8000  # unless said otherwise


def service_url() -> str | None:
    """`Settings.url`; None where `BALLAST_URL`, `BALLAST_HOST` or `BALLAST_PORT` is not plainly right: the settings say
    what is wrong with it."""
    given = {name.upper(): value for name, value in os.environ.items()}
    url, host, port = (given.get(f"BALLAST_{name}") for name in ("URL", "HOST", "PORT"))
    host, port = host or HOST, port or str(PORT)
    if host in LOOPBACK and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536:
        if not url:
            return address_of(host, int(port))
        if is_address(url, "http", "https"):
            return url.rstrip("/")
    return None


def address_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no such port, half an IPv6 address
        return False
