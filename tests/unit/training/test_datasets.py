"""The paper's split of every data set, its subsets, and what is said when one is not there."""

import gzip
import hashlib
import http.server
import itertools
import pickle
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.training import BadData, Data, load, vision
from core.training.images import normalised, resized
from tests.data import all_of_mnist
from tests.unit.training.builders import digits, locks_dir, spec_of


def loaded(folder: Path, locks: Path | None = None, **dataset: Any) -> Data:
    return load(spec_of(dataset=dataset).dataset, folder, locks or locks_dir())


def sizes(data: Data) -> tuple[int, int, int, int, int]:
    """Training images and in-domain images by output index, out-of-domain images."""
    return (*data.class_sizes, *torch.bincount(data.in_domain_labels).tolist(), len(data.out_of_domain))


def test_digits_are_split_as_the_protocol_says() -> None:
    data = digits()
    assert sizes(data) == (133, 136, 45, 46, 1437)
    assert data.train.stored.shape == (269, 1, 32, 32)
    assert data.train.stored.dtype == torch.uint8
    assert data.train.stored.max() == 255
    assert data.train_labels.tolist() == [0] * 133 + [1] * 136
    assert data.base_index == 0


def test_mnist_has_the_papers_counts() -> None:
    data = loaded(all_of_mnist(), name="mnist")
    assert sizes(data) == (5923, 6742, 980, 1135, 7885)
    assert data.input_shape == (1, 32, 32)


def test_the_base_class_is_output_1_where_its_raw_label_is_the_higher() -> None:
    data = loaded(Path("unused"), name="digits", base_class="7", other_class="2")
    assert data.base_index == 1
    assert digits().base_index == 0


def test_subsets_nest_and_the_seed_of_the_dataset_chooses_them() -> None:
    def images(n: int | None, seed: int = 0) -> list[set[bytes]]:
        data = loaded(Path("unused"), name="digits", train_per_class=n, seed=seed)
        halves = [data.train.stored[data.train_labels == label] for label in (0, 1)]
        return [{image.numpy().tobytes() for image in half} for half in halves]

    for small, large, everything, elsewhere in zip(images(20), images(50), images(None), images(20, 1), strict=True):
        assert small < large < everything
        assert small != elsewhere


def test_a_class_can_be_taken_whole_and_not_beyond() -> None:
    assert loaded(Path("unused"), name="digits", train_per_class=133).class_sizes == (133, 133)
    with pytest.raises(BadData, match=r"train_per_class 134 is larger than class '0' of digits, which has 133"):
        loaded(Path("unused"), name="digits", train_per_class=134)


def test_a_limit_takes_the_classes_evenly_and_keeps_file_order() -> None:
    whole, limited = digits(), loaded(Path("unused"), name="digits", eval_limit=81)
    assert torch.bincount(limited.in_domain_labels).tolist() == [41, 40]
    assert len(limited.out_of_domain) == 81
    places = [
        next(i for i, image in enumerate(whole.out_of_domain.stored) if torch.equal(image, chosen))
        for chosen in limited.out_of_domain.stored
    ]
    assert places == sorted(places)


def test_a_limit_beyond_the_test_set_changes_nothing() -> None:
    assert sizes(loaded(Path("unused"), name="digits", eval_limit=5000)) == sizes(digits())


