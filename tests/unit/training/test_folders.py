"""Anybody's own images, and a sentence with file and number for each way in which they can be wrong."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.training import BadData, Data, load
from tests.unit.training.builders import locks_dir, rows_of, spec_of

PETS = {"name": "image_folder", "folder": "pets", "base_class": "dog", "other_class": "cat"}


def write(root: Path, *, classes: dict[str, int], size: tuple[int, int] = (40, 30)) -> None:
    """So many images of each class, each as red as its number."""
    for name, n in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[..., 0] = 10 * i
            Image.fromarray(pixels).save(root / name / f"{i:03}.png")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    write(tmp_path / "folders/pets/train", classes={"dog": 6, "cat": 5})
    write(tmp_path / "folders/pets/test", classes={"dog": 3, "cat": 2, "bird": 2, "horse": 1})
    return tmp_path


def loaded(data_dir: Path) -> Data:
    return load(spec_of(dataset=PETS).dataset, data_dir, locks_dir())


def test_a_folder_is_read_as_its_classes_and_files_stand(pets: Path) -> None:
    data = loaded(pets)
    assert data.class_sizes == (5, 6)  # cat before dog
    assert data.base_index == 1
    assert data.train.stored.shape == (11, 3, 32, 32)
    assert sorted(data.train.stored[5:, 0, 0, 0].tolist()) == [0, 10, 20, 30, 40, 50]
    assert data.in_domain_labels.tolist() == [0, 0, 1, 1, 1]
    assert data.in_domain.stored[:, 0, 0, 0].tolist() == [0, 10, 0, 10, 20]
    assert data.out_of_domain.stored[:, 0, 0, 0].tolist() == [0, 10, 0]


def test_a_folder_can_be_trained_on(pets: Path) -> None:
    (row,) = rows_of(spec_of(dataset=PETS, batch_size=4, epochs=1), loaded(pets))
    assert (row.n_in_domain, row.n_out_of_domain) == (5, 3)


def test_a_folder_without_other_classes_has_no_out_of_domain(tmp_path: Path) -> None:
    write(tmp_path / "folders/pets/train", classes={"dog": 2, "cat": 2})
    write(tmp_path / "folders/pets/test", classes={"dog": 1, "cat": 1})
    (row,) = rows_of(spec_of(dataset=PETS, batch_size=2, epochs=1), loaded(tmp_path))
    assert row.n_out_of_domain == row.base_out_of_domain == 0
    assert not row.diverged


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_eight_bits_a_channel_would_become_white_and_is_refused(pets: Path, mode: str) -> None:
    deep = Image.fromarray(np.full((40, 40), 30_000, np.uint16)) if mode == "I;16" else Image.new(mode, (40, 40), 300)
    deep.save(pets / "folders/pets/train/dog/deep.tiff")
    with pytest.raises(BadData, match=f"'deep.tiff', cannot be read as an image \\({mode}, more than 8 bits a channel"):
        loaded(pets)


def test_grey_images_and_hidden_files_are_welcome(pets: Path) -> None:
    cats = pets / "folders/pets/train/cat"
    Image.new("L", (10, 10), 77).save(cats / "zzz.png")
    for left_by_a_system in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (cats / left_by_a_system).write_bytes(b"no image")
    data = loaded(pets)
    assert data.class_sizes == (6, 6)
    assert 77 in data.train.stored[:6, 2, 0, 0]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"folders/pets/train cannot be read \(No such file or directory\)"):
        loaded(tmp_path)


def test_a_missing_class_is_said_with_those_there_are(pets: Path) -> None:
    for image in (pets / "folders/pets/test/cat").iterdir():
        image.unlink()
    (pets / "folders/pets/test/cat").rmdir()
    with pytest.raises(BadData, match=r"pets/test has no class 'cat' \(it has: 'bird', 'dog', 'horse'\)"):
        loaded(pets)


def test_an_empty_class_is_said(pets: Path) -> None:
    (pets / "folders/pets/test/goose").mkdir()
    with pytest.raises(BadData, match=r"pets/test/goose holds no image"):
        loaded(pets)


def test_a_truncated_image_is_said_with_file_and_number(pets: Path) -> None:
    image = pets / "folders/pets/train/cat/002.png"
    Image.effect_noise((64, 64), 50).save(image)
    image.write_bytes(image.read_bytes()[:1000])
    with pytest.raises(BadData, match=r"image 3 of 5 in .*pets/train/cat, '002.png', cannot be read .*truncated"):
        loaded(pets)


def test_a_file_that_is_no_image_is_said_in_printable_words(pets: Path) -> None:
    (pets / "folders/pets/train/dog/no\udcff\nte.txt").write_text("hello")
    with pytest.raises(BadData, match=r"image 7 of 7 in .*pets/train/dog") as caught:
        loaded(pets)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_a_folder_among_the_images_is_said(pets: Path) -> None:
    (pets / "folders/pets/test/bird/more").mkdir()
    with pytest.raises(BadData, match=r"image 3 of 3 in .*pets/test/bird, 'more'"):
        loaded(pets)


def test_a_pipe_among_the_images_is_said_and_nobody_waits_for_it(pets: Path) -> None:
    os.mkfifo(pets / "folders/pets/train/dog/pipe.png")
    with pytest.raises(BadData, match=r"image 7 of 7 in .*pets/train/dog, 'pipe.png', cannot be .*a named pipe, not a"):
        loaded(pets)


@pytest.mark.parametrize("name", ["hot dog", "Café", "犬", "d'oh", "$5 & up", "-rf", "a" * 100, " "])
def test_any_printable_name_will_do_for_folder_and_class(name: str, tmp_path: Path) -> None:
    write(tmp_path / "folders" / name / "train", classes={name: 3, "cat": 2})
    write(tmp_path / "folders" / name / "test", classes={name: 2, "cat": 1, "big bird": 1})
    dataset = {"name": "image_folder", "folder": name, "base_class": name, "other_class": "cat"}
    data = load(spec_of(dataset=dataset).dataset, tmp_path, locks_dir())
    assert data.class_sizes[data.base_index] == 3
    assert (len(data.in_domain), len(data.out_of_domain)) == (3, 1)


COMPOSED, DECOMPOSED = "Café", unicodedata.normalize("NFD", "Café")


@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED], ids=["composed", "decomposed"])
@pytest.mark.parametrize("stored", [COMPOSED, DECOMPOSED], ids=["composed", "decomposed"])
def test_a_name_is_the_same_in_either_form_of_unicode(stored: str, typed: str, tmp_path: Path) -> None:
    """macOS writes names decomposed, and Linux keeps whatever bytes were copied there."""
    write(tmp_path / "folders" / stored / "train", classes={stored: 3, "Caff": 2})
    write(tmp_path / "folders" / stored / "test", classes={COMPOSED: 2, "Caff": 1})
    dataset = {"name": "image_folder", "folder": typed, "base_class": typed, "other_class": "Caff"}
    spec = spec_of(dataset=dataset)
    assert spec.digest == spec_of(dataset=dataset | {"folder": COMPOSED, "base_class": COMPOSED}).digest
    data = load(spec.dataset, tmp_path, locks_dir())
    assert data.class_sizes == (2, 3)
    assert data.in_domain_labels.tolist() == [0, 1, 1]


def test_files_have_one_order_in_either_form_of_unicode(pets: Path) -> None:
    cats = pets / "folders/pets/test/cat"
    for image, name in zip(sorted(cats.iterdir()), ["é.png", "f.png"], strict=True):
        image.rename(cats / unicodedata.normalize("NFD", name))  # e and an accent: before f; é comes after it
    assert loaded(pets).in_domain.stored[:2, 0, 0, 0].tolist() == [10, 0]


def test_two_forms_of_one_name_are_said(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / "folders/pets" / name, classes={COMPOSED: 2, DECOMPOSED: 2, "cat": 2})
    dataset = {"name": "image_folder", "folder": "pets", "base_class": COMPOSED, "other_class": "cat"}
    with pytest.raises(
        BadData, match=r"pets/train has two folders named 'Café', in different forms of Unicode: rename"
    ):
        load(spec_of(dataset=dataset).dataset, tmp_path, locks_dir())
    (tmp_path / "folders" / COMPOSED).mkdir()
    (tmp_path / "folders" / DECOMPOSED).mkdir()
    with pytest.raises(BadData, match=r"folders has two folders named 'Café', in different forms of Unicode: rename"):
        load(spec_of(dataset=dataset | {"folder": COMPOSED}).dataset, tmp_path, locks_dir())


def test_a_name_that_no_disk_can_hold_is_said(tmp_path: Path) -> None:
    (tmp_path / "folders").mkdir()
    dataset = {"name": "image_folder", "folder": "犬" * 100, "base_class": "dog", "other_class": "cat"}
    with pytest.raises(BadData, match=r"/train cannot be read \(File name too long\)"):
        load(spec_of(dataset=dataset).dataset, tmp_path, locks_dir())
