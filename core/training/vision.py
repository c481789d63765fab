"""The only importer of torchvision, and lazily: it takes seconds, and beside a CPU torch its operators do not load.

Reads the data sets that torchvision knows, downloading once a host what is not there. Their files are checked by
torchvision, never by us.
"""

import contextlib
import functools
import importlib.util
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from core.locks import NoLocks, require_locks
from core.training.errors import BadData

CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}  # of torchvision
_PATIENCE = 60.0  # seconds without a byte after which a download has failed; torchvision itself would wait for ever

_declared: list[torch.library.Library] = []  # a declaration lasts as long as its object


def read(name: str, data_dir: Path, locks_dir: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The training and the test set of `mnist`, `fashion_mnist` or `cifar10`: images uint8 [n, c, h, w] and raw labels
    int64 [n], in file order. Raises BadData where they can be neither read nor downloaded.

    `data_dir` may be read-only when the files are there. The lock holds others off files that are half written."""
    dataset_class = getattr(_datasets(), CLASSES[name])
    with _locked(locks_dir, name):
        try:
            return _read(dataset_class, data_dir)
        except Exception:  # not there, or not whole: torchvision says it in many ways
            return _download(dataset_class, name, data_dir)


def read_without_download(name: str, data_dir: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same without a download. Raises BadData."""
    try:
        return _read(getattr(_datasets(), CLASSES[name]), data_dir)
    except Exception as error:
        raise BadData(
            f"the data set {name} cannot be read from {data_dir} ({_reason(error)}): run `ballast data fetch {name}` "
            "with a network, or put torchvision's files there"
        ) from error


def _download(dataset_class: Any, name: str, data_dir: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    try:
        with _quiet_and_impatient():
            dataset_class(data_dir, download=True)
        return _read(dataset_class, data_dir)
    except Exception as error:
        for empty in (data_dir / CLASSES[name] / "raw", data_dir / CLASSES[name]):
            with contextlib.suppress(OSError):
                empty.rmdir()  # or it would look as if something were there
        raise BadData(
            f"the data set {name} could be neither read from {data_dir} nor downloaded into it ({_reason(error)}): put "
            "torchvision's files there, or delete what is damaged and try again with a network"
        ) from error


def _reason(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text.partition(" You can use download=True")[0][:200]  # torchvision's advice, which is for its callers


def _read(dataset_class: Any, data_dir: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return _tensors(dataset_class(data_dir, train=True)), _tensors(dataset_class(data_dir, train=False))


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(dataset.data)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(dataset.targets, dtype=torch.int64)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    return images, labels


@contextlib.contextmanager
def _locked(locks_dir: Path, name: str) -> Iterator[None]:
    lock = FileLock(locks_dir / f"{name}.lock")
    try:
        locks_dir.mkdir(parents=True, exist_ok=True)
        require_locks(locks_dir)  # or filelock would make do with a file that is there, and stays after a kill
        lock.acquire()
    except NoLocks as error:
        raise BadData(str(error)) from error
    except OSError as error:
        raise BadData(
            f"cannot write to {locks_dir} ({error.strerror}): set BALLAST_HOME to a folder that you may write to"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _quiet_and_impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints its progress; stdout is for curves
            yield
    finally:
        socket.setdefaulttimeout(before)


@functools.cache
def _datasets() -> Any:
    _make_importable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the image operators, which nobody here needs
        import torchvision.datasets

    return torchvision.datasets


def _make_importable() -> None:
    """`import torchvision` fails where its operators are missing, so they are declared; but declaring them where they
    exist aborts the process. So first try to load them."""
    try:
        for library in _folder().glob("_C*.so"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:
        operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            operators.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(operators)


def _folder() -> Path:
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("torchvision is not installed", name="torchvision")
    return Path(found.submodule_search_locations[0])
