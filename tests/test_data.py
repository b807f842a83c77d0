"""`mml.data`: where the data come from, and that bad files are refused and not kept."""

import contextlib
import http.server
import io
import sys
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.datasets import load_digits

from mml import data as mml_data
from mml.data import load_cifar10

RNG = np.random.default_rng(0)


def arrays(n_train=600, n_test=130):
    return {
        "x_train": RNG.integers(0, 256, (n_train, 32, 32, 3), np.uint8),
        "y_train": RNG.integers(0, 10, (n_train, 1), np.uint8),
        "x_test": RNG.integers(0, 256, (n_test, 32, 32, 3), np.uint8),
        "y_test": RNG.integers(0, 10, (n_test, 1), np.uint8),
    }


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """No test sees the user's settings or cache, nor the network."""
    monkeypatch.delenv("CIFAR10_NPZ", raising=False)
    monkeypatch.setenv("CIFAR10_URL", "http://127.0.0.1:9/archive.tar.gz")  # nobody listens there
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture
def npz(monkeypatch, tmp_path):
    path = tmp_path / "cifar10.npz"
    monkeypatch.setenv("CIFAR10_NPZ", str(path))
    return path


# === Splits ===


def test_split_takes_the_first_images(npz):
    whole = arrays()
    np.savez(npz, **whole)
    data = load_cifar10(0.01)
    for name, count in (("x_train", 500), ("y_train", 500), ("x_test", 100), ("y_test", 100)):
        part = getattr(data, name)
        np.testing.assert_array_equal(part, whole[name][:count])
        assert part.dtype == np.uint8 and part.flags.writeable
    assert data.class_names == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    assert "CIFAR-10" in data.source and "500" in data.source


def test_split_counts_are_exact_where_floating_point_is_not(npz):
    # 50,000 * 0.0058 is 289.99999999999994.
    np.savez(npz, **arrays())
    data = load_cifar10(0.0058)
    assert (len(data.x_train), len(data.x_test)) == (290, 58)


@pytest.mark.parametrize("split", [0, -0.1, 1.0001, float("nan"), float("inf"), "0.1", None, True, [0.1]])
def test_split_out_of_range(split):
    with pytest.raises(ValueError, match="`split` must be a number above 0 and at most 1. Received: split="):
        load_cifar10(split)


@pytest.mark.parametrize("split", [1e-6, 2e-5], ids=["no image", "no test image"])
def test_split_that_leaves_nothing(npz, split):
    np.savez(npz, **arrays())
    with pytest.raises(ValueError, match=f"one training image and one test image. Received: split={split}"):
        load_cifar10(split)


@pytest.mark.parametrize("source", ["auto", "digits"])
def test_split_beyond_the_source_says_how_much_there_is(npz, source):
    np.savez(npz, **arrays())
    with pytest.raises(ValueError, match=r"the source \(.*\) holds only .* Ask for at most 0\.0") as error:
        load_cifar10(0.5, source)
    most = float(str(error.value).split("at most ")[1].split(",")[0])
    assert len(load_cifar10(most, source).x_train) == pytest.approx(50_000 * most)


def test_unknown_source():
    with pytest.raises(ValueError, match="Received: source='imagenet'"):
        load_cifar10(source="imagenet")


# === The embedded default ===


def test_digits_are_the_digits():
    data = load_cifar10(0.01, "digits")
    images, labels = load_digits(return_X_y=True)
    assert data.x_train.shape == (500, 32, 32, 3) and data.y_test.shape == (100, 1)
    assert data.x_train.dtype == data.y_train.dtype == np.uint8
    np.testing.assert_array_equal(data.y_train[:, 0], labels[:500])
    digits = np.concatenate([images[:500], images[1497:1597]]).reshape(-1, 8, 8) * (255 / 16)
    expected = np.rint(ndimage.zoom(digits, (1, 4, 4), order=1, mode="nearest", grid_mode=True))  # bilinear
    np.testing.assert_array_equal(np.concatenate([data.x_train, data.x_test])[..., 0], expected)
    for pictures in (data.x_train, data.x_test):
        assert (pictures == pictures[..., :1]).all()
    assert data.class_names == tuple("0123456789")


