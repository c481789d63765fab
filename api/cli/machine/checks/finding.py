"""What a check finds, and what there is to do about it."""

from importlib import metadata
from typing import Literal, NamedTuple

INSTALL_WORKER = "install what a worker needs: pip install -c constraints.txt -e '.[worker]'"

_NEEDED = ("home", "database")
_TODO = {
    "home": "set BALLAST_HOME to a folder that you may write to",
    "database": "start it, or correct BALLAST_DATABASE_URL",
    "broker": "start Redis, or correct BALLAST_BROKER_URL",
    "checkpoints": "correct BALLAST_CHECKPOINT_URL, or pip install -e '.[s3]' for s3://",
    "data": "set BALLAST_DATA_DIR to a folder that you may read",
    "devices": INSTALL_WORKER,
    "database space": "look at the database first",
    "checkpoints space": "set BALLAST_CHECKPOINT_URL to a folder that you may read",
    "data space": "set BALLAST_DATA_DIR to a folder that you may read",
    "queue space": "set BALLAST_HOME to a folder that you may read",
    "service": "start one with `ballast up`, or set BALLAST_URL",
}


class Finding(NamedTuple):
    name: str
    status: Literal["ok", "warning", "wrong"]  # wrong: nothing works before it is mended
    found: str
    todo: str = ""


def failed_check(name: str, found: str) -> Finding:
    """The finding of a check that did not come to its end, with what is usually to be done."""
    return Finding(name, "wrong" if name in _NEEDED else "warning", found, _TODO[name])


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def installed_version(package: str) -> str | None:
    try:
        return str(metadata.version(package))
    except metadata.PackageNotFoundError:
        return None
