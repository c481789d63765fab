"""What routes stand on: the store, the doorbell and the checkpoints, which the application holds."""

from typing import Annotated

from fastapi import Depends, Request

from core.broker.doorbell import Doorbell
from core.store.files import Files
from core.store.session import Store


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


def _files(request: Request) -> Files:
    files: Files = request.app.state.files
    return files


StoreDep = Annotated[Store, Depends(_store)]
DoorbellDep = Annotated[Doorbell, Depends(_doorbell)]
FilesDep = Annotated[Files, Depends(_files)]
