"""Images as people have them: cameras held sideways, transparency, pages, and what only looks like an image."""

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from core.training.decoding import Unreadable, pixels_of

ORIENTATION = 0x0112

# How each orientation is stored, by EXIF 2.3: what its row 0 and its column 0 are of the upright picture.
STORED = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[::-1],  # right, top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


def pixels(file: Path) -> Any:
    """[h, w, 3]"""
    return pixels_of(file)[0].permute(1, 2, 0).numpy()


def noise(*shape: int) -> Any:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def exif(orientation: int) -> Image.Exif:
    said = Image.Exif()
    said[ORIENTATION] = orientation
    return said


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_a_picture_is_as_upright_as_its_camera_says(suffix: str, orientation: int, tmp_path: Path) -> None:
    upright = noise(30, 20, 3)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    file = tmp_path / f"image.{suffix}"
    stored.save(file, exif=exif(orientation), **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(pixels(file), upright)


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_loses_no_more_by_being_turned(orientation: int, tmp_path: Path) -> None:
    Image.fromarray(noise(24, 16, 3)).save(tmp_path / "flat.jpg")
    Image.fromarray(noise(24, 16, 3)).save(tmp_path / "turned.jpg", exif=exif(orientation))
    assert np.array_equal(STORED[orientation](pixels(tmp_path / "turned.jpg")), pixels(tmp_path / "flat.jpg"))


def test_xmp_says_how_the_camera_was_held_too(tmp_path: Path) -> None:
    said = PngImagePlugin.PngInfo()
    said.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    Image.fromarray(noise(10, 10, 3)).save(tmp_path / "xmp.png", pnginfo=said)
    assert np.array_equal(pixels(tmp_path / "xmp.png"), noise(10, 10, 3)[::-1, ::-1])


@pytest.mark.parametrize("damaged", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0"])
def test_damaged_exif_costs_no_picture(damaged: bytes, tmp_path: Path) -> None:
    Image.fromarray(noise(24, 16, 3)).save(tmp_path / "flat.jpg")
    Image.fromarray(noise(24, 16, 3)).save(tmp_path / "odd.jpg", exif=damaged)
    assert np.array_equal(pixels(tmp_path / "odd.jpg"), pixels(tmp_path / "flat.jpg"))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation: int, tmp_path: Path) -> None:
    Image.fromarray(noise(10, 12, 3)).save(tmp_path / "odd.png", exif=exif(orientation))
    assert np.array_equal(pixels(tmp_path / "odd.png"), noise(10, 12, 3))


def over_black(colours: Any, alpha: Any) -> Any:
    return np.round(colours.astype(float) * alpha[..., None] / 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_what_is_transparent_is_black(suffix: str, tmp_path: Path) -> None:
    colours, alpha = noise(16, 16, 3), noise(16, 17)[:, :16]
    image = Image.fromarray(np.dstack([colours, alpha]))
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    assert np.array_equal(pixels(tmp_path / f"a.{suffix}"), over_black(colours, alpha))


def test_grey_with_transparency_is_grey_over_black(tmp_path: Path) -> None:
    grey, alpha = noise(16, 16), noise(16, 17)[:, :16]
    Image.fromarray(np.dstack([grey, alpha]), "LA").save(tmp_path / "la.png")
    wanted = over_black(np.dstack([grey] * 3), alpha)
    assert np.array_equal(pixels(tmp_path / "la.png"), wanted)


def test_premultiplied_grey_of_a_tiff_is_over_black_already(tmp_path: Path) -> None:
    stored = Image.fromarray(np.dstack([np.full((4, 4), 60, np.uint8), np.full((4, 4), 120, np.uint8)]), "LA")
    stored.save(tmp_path / "la.tiff")
    plain, associated = (b"\x52\x01\x03\x00\x01\x00\x00\x00" + kind for kind in (b"\x02\x00", b"\x01\x00"))
    assert plain in (tmp_path / "la.tiff").read_bytes()  # ExtraSamples
    (tmp_path / "la.tiff").write_bytes((tmp_path / "la.tiff").read_bytes().replace(plain, associated))
    with Image.open(tmp_path / "la.tiff") as image:
        assert image.mode == "La"
    assert set(pixels(tmp_path / "la.tiff").ravel().tolist()) <= {59, 60}  # Pillow divides and multiplies again


@pytest.mark.parametrize(("suffix", "transparency"), [("gif", 1), ("png", 1), ("png", b"\xff\x00\xff")], ids=str)
def test_a_transparent_entry_of_a_palette_is_black(suffix: str, transparency: int | bytes, tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.putdata([0, 1, 2])
    image.save(tmp_path / f"p.{suffix}", transparency=transparency)
    assert pixels(tmp_path / f"p.{suffix}")[0].tolist() == [[200, 0, 0], [0, 0, 0], [0, 0, 200]]


@pytest.mark.parametrize(("mode", "transparent"), [("RGB", (10, 20, 30)), ("L", 77)])
def test_a_transparent_colour_is_black(mode: str, transparent: Any, tmp_path: Path) -> None:
    image = Image.new(mode, (2, 1), 255 if mode == "L" else (255, 255, 255))
    image.putpixel((1, 0), transparent)
    image.save(tmp_path / "key.png", transparency=transparent)
    assert pixels(tmp_path / "key.png")[0].tolist() == [[255, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "RGBA", "LA"])
def test_ordinary_and_opaque_images_keep_every_bit(mode: str, tmp_path: Path) -> None:
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(noise(40, 30, 3)).convert(mode).save(file)
    with Image.open(file) as image:
        wanted = np.array(image.convert("RGB"))
    assert np.array_equal(pixels(file), wanted)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_of_frames_and_pages_the_first_is_read(suffix: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    lossless = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"many.{suffix}", save_all=True, append_images=[second], **lossless)
    assert np.array_equal(pixels(tmp_path / f"many.{suffix}"), np.array(first))


def test_a_very_large_image_is_read_without_a_word_and_a_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (100, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)  # Pillow warns from here on, which is an error in tests
    assert pixels(tmp_path / "large.png").shape == (100, 100, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)  # and refuses twice as many
    with pytest.raises(Unreadable, match="10000 pixels"):
        pixels_of(tmp_path / "large.png")


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_socket(place: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as short,
        socket.socket(socket.AF_UNIX) as listener,
    ):  # names of 100 bytes at most
        listener.bind(f"{short}/s")
        Path(f"{short}/s").rename(place)


def a_loop(place: Path) -> None:
    place.symlink_to(place)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (a_pipe, "a named pipe, not a file"),
        (a_socket, "a socket, not a file"),
        (lambda place: place.symlink_to("/dev/zero"), "a device, not a file"),
        (lambda place: place.mkdir(), "a folder, not a file"),
        (a_loop, "Too many levels of symbolic links"),
        (lambda place: place.symlink_to("nowhere"), "No such file or directory"),
        (lambda place: place.touch(), "an empty file"),
        (lambda place: place.write_text("hello"), "in no format that Pillow knows"),
    ],
    ids=["pipe", "socket", "device", "folder", "loop", "dangling", "empty", "text"],
)
def test_what_is_no_image_is_named_and_waited_for_by_nobody(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path / "image.png")
    with pytest.raises(Unreadable, match=f"^{said}$"):
        pixels_of(tmp_path / "image.png")


def test_a_file_that_may_not_be_read_is_said() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Image.new("L", (8, 8)).save(f"{folder}/image.png")
        Path(f"{folder}/image.png").chmod(0)
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may read everything
        try:
            with pytest.raises(Unreadable, match=r"^Permission denied$"):
                pixels_of(Path(f"{folder}/image.png"))
        finally:
            os.seteuid(user)
