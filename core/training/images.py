"""Images as everything here holds them, and as the networks take them."""

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

SIDE = 32  # pixels, every image


def resized(images: Tensor) -> Tensor:
    """uint8 [n, c, h, w] to uint8 [n, c, 32, 32]: half-pixel bilinear on uint8, with the pixels that PIL gives where it
    enlarges (where it shrinks, they differ by one grey level in half a per cent)."""
    if images.shape[-2:] == (SIDE, SIDE):
        return images.contiguous()
    if not len(images):
        return images.new_empty(0, images.shape[1], SIDE, SIDE)
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)


def normalised(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 images as the networks take them: (x / 255 - 0.5) / 0.5 in `dtype`, on their device."""
    return images.to(dtype).div_(127.5).sub_(1)  # the same bits: halving and doubling are exact
