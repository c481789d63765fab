"""An image file as pixels: upright, without transparency, 8 bits a channel. Why it cannot be read is a few words for
the sentence around them. Ordinary images keep every bit that Pillow gives."""

import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

_CLIPPED = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # modes that become white where Pillow makes RGB of them

_NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(Exception):
    """The file is no whole image; says why."""


def pixels_of(file: Path) -> Tensor:
    """RGB, uint8 [1, 3, h, w]; of an animation or of many pages the first. Raises Unreadable."""
    from PIL import Image, UnidentifiedImageError

    try:
        _require_a_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow reads all the same: odd metadata, a very large image
            with Image.open(file) as image:
                if image.mode in _CLIPPED:
                    raise Unreadable(f"{image.mode}, more than 8 bits a channel")
                pixels = np.array(_over_black(_upright(image)).convert("RGB"))
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable("in no format that Pillow knows") from error
    except Exception as error:  # whatever a decoder meets: OSError, SyntaxError, struct.error, DecompressionBombError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(" ".join(reason.split())[:200] or type(error).__name__) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _require_a_file(file: Path) -> None:
    """To open a pipe would be to wait for somebody who writes into it; of a device, who knows."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(f"{_NO_FILES.get(stat.S_IFMT(found.st_mode), 'something else')}, not a file")
    if not found.st_size:
        raise Unreadable("an empty file")


def _upright(image: "Image") -> "Image":
    """As the camera was held. Not by Pillow's `exif_transpose`, which writes all EXIF anew and fails where some other
    field of it is odd."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    image.load()  # some formats say it behind the pixels, and TIFF is turned by this
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF says nothing, and the pixels are whole
        return image
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation or 1)
    return image if turn is None else image.transpose(turn)


def _over_black(image: "Image") -> "Image":
    """What is transparent hides colours that nobody has seen; what is opaque keeps its own, bit for bit."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    if image.mode == "La":
        image = image.convert("LA")  # which alone becomes RGBA
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
