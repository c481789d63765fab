"""Anybody's own images: a folder a class, a file an image (DESIGN §8). Faults are sentences with file and number."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.training.errors import BadData
from core.training.images import resized

_CLIPPED = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # modes that become white where Pillow makes RGB of them


def read(root: Path, needed: tuple[str, str], also_others: bool) -> dict[str, Tensor]:
    """The images of each class folder of `root`, in ascending order of class and file name: RGB, uint8 [n, 3, 32, 32].
    Reads the `needed` classes, and the others too where `also_others`.

    Raises BadData where a needed class is missing, or a class read is empty or holds a file that is no whole image."""
    names = [entry.name for entry in _entries(root) if entry.is_dir()]
    for name in needed:
        if name not in names:
            found = ", ".join(map(repr, names)) or "none"
            raise BadData(f"the folder {root} has no class {name!r} (it has: {found}): add a folder of that name")
    return {name: _read_class(root / name) for name in names if also_others or name in needed}


class Checked(NamedTuple):
    """What a folder of classes holds."""

    classes: dict[str, int]  # images that can be read
    unreadable: list[tuple[Path, str]]  # every file that is no whole image, and why
    problems: list[str]


def check(root: Path) -> Checked:
    """Look at every file of every class: what would fail an experiment later, all at once."""
    checked = Checked({}, [], [])
    try:
        folders = [entry for entry in _entries(root) if entry.is_dir()]
    except BadData as error:
        checked.problems.append(str(error))
        return checked
    for folder in folders:
        try:
            files = _files(folder)
        except BadData as error:
            checked.problems.append(str(error))
            files = []
        checked.classes[folder.name] = sum(_readable(file, checked) for file in files)
    return checked


def _readable(file: Path, checked: Checked) -> bool:
    try:
        _decoded(file)
    except _Unreadable as error:
        checked.unreadable.append((file, str(error)))
        return False
    return True


def _read_class(folder: Path) -> Tensor:
    files = _files(folder)
    return torch.cat([_read_image(file, f"image {i} of {len(files)}") for i, file in enumerate(files, 1)])


def _files(folder: Path) -> list[Path]:
    files = _entries(folder)
    if not files:
        raise BadData(f"the class folder {folder} holds no image: put at least one file into it")
    return files


def _entries(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]  # .DS_Store and its like
    except OSError as error:
        raise BadData(
            f"the folder {folder} cannot be read ({error.strerror}): make train/ and test/ with a folder for each class"
        ) from error
    return sorted(entries, key=lambda entry: entry.name)


def _read_image(file: Path, number: str) -> Tensor:
    try:
        return resized(_decoded(file))
    except _Unreadable as error:
        raise BadData(
            f"{number} in {file.parent}, {file.name!r}, cannot be read as an image ({error}): replace or remove it"
        ) from error


class _Unreadable(Exception):
    """The file is no whole image; says why."""


def _decoded(file: Path) -> Tensor:
    """RGB, uint8 [1, 3, h, w]."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode in _CLIPPED:
                raise ValueError(f"{image.mode}, more than 8 bits a channel")
            pixels = np.array(image.convert("RGB"))
    except Exception as error:  # whatever a decoder meets: OSError, SyntaxError, struct.error, DecompressionBombError
        raise _Unreadable(" ".join(str(error).split())[:200]) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
