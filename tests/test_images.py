import io
import struct
import zlib

import numpy as np
import pytest
from data_samples import png
from PIL import Image

from fvm_core.data.images import MAX_PIXELS, decode_image, image_hash, thumbnail_png
from fvm_core.errors import DataError


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decode_keeps_grey_levels(mode: str, channels: int) -> None:
    pixels = decode_image(png(77, mode=mode), channels=channels)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 4, channels)
    assert (pixels == 77).all()


def test_decode_lays_transparency_on_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = [0, 255, 51]
    pixels = decode_image(encode(Image.fromarray(rgba)), channels=3)
    np.testing.assert_allclose(pixels[0, :, 0], [255, 0, 204], atol=1)


def test_decode_resolves_palette_with_transparent_entry() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60] + [0] * 762)
    pixels = decode_image(encode(image, transparency=0), channels=3)
    assert pixels[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_decode_scales_16_bit_png_and_big_endian_array() -> None:
    levels = np.array([[0, 257, 65535, 128 * 257]], np.uint16)
    for image in (encode(Image.fromarray(levels)), levels, levels.astype(">u2")):
        assert decode_image(image, channels=1)[0, :, 0].tolist() == [0, 1, 255, 128]


def test_decode_applies_exif_orientation() -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to display: the left half comes to the top
    turned = decode_image(encode(Image.fromarray(pixels), "JPEG", exif=exif, quality=95), channels=1)
    assert turned.shape == (16, 8, 1)
    assert turned[:7].mean() > 200
    assert turned[9:].mean() < 50


def test_decode_size_cuts_the_centre() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (decode_image(wide, channels=3, size=10) == 200).all()


def test_decode_accepts_unit_floats_bools_and_wide_integers() -> None:
    assert decode_image(np.array([[0.0, 1.0]]), channels=1).ravel().tolist() == [0, 255]
    assert decode_image(np.array([[False, True]]), channels=1).ravel().tolist() == [0, 255]
    assert decode_image(np.array([[7, 255]], np.int64), channels=1).ravel().tolist() == [7, 255]


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((2, 2, 2), np.uint8), r"must be \(h, w\) or"),
        (np.zeros((0, 2), np.uint8), r"must be \(h, w\) or"),
        (np.array([[0.0, 255.0]]), r"must lie in \[0, 1\]"),
        (np.array([[np.nan]]), r"must lie in \[0, 1\]"),
        (np.array([[300]], np.int64), "integers in"),
        (np.array([[1j]]), "integers in"),
    ],
)
def test_decode_refuses_arrays_that_are_no_image(array: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        decode_image(array, channels=3)


def test_decode_refuses_truncated_and_unknown_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = encode(Image.fromarray(noise), "JPEG")
    decode_image(whole, channels=3)
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_image(whole[: len(whole) // 2], channels=3)
    for data in (b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(DataError, match="unknown format"):
            decode_image(data, channels=3)


@pytest.mark.parametrize("side", [8000, 60000])
def test_decode_refuses_too_many_pixels_before_decoding(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert side * side > MAX_PIXELS
    with pytest.raises(DataError, match="at most 50,000,000 pixels"):
        decode_image(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 16, channels=3)


def test_decode_refuses_other_channel_counts() -> None:
    with pytest.raises(DataError, match=r"`channels` must be 1 or 3, got 2"):
        decode_image(png(), channels=2)


def test_thumbnail_enlarges_digits_with_nearest_neighbour() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    picture = np.asarray(Image.open(io.BytesIO(thumbnail_png(digit, side=96))))
    np.testing.assert_array_equal(picture, np.kron(digit, np.ones((12, 12), np.uint8)))


def test_thumbnail_reduces_large_images_to_side() -> None:
    picture = Image.open(io.BytesIO(thumbnail_png(np.zeros((200, 100, 3), np.uint8), side=50)))
    assert picture.size == (25, 50)


def test_image_hash_tells_shapes_and_bytes_apart() -> None:
    flat = np.zeros((2, 8), np.uint8)
    assert image_hash(flat) == image_hash(flat.copy())
    assert image_hash(flat) != image_hash(flat.reshape(4, 4))
    assert image_hash(png(1)) != image_hash(png(2))