def test_digits_are_divided_as_cifar10_is():
    # 1,797 digits, five in six to train on, as of CIFAR-10's 60,000 images; the split is a share of CIFAR-10's.
    labels = load_digits(return_X_y=True)[1]
    most = load_cifar10(0.0299, "digits")  # 1,495 of 1,497 and 299 of 300
    np.testing.assert_array_equal(most.y_train[:, 0], labels[:1495])
    np.testing.assert_array_equal(most.y_test[:, 0], labels[1497 : 1497 + 299])
    with pytest.raises(ValueError, match="holds only 1,497 and 300. Ask for at most 0.0299,"):
        load_cifar10(0.03, "digits")


def test_no_network_gives_digits_with_a_warning_and_an_empty_cache(tmp_path):
    with pytest.warns(UserWarning, match="CIFAR10_NPZ") as caught:
        data = load_cifar10()
    assert "digits" in data.source
    assert caught[0].filename == __file__
    assert not [path for path in (tmp_path / "keras").rglob("*") if path.is_file()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="no folder in which nothing can be written")
def test_a_folder_that_cannot_be_made_gives_digits_too(monkeypatch):
    monkeypatch.setenv("KERAS_HOME", "/proc/nothing")
    with pytest.warns(UserWarning, match="digits"):
        assert "digits" in load_cifar10(0.001).source
    with pytest.raises(ConnectionError, match="/proc/nothing/datasets"):
        load_cifar10(0.001, source="cifar10")


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    for source in ("digits", "auto"):
        with pytest.raises(
            ImportError, match=r"with handwritten digits needs sklearn. .*pip install 'mml-vision\[book\]'"
        ):
            load_cifar10(source=source)


def test_no_network_is_an_error_where_cifar10_is_asked_for():
    with pytest.raises(ConnectionError, match="CIFAR10_URL to another"):
        load_cifar10(source="cifar10")


# === Keras's download ===


@contextlib.contextmanager
def server(body, monkeypatch, status=200, claimed_length=None):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if claimed_length is None else claimed_length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        monkeypatch.setenv("CIFAR10_URL", f"http://127.0.0.1:{httpd.server_port}/cifar-10-python.tar.gz")
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            httpd.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "reply",
    [
        {"body": b"not the archive"},
        {"body": b"cut off", "claimed_length": 1000},
        {"body": b"", "status": 404},
        {"body": b"", "status": 500},
    ],
    ids=["wrong checksum", "truncated", "missing", "server error"],
)
@pytest.mark.parametrize("source", ["auto", "cifar10"])
def test_failed_download_leaves_nothing(monkeypatch, tmp_path, reply, source):
    with server(monkeypatch=monkeypatch, **reply):
        if source == "cifar10":
            with pytest.raises(ConnectionError, match="127.0.0.1"):
                load_cifar10(source=source)
        else:
            with pytest.warns(UserWarning, match="digits"):
                load_cifar10(source=source)
    assert list((tmp_path / "keras" / "datasets").iterdir()) == []


def test_good_download_is_handed_to_keras(monkeypatch, tmp_path):
    body = RNG.bytes(10_000)
    monkeypatch.setattr(mml_data, "CIFAR10_SHA256", mml_data.hashlib.sha256(body).hexdigest())
    whole = arrays()
    archive = tmp_path / "keras" / "datasets" / mml_data.KERAS_ARCHIVE

    def load_data():
        assert archive.read_bytes() == body
        return (whole["x_train"], whole["y_train"]), (whole["x_test"], whole["y_test"])

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", load_data)
    with server(body, monkeypatch):
        data = load_cifar10(0.001)
    np.testing.assert_array_equal(data.x_train, whole["x_train"][:50])
    # The second time the cache serves.
    monkeypatch.setenv("CIFAR10_URL", "http://127.0.0.1:9/")
    assert len(load_cifar10(0.001, "cifar10").x_train) == 50
    # A broken archive is never read.
    archive.write_bytes(body[:-1])
    with pytest.raises(ConnectionError):
        load_cifar10(0.001, "cifar10")


# === Files ===


def raw(array, **changes):
    """An .npy file with a header that says what is asked for, whatever the bytes are."""
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changes}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def write(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def spoil(name, content):
    members = {key: raw(value) for key, value in arrays(6, 6).items()}
    members[name] = content
    return members


x, y = arrays(6, 6)["x_train"], arrays(6, 6)["y_train"]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {key: raw(value) for key, value in arrays(6, 6).items() if key != "y_test"},
        spoil("x_train", raw(x.astype("float32"))),
        spoil("x_train", raw(x.astype("int64"))),
        spoil("x_train", raw(x[:, :, :, 0])),
        spoil("x_train", raw(x.transpose(0, 3, 1, 2).copy())),
        spoil("x_train", raw(x[:0])),
        spoil("y_train", raw(y[:, 0])),
        spoil("y_train", raw(y.astype("int32"))),
        spoil("y_train", raw(y[:4])),
        spoil("y_train", raw(np.full_like(y, 10))),
        spoil("x_train", raw(x)[:-1]),
        spoil("x_train", raw(x) + b"\0"),
        spoil("x_train", raw(x, shape=(10**12, 32, 32, 3))),
        spoil("x_train", raw(x, shape=(-1, 32, 32, 3))),
        spoil("x_train", raw(x, shape=(50_000, 32, 32, 3))),
        spoil("x_train", raw(x, descr="|O")),
        spoil("x_train", raw(x, fortran_order=True)),
        spoil("x_train", b""),
        spoil("x_train", b"\x93NUMPY\x09\x00"),
    ],
)
def test_wrong_file_is_refused(npz, members):
    write(npz, members)
    with pytest.raises(ValueError, match="cifar10.npz"):
        load_cifar10(0.0001)


def test_file_that_is_no_archive(npz):
    for content in (b"", b"hello", RNG.bytes(5000)):
        npz.write_bytes(content)
        with pytest.raises(ValueError, match="Received: .*cifar10.npz"):
            load_cifar10(0.0001)
    with npz.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="not a zip"):
        load_cifar10(0.0001)


def test_pickle_is_never_loaded(npz, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    np.savez(npz, **{**arrays(6, 6), "x_train": np.array([Bomb()], dtype=object)})
    with pytest.raises(ValueError, match="object"):
        load_cifar10(0.0001)
    assert not (tmp_path / "exploded").exists()


def test_compression_bomb_costs_no_memory(npz):
    # 64 MB of zeros in 64 kB, behind a header that claims six images.
    members = spoil("x_train", raw(x) + bytes(2**26))
    write(npz, members)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="bytes instead of"):
            load_cifar10(0.0001)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**22, "no more than is claimed is unpacked"


def test_missing_file_and_folder(monkeypatch, tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        monkeypatch.setenv("CIFAR10_NPZ", str(path))
        with pytest.raises(FileNotFoundError, match="CIFAR10_NPZ must name an existing file"):
            load_cifar10()


@pytest.fixture(scope="module")
def good_bytes():
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array & 7 for name, array in arrays(6, 6).items()})
    return file.getvalue()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_an_error_or_changes_nothing(npz, good_bytes, data):
    """Cut the file, or flip bits in it: either it is refused, or the arrays are what they were."""
    damaged = bytearray(good_bytes)
    if data.draw(st.booleans(), "cut"):
        del damaged[data.draw(st.integers(0, len(damaged) - 1), "length") :]
    else:
        for _ in range(data.draw(st.integers(1, 4), "flips")):
            damaged[data.draw(st.integers(0, len(damaged) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    npz.write_bytes(good_bytes)
    before = load_cifar10(0.0001)
    npz.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile may warn about what it finds
        try:
            after = load_cifar10(0.0001)
        except ValueError:
            return
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
