"""The Python client: `from ballast import Client`. HTTP and nothing else; the command line stands on it.

Installed under the name `ballast`, it imports nothing else of ours: a project that has an `api/` or a `core/` of its
own can use it too.
"""

from .client import Ask, Client, Device, Made, PictureFormat
from .errors import BrokenOff, ClientError, Refused, TooOften, TooSlow, Unreachable

__all__ = [
    "Ask",
    "BrokenOff",
    "Client",
    "ClientError",
    "Device",
    "Made",
    "PictureFormat",
    "Refused",
    "TooOften",
    "TooSlow",
    "Unreachable",
]
