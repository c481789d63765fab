"""The service at `BALLAST_URL`, as a command asks it: whom, and what a person hears where it has to ask again."""

from collections.abc import Iterator
from contextlib import contextmanager

from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from api.cli.printing import print_note
from api.client import Client, TooOften
from core.address import service_token, service_url


@contextmanager
def service_client() -> Iterator[Client]:
    client = Client(service_url() or _settled_url(), token=service_token())
    report_retries("for 20 seconds")
    try:
        yield client
    finally:
        client.close()


def _settled_url() -> str:
    """Raises SettingsError."""
    from core.settings import load_settings

    return load_settings().url


def report_retries(how_long: str) -> None:
    """Again, after a failure or a refusal that passes; once. The default logs each to standard output, amid the
    answers."""

    def print_first_retry(details: RetryDetails) -> None:
        if details.retry_num == 1:
            what = "waiting for it" if isinstance(details.caused_by, TooOften) else f"trying again {how_long}"
            print_note(f"{details.caused_by}; {what}")

    set_on_retry_hooks([print_first_retry])
