"""One image, whatever its format, as uint8 pixels of a fixed shape; and back to PNG for galleries."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fvm_core.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20


def decode_image(image: bytes | NDArray[Any], *, channels: int, size: int | None = None) -> NDArray[np.uint8]:
    """Return (h, w, channels) uint8 pixels of one encoded image or raw array.

    Transparency is laid on white, palettes are resolved, 16-bit values scaled by 1/257, the EXIF orientation applied;
    of an animation the first frame counts. With `size` the shorter side is scaled to it (bicubic) and the centre
    (size, size) is cut out.

    >>> decode_image(np.full((2, 2), 65535, np.uint16), channels=3)[0, 0].tolist()
    [255, 255, 255]

    Raises:
        DataError: not one of FORMATS, damaged, truncated, or more than MAX_PIXELS (checked before decoding).
    """
    if channels not in (1, 3):
        raise DataError(f"`channels` must be 1 or 3, got {channels}. Choose grey (1) or colour (3).")
    picture = _from_array(image) if isinstance(image, np.ndarray) else _from_bytes(image, size)
    picture = _eight_bit(picture).convert("L" if channels == 1 else "RGB")
    if size is not None and picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8).reshape(picture.height, picture.width, channels)


def thumbnail_png(image: bytes | NDArray[Any], *, side: int = 96) -> bytes:
    """Return a PNG whose longer side is at most `side` pixels.

    Small images are enlarged by a whole factor with nearest neighbour, so that 8 x 8 digits stay crisp; large ones are
    reduced. Raises DataError like `decode_image`.
    """
    raw = image if isinstance(image, np.ndarray) else None
    pixels = decode_image(image, channels=1 if raw is not None and _is_grey(raw) else 3)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    longer = max(picture.size)
    if longer > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    elif side // longer > 1:
        factor = side // longer
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def image_hash(image: bytes | NDArray[Any]) -> bytes:
    """Return 16 bytes (BLAKE2b) that are equal for equal image bytes, or for equal arrays of equal shape and dtype."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(image, np.ndarray):
        digest.update(f"{image.dtype.str}{image.shape}".encode())
        digest.update(np.ascontiguousarray(image).data)
    else:
        digest.update(image)
    return digest.digest()


def _is_grey(array: NDArray[Any]) -> bool:
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)


def _from_bytes(data: bytes, size: int | None) -> Image.Image:
    if len(data) > MAX_BYTES:
        raise DataError(f"image file must be at most {MAX_BYTES >> 20} MiB, got {len(data) >> 20} MiB. Shrink it.")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(*picture.size)
        if size is not None and picture.format == "JPEG":
            picture.draft(picture.mode, (size, size))
        picture.load()
        return ImageOps.exif_transpose(picture)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"image must have at most {MAX_PIXELS:,} pixels ({error}). Shrink it.") from error
    except Exception as error:  # a hostile file makes Pillow's readers raise nearly anything
        reason = "unknown format" if isinstance(error, Image.UnidentifiedImageError) else f"{error}"
        raise DataError(
            f"image cannot be decoded ({reason}). It must be an undamaged {', '.join(FORMATS)} file."
        ) from error


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(f"image must have at most {MAX_PIXELS:,} pixels, got {width} x {height}. Shrink it.")


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise DataError(f"image array must be (h, w) or (h, w, 1, 3 or 4), got {array.shape}. Transpose or reshape it.")
    _check_pixels(array.shape[1], array.shape[0])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _scale_16_bit(array)
    elif array.dtype.kind == "f":
        array = _scale_unit(array)
    elif array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise DataError(
            f"image array must be uint16, bool, float in [0, 1] or integers in [0, 255], got {array.dtype} "
            "with other values. Convert it."
        )
    array = array.astype(np.uint8, copy=False)
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if _is_grey(array) and array.ndim == 3 else array))


def _scale_16_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    return ((np.clip(array, 0, 65535).astype(np.uint32) + 128) // 257).astype(np.uint8)


def _scale_unit(array: NDArray[Any]) -> NDArray[np.uint8]:
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise DataError("image array of floats must lie in [0, 1] without NaN. Scale it.")
    return np.rint(array * 255).astype(np.uint8)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Resolve every mode that `convert` would clip, drop or blend wrongly."""
    if picture.mode.startswith("I"):
        return Image.fromarray(_scale_16_bit(np.asarray(picture)))
    if picture.mode == "F":
        return Image.fromarray(_scale_unit(np.asarray(picture)))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture
