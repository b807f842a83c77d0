"""`mml.images`: pixels against NumPy, and what it says about a file that is not an image."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mml.images import read_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (8, 8, 3), np.uint8)
GRAY = RNG.integers(0, 256, (8, 8), np.uint8)
ALPHA = RNG.integers(0, 256, (8, 8), np.uint8)
ALPHA[:, 0], ALPHA[:, 1] = 0, 255


def png_header(width, height):
    """A PNG file that promises many pixels and has none."""
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ):
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def on_white(pixels, alpha):
    share = alpha.reshape(*alpha.shape, *[1] * (pixels.ndim - alpha.ndim)) / 255
    return pixels * share + 255 * (1 - share)


def gray_as_rgb(gray):
    return np.repeat(np.asarray(gray)[..., None], 3, axis=-1)


# === Modes, at the size of the result, so that nothing is resized ===


def test_rgb_is_left_alone(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    pixels = read_image(tmp_path / "image.png", 8, 8, 3)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, RGB)
    np.testing.assert_array_equal(read_image(str(tmp_path / "image.png"), 8, 8, 3), RGB)


def test_luma_of_rgb(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    pixels = read_image(tmp_path / "image.png", 8, 8, 1)
    assert pixels.shape == (8, 8, 1) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[..., 0], RGB @ np.array([0.299, 0.587, 0.114]), atol=0.51)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray(tmp_path, channels):
    Image.fromarray(GRAY).save(tmp_path / "image.png")
    pixels = read_image(tmp_path / "image.png", 8, 8, channels)
    np.testing.assert_array_equal(pixels, gray_as_rgb(GRAY)[..., :channels])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit(tmp_path, suffix):
    bits = GRAY > 127
    Image.fromarray(bits).save(tmp_path / f"image.{suffix}")
    assert mode_of(tmp_path / f"image.{suffix}") == "1"
    np.testing.assert_array_equal(read_image(tmp_path / f"image.{suffix}", 8, 8, 3), gray_as_rgb(bits * 255))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled(tmp_path, suffix, channels):
    levels = RNG.integers(0, 65536, (8, 8), np.uint16)
    levels[0, :5] = 0, 255, 256, 65534, 65535
    path = tmp_path / f"image.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 8 8 65535\n" + levels.astype(">u2").tobytes())
    else:
        Image.fromarray(levels).save(path)
    assert mode_of(path) in ("I", "I;16")
    pixels = read_image(path, 8, 8, channels)
    np.testing.assert_allclose(pixels, gray_as_rgb(levels / 65535 * 255)[..., :channels], atol=0.501)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_thirty_two_bits_are_stretched(tmp_path, dtype):
    levels = (RNG.random((8, 8)) * 1e6 - 3e5).astype(dtype)
    Image.fromarray(levels).save(tmp_path / "image.tif")
    assert mode_of(tmp_path / "image.tif") == {"float32": "F", "int32": "I"}[dtype]
    levels = levels.astype("float64")
    expected = 255 * (levels - levels.min()) / (levels.max() - levels.min())
    np.testing.assert_allclose(read_image(tmp_path / "image.tif", 8, 8, 3), gray_as_rgb(expected), atol=0.501)


def test_thirty_two_bits_of_one_value_are_black(tmp_path):
    Image.fromarray(np.full((8, 8), 1e9, "float32")).save(tmp_path / "image.tif")
    assert not read_image(tmp_path / "image.tif", 8, 8, 3).any()


def test_sixteen_bits_big_endian(tmp_path):
    levels = (GRAY.astype(np.uint16) * 257).astype(">u2")
    Image.frombytes("I;16B", (8, 8), levels.tobytes()).save(tmp_path / "image.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif", 8, 8, 3), gray_as_rgb(GRAY))


def test_sixteen_bits_with_a_transparent_level(tmp_path):
    levels = GRAY.astype(np.uint16) * 257
    levels[2:4] = 1234
    Image.fromarray(levels).save(tmp_path / "image.png", transparency=1234)
    expected = GRAY.copy()
    expected[2:4] = 255
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8, 3), gray_as_rgb(expected))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_rgb_with_alpha(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / f"image.{suffix}", **options)
    pixels = read_image(tmp_path / f"image.{suffix}", 8, 8, 3)
    np.testing.assert_allclose(pixels, on_white(RGB, ALPHA), atol=1)
    np.testing.assert_array_equal(pixels[:, 0], 255)
    np.testing.assert_array_equal(pixels[:, 1], RGB[:, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_with_alpha(tmp_path, channels):
    Image.fromarray(np.dstack([GRAY, ALPHA]), "LA").save(tmp_path / "image.png")
    assert mode_of(tmp_path / "image.png") == "LA"
    pixels = read_image(tmp_path / "image.png", 8, 8, channels)
    np.testing.assert_allclose(pixels, gray_as_rgb(on_white(GRAY, ALPHA))[..., :channels], atol=1)


@pytest.mark.parametrize("transparency", [None, 3, bytes([0, 255, 128])])
@pytest.mark.parametrize("channels", [1, 3])
def test_palette(tmp_path, transparency, channels):
    palette = RNG.integers(0, 256, (6, 3), np.uint8)
    indices = RNG.integers(0, 6, (8, 8), np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "image.png", **({} if transparency is None else {"transparency": transparency}))
    assert mode_of(tmp_path / "image.png") == "P"

    alphas = np.full(6, 255)
    if transparency == 3:
        alphas[3] = 0
    elif transparency:
        alphas[:3] = list(transparency)
    expected = on_white(palette[indices], alphas[indices])
    if channels == 1:
        expected = expected @ np.array([[0.299], [0.587], [0.114]])
    pixels = read_image(tmp_path / "image.png", 8, 8, channels)
    np.testing.assert_allclose(pixels, expected, atol=0 if channels == 3 and transparency in (None, 3) else 1.5)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_transparent_color(tmp_path, mode):
    pixels = GRAY.copy() if mode == "L" else RGB.copy()
    pixels[1:3] = 77
    Image.fromarray(pixels).save(tmp_path / "image.png", transparency=77 if mode == "L" else (77, 77, 77))
    expected = np.where(pixels == 77, 255, pixels)
    if mode == "L":
        expected = gray_as_rgb(expected)
    else:
        expected = np.where((pixels == 77).all(axis=-1, keepdims=True), 255, pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8, 3), expected)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path, suffix):
    inks = np.array([200, 100, 20, 60])
    Image.new("CMYK", (8, 8), tuple(inks.tolist())).save(tmp_path / f"image.{suffix}")
    assert mode_of(tmp_path / f"image.{suffix}") == "CMYK"
    expected = 255 * (1 - inks[:3] / 255) * (1 - inks[3] / 255)
    pixels = read_image(tmp_path / f"image.{suffix}", 8, 8, 3)
    np.testing.assert_allclose(pixels, np.broadcast_to(expected, (8, 8, 3)), atol=4)


def test_first_picture_of_an_animation(tmp_path):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(tmp_path / "image.gif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "image.gif") as image:
        assert image.n_frames == 2
    pixels = read_image(tmp_path / "image.gif", 8, 8, 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to([255, 0, 0], (8, 8, 3)))


# === EXIF ===

UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # the first row is the right-hand side
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(tmp_path, orientation):
    stored = RNG.integers(0, 256, (6, 10, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "image.png", exif=exif)
    expected = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", *expected.shape), expected)


def test_turned_jpeg(tmp_path):
    stored = np.zeros((16, 32), np.uint8)
    stored[:, 16:] = 200  # once turned, the lower half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "image.jpg", exif=exif)
    pixels = read_image(tmp_path / "image.jpg", 32, 16, 1)[..., 0]
    np.testing.assert_allclose(pixels, np.where(np.arange(32)[:, None] < 16, 0, 200) * np.ones(16), atol=4)


def test_sixteen_bits_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8, 1)[..., 0], np.rot90(GRAY, -1))


@pytest.mark.parametrize("exif", [b"nonsense", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\xff\xff"])
def test_broken_exif_is_no_matter(tmp_path, exif):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "image.jpg", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(read_image(tmp_path / "image.jpg", 8, 8, 3), np.full((8, 8, 3), 255))


# === Sizes ===


def cubic(x):
    x = abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def filter_matrix(size, crop, out):
    """Bicubic filter `[out, size]` for `crop` of `size` pixels, in their middle, widened where it makes smaller."""
    step = crop / out
    centers = (size - crop) / 2 + (np.arange(out) + 0.5) * step
    weights = cubic((np.arange(size) + 0.5 - centers[:, None]) / max(step, 1))
    return weights / weights.sum(axis=1, keepdims=True)


def fitted(pixels, height, width):
    scale = min(pixels.shape[0] / height, pixels.shape[1] / width)
    rows = filter_matrix(pixels.shape[0], scale * height, height)
    columns = filter_matrix(pixels.shape[1], scale * width, width)
    return np.einsum("ih,jw,hwc->ijc", rows, columns, pixels)


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (50, 31), (31, 50), (5, 3), (1, 1000), (1000, 1), (1, 1)])
@pytest.mark.parametrize("result", [(8, 8), (8, 12), (12, 5)])
def test_resized_like_numpy(tmp_path, size, result):
    stored = RNG.integers(60, 196, (*size, 3), np.uint8)  # the filter overshoots, and nothing is to be clipped
    Image.fromarray(stored).save(tmp_path / "image.png")
    pixels = read_image(tmp_path / "image.png", *result, 3)
    assert pixels.shape == (*result, 3)
    np.testing.assert_allclose(pixels, fitted(stored, *result), atol=1.2)  # rounded once for each axis


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*[st.integers(1, 40)] * 4, st.tuples(*[st.integers(0, 255)] * 3))
def test_one_color_stays_the_same(tmp_path, height, width, new_height, new_width, color):
    Image.new("RGB", (width, height), color).save(tmp_path / "image.bmp")
    pixels = read_image(tmp_path / "image.bmp", new_height, new_width, 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.float32(color), (new_height, new_width, 3)))


def test_transparent_colors_do_not_bleed(tmp_path):
    # Black that is wholly transparent must not darken its neighbors when they are averaged.
    image = np.full((64, 64, 4), 255, np.uint8)
    image[::2] = 0
    Image.fromarray(image).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8, 3), np.full((8, 8, 3), 255))


# === Files that are not images ===


@pytest.fixture
def bad(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    for suffix in ("png", "jpg"):
        image.save(tmp_path / f"whole.{suffix}")
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"half.{suffix}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"start.{suffix}").write_bytes(whole[:12])
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("Not an image.\n" * 100)
    (tmp_path / "large.png").write_bytes(png_header(10_000, 10_000))
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "nothing.png").write_bytes(png_header(0, 8))
    Image.fromarray(np.array([[0, np.inf], [np.nan, 1]], "float32")).save(tmp_path / "infinite.tif")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("half.png", "truncated"),
        ("half.jpg", "truncated"),
        ("start.png", "format is unknown, or it is damaged"),
        ("start.jpg", "Truncated"),
        ("empty.png", "empty"),
        ("folder.png", "folder"),
        ("text.png", "format is unknown"),
        ("large.png", "exceeds limit"),
        ("bomb.png", "exceeds limit"),
        ("nothing.png", "format is unknown"),
        ("infinite.tif", "not finite"),
        ("text.png/image.png", "Not a directory"),
    ],
)
def test_what_is_no_image_is_named(bad, name, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read_image(bad / name, 8, 8, 3)
    assert str(error.value).startswith(f"{bad / name} cannot be read as an image: ")
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_image(tmp_path / "image.png", 8, 8, 3)
    assert str(error.value) == f"{tmp_path / 'image.png'} does not exist."


def test_the_protection_against_bombs_is_pillows(tmp_path, monkeypatch):
    Image.new("L", (50, 50)).save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_500)
    read_image(tmp_path / "image.png", 8, 8, 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_499)
    with pytest.raises(ValueError, match=r"2500 pixels.*exceeds limit of 2499"):
        read_image(tmp_path / "image.png", 8, 8, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 3), "`height` must be a positive integer. Received: height=0"),
        ((8, None, 3), "`width` must be a positive integer. Received: width=None"),
        ((8, 8, 4), "`channels` must be 1 or 3. Received: channels=4"),
        ((8, 8, True), "`channels` must be a positive integer. Received: channels=True"),
        ((8, 8, 3.0), "`channels` must be a positive integer. Received: channels=3.0"),
    ],
)
def test_wrong_sizes(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "image.png", *arguments)
