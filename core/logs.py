"""Logs for people (`BALLAST_LOG=console`) or for machines (`json`), to standard error. One line an event."""

import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from core.settings import Settings
from core.streams import printable

_held: dict[str, object] = {}  # said on every line of this process, whichever of its threads writes it


@contextmanager
def on_every_line(**said: object) -> Iterator[None]:
    """While the context lasts, on every line of this process: contextvars would not reach the other threads of a
    worker, which holds one experiment at a time. Nobody opens two at once."""
    _held.update(said)
    try:
        yield
    finally:
        _held.clear()


def configure(settings: Settings, level: int = logging.INFO, **bound: object) -> None:
    """Route structlog and the standard library through one renderer; `bound` stands on every line, and so does what is
    bound by `structlog.contextvars`."""

    def add_bound(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**bound, **_held, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_bound,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if settings.log == "console":
        # Not by rich, which prints local variables: passwords may be among them.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        exceptions: structlog.typing.Processor = structlog.processors.StackInfoRenderer()
        shared.append(_in_plain_words)
    else:
        exceptions = structlog.processors.format_exc_info
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, exceptions, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)  # of Python, which would be lines of another form
    for talkative in ("alembic", "celery", "kombu", "uvicorn", "httpx2", "stamina", "fontTools"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def _in_plain_words(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Names of files and errors of others may hold what a terminal obeys; JSON writes it out by itself."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
