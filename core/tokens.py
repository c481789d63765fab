"""Who acts, and how they prove it: scopes, and the secrets of tokens (api/README.md, "Who may ask")."""

import hashlib
import secrets
from enum import StrEnum

LOCAL, WORKER = "local", "worker"  # who acts without a token: whoever is on this machine, and what trains
RESERVED = (LOCAL, WORKER)  # no token's names

_PREFIX = "ballast_"  # so that scanners of repositories know one where it was left


class Scope(StrEnum):
    """What a token may, each what those before it may too."""

    READ = "read"
    SUBMIT = "submit"  # makes experiments, and changes what it has made
    ADMIN = "admin"  # changes everybody's

    def allows(self, other: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


def new_secret() -> str:
    """256 random bits, to be shown once."""
    return _PREFIX + secrets.token_urlsafe(32)


def new_session_secret() -> str:
    """256 random bits, for a cookie."""
    return secrets.token_urlsafe(32)


def sha256_of(secret: str) -> str:
    """What is kept of a secret. It is random throughout, so that nothing slower is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
