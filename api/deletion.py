"""What is left to do once rows are deleted: the checkpoints that they pointed to."""

from collections.abc import Collection

import structlog

from core.store.errors import StoreError
from core.store.files import Files, tidy
from core.store.session import Store

log = structlog.get_logger()


def tidy_if_reachable(store: Store, files: Files, folders: Collection[str]) -> None:
    """What was deleted is deleted, wherever its checkpoints lie; those that this host cannot reach stay there."""
    try:
        tidy(store, files, folders)
    except StoreError as error:
        log.warning("checkpoints of what was deleted are left behind", error=str(error))
