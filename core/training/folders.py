"""Anybody's own images: a folder a class, a file an image. Faults are sentences with file and number."""

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from core.training.decoding import Unreadable, pixels_of
from core.training.errors import BadData
from core.training.images import resized

_LEFT_BY_WINDOWS = ("thumbs.db", "desktop.ini")  # what other systems leave begins with a dot


def folder_named(parent: Path, name: str) -> Path:
    """The folder in `parent` that a spec calls `name`, whichever form of Unicode it is written in (macOS writes é as e
    and an accent); where there is none, its path all the same. Raises BadData where there are two."""
    try:
        found = [entry for entry in parent.iterdir() if _name_of(entry) == name]
    except OSError:
        found = []  # whoever reads the folder says it
    if len(found) > 1:
        raise _two_named(parent, name)
    return found[0] if found else parent / os.fsdecode(name.encode(errors="surrogateescape"))


def read(root: Path, needed: tuple[str, str], also_others: bool) -> dict[str, Tensor]:
    """The images of each class folder of `root`, in ascending order of class and file name: RGB, uint8 [n, 3, 32, 32].
    Reads the `needed` classes, and the others too where `also_others`.

    Raises BadData where a needed class is missing, or a class read is empty or holds a file that is no whole image."""
    classes = _classes(root)
    for name in needed:
        if name not in classes:
            found = ", ".join(map(repr, classes)) or "none"
            raise BadData(f"the folder {root} has no class {name!r} (it has: {found}): add a folder of that name")
    return {name: _read_class(folder) for name, folder in classes.items() if also_others or name in needed}


class Checked(NamedTuple):
    """What a folder of classes holds."""

    classes: dict[str, int]  # images that can be read
    unreadable: list[tuple[Path, str]]  # every file that is no whole image, and why
    problems: list[str]


def check(root: Path) -> Checked:
    """Look at every file of every class: what would fail an experiment later, all at once."""
    checked = Checked({}, [], [])
    try:
        classes = _classes(root)
    except BadData as error:
        checked.problems.append(str(error))
        return checked
    for name, folder in classes.items():
        try:
            files = _files(folder)
        except BadData as error:
            checked.problems.append(str(error))
            files = []
        checked.classes[name] = sum(_readable(file, checked) for file in files)
    return checked


def _readable(file: Path, checked: Checked) -> bool:
    try:
        pixels_of(file)
    except Unreadable as error:
        checked.unreadable.append((file, str(error)))
        return False
    return True


def _read_class(folder: Path) -> Tensor:
    files = _files(folder)
    return torch.cat([_read_image(file, f"image {i} of {len(files)}") for i, file in enumerate(files, 1)])


def _classes(root: Path) -> dict[str, Path]:
    """The class folders in ascending order of name. Raises BadData."""
    with _bad_data_where_unreadable(root):
        folders = [entry for entry in _entries(root) if entry.is_dir()]
    classes: dict[str, Path] = {}
    for folder in folders:
        name = _name_of(folder)
        if name in classes:
            raise _two_named(root, name)
        classes[name] = folder
    return classes


def _files(folder: Path) -> list[Path]:
    with _bad_data_where_unreadable(folder):
        files = _entries(folder)
    if not files:
        raise BadData(f"the class folder {folder} holds no image: put at least one file into it")
    return files


def _entries(folder: Path) -> list[Path]:
    """By name, as a spec writes it: so a copy made on another system has the same order."""
    return sorted(
        (entry for entry in folder.iterdir() if not _is_no_image(entry.name)),
        key=lambda entry: (_name_of(entry), entry.name),
    )


def _is_no_image(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_WINDOWS


def _name_of(entry: Path) -> str:
    """Its name as a spec holds it: UTF-8 in every locale, in the composed form of Unicode."""
    return unicodedata.normalize("NFC", os.fsencode(entry.name).decode(errors="surrogateescape"))


def _two_named(parent: Path, name: str) -> BadData:
    return BadData(f"{parent} has two folders named {name!r}, in different forms of Unicode: rename one of them")


@contextmanager
def _bad_data_where_unreadable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadData(
            f"the folder {folder} cannot be read ({error.strerror}): make train/ and test/ with a folder for each class"
        ) from error


def _read_image(file: Path, number: str) -> Tensor:
    try:
        return resized(pixels_of(file))
    except Unreadable as error:
        raise BadData(
            f"{number} in {file.parent}, {file.name!r}, cannot be read as an image ({error}): replace or remove it"
        ) from error