@pytest.mark.parametrize("side", [8, 28])
def test_resizing_gives_the_pixels_of_pil(side: int) -> None:
    images = torch.randint(0, 256, (50, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    by_pil = [np.array(Image.fromarray(i[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR)) for i in images]
    assert torch.equal(resized(images)[:, 0], torch.from_numpy(np.stack(by_pil)))


def test_normalised_images_lie_between_minus_1_and_1() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert normalised(images, torch.float64).flatten().tolist() == pytest.approx([-1, -0.6, 1])
    assert images.flatten().tolist() == [0, 51, 255]


# Files in torchvision's own format.


def idx(values: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def fashion_files(per_class: int) -> dict[str, bytes]:
    labels = np.arange(10 * per_class, dtype=np.uint8) % 10
    images = np.repeat(labels * 20, 28 * 28).reshape(-1, 28, 28)
    return {
        f"{split}-{kind}-ubyte": idx(values)
        for split in ("train", "t10k")
        for kind, values in (("images-idx3", images), ("labels-idx1", labels))
    }


def write_fashion(root: Path, per_class: int = 4) -> Path:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in fashion_files(per_class).items():
        (raw / name).write_bytes(content)
    return raw


def test_fashion_mnist_is_read_from_torchvisions_files(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    data = loaded(tmp_path, name="fashion_mnist", base_class="9", other_class="3")
    assert sizes(data) == (4, 4, 4, 4, 32)
    assert data.base_index == 1
    assert data.train.stored[:, 0, 0, 0].tolist() == [60] * 4 + [180] * 4
    assert data.out_of_domain.stored[:9, 0, 0, 0].tolist() == [0, 20, 40, 80, 100, 120, 140, 160, 0]


def test_a_data_directory_may_be_read_only(tmp_path: Path) -> None:
    raw = write_fashion(tmp_path / "data")
    before = sorted(path.name for path in (tmp_path / "data").rglob("*"))
    raw.chmod(0o500)
    (tmp_path / "data").chmod(0o500)
    try:
        loaded(tmp_path / "data", tmp_path / "locks", name="fashion_mnist")
    finally:
        (tmp_path / "data").chmod(0o700)
        raw.chmod(0o700)
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == before


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """20 images a batch of CIFAR-10, two a class, each as bright as its label. torchvision's table of checksums is
    replaced by those of the invented files."""
    kind = vision._datasets().CIFAR10
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    labels = [i % 10 for i in range(20)]
    pixels = np.repeat(np.array(labels, np.uint8) * 20, 3072).reshape(20, 3072)

    def written(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    batch = {"data": pixels, "labels": labels}
    monkeypatch.setattr(kind, "train_list", [written(f"data_batch_{i}", batch) for i in range(1, 6)])
    monkeypatch.setattr(kind, "test_list", [written("test_batch", batch)])
    _, checksum = written("batches.meta", {"label_names": []})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": checksum})
    return tmp_path


def test_cifar10_is_read_from_torchvisions_files(cifar10: Path) -> None:
    data = loaded(cifar10, name="cifar10")
    assert sizes(data) == (10, 10, 2, 2, 16)
    assert data.train.stored.shape == (20, 3, 32, 32)
    assert data.base_index == 1  # cat (3) before dog (5)
    assert data.train.stored[:, 0, 0, 0].tolist() == [60] * 10 + [100] * 10


def test_a_damaged_data_set_is_said_with_its_place(cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision._datasets().CIFAR10, "url", "http://127.0.0.1:1/cifar.tar.gz")
    monkeypatch.setenv("no_proxy", "*")
    (cifar10 / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"rubbish")
    with pytest.raises(BadData, match=r"cifar10 could be neither read from .* nor downloaded .*URLError") as caught:
        loaded(cifar10, name="cifar10")
    assert str(cifar10) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_bad_data(tmp_path: Path) -> None:
    images = write_fashion(tmp_path) / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(BadData, match="fashion_mnist could be neither read"):
        loaded(tmp_path, name="fashion_mnist")


def test_two_that_need_one_download_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = {f"/{name}.gz": gzip.compress(content) for name, content in fashion_files(4).items()}
    asked: list[str] = []

    class Mirror(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed[self.path])))
            self.end_headers()
            self.wfile.write(packed[self.path])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    kind = vision._datasets().FashionMNIST
    checksums = [(name[1:], hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    monkeypatch.setattr(kind, "resources", checksums)
    monkeypatch.setattr(kind, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setenv("no_proxy", "*")
    try:
        with ThreadPoolExecutor(2) as workers:
            both = [workers.submit(loaded, tmp_path, tmp_path / "locks", name="fashion_mnist") for _ in range(2)]
            assert [sizes(each.result()) for each in both] == [(4, 4, 4, 4, 32)] * 2
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    files = [path for path, _ in itertools.groupby(asked)]  # torchvision asks twice for each: where it is, then for it
    assert sorted(files) == sorted(packed)
