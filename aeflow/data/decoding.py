"""Bytes of one image file -> pixels, or the reason why there are none.

What a pixel means, whatever the file:

- Coordinates are those of the stored raster: an orientation tag (EXIF, TIFF) is not applied.
- The first page or frame counts (TIFF, MPO, APNG).
- Grey is the ITU-R 601 luma of the colours. Embedded colour profiles are not applied.
- Transparent pixels show white behind them: what lies under full transparency is arbitrary.
- 16-bit grey keeps its 16 bits (12-bit TIFF is widened to 16). 16-bit colour is read in 8 bits, the
  upper byte: Pillow has no wider colour.
- 32-bit and floating-point pixels have no defined white, and LAB needs a profile: `wrong_mode`.

A file that is cut off or damaged is refused (`truncated`), never filled in: Pillow's
`LOAD_TRUNCATED_IMAGES` stays False. Damage that leaves a decodable JPEG cannot be told from content.

Legend: H x W pixels, C channels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8] | np.dtype[np.uint16]]
Color = Literal["grey", "rgb"]

SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's names of the pixel formats that keep 16 bits."""

# The formats are called by name, not found by Image.open: nothing else is ever parsed, and Pillow's
# own process-wide limit of pixels does not stand in for the pipeline's.
_FORMATS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (b"II+\x00", TiffImagePlugin.TiffImageFile),  # BigTIFF
    (b"MM\x00+", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImageFile),
)
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEAD_BYTES = 18

_WITH_ALPHA = frozenset({"LA", "PA", "RGBA", "RGBa"})
_CONVERTIBLE = SIXTEEN_BIT | _WITH_ALPHA | {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
# How Pillow's plugins say that the file may be sound, but its pixel format is none they read.
_UNSUPPORTED = ("unknown pixel mode", "cannot handle", "unsupported")

_ORIENTATION_TAG, _BITS_TAG, _PHOTOMETRIC_TAG = 274, 258, 262
_WHITE_IS_ZERO = 0
# Pillow turns a TIFF by its orientation tag while loading it; this turns it back.
_TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})


class DecodeError(Exception):
    """The file is not fit to score. `reason` is a code of `schemas.REASONS`, `detail` what came."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Header:
    """What an image file says of itself."""

    format: str
    """PNG, JPEG, TIFF or BMP."""
    mode: str
    """Pillow's name of the stored pixel format, such as L, RGB, I;16."""
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Decoded:
    """One decoded image."""

    image: Image.Image
    """In mode L, RGB or I;16."""
    channels: int
    """C: 1 for grey, 3 for rgb. A grey image in an rgb pipeline has three equal channels."""

    @property
    def pixels(self) -> Pixels:
        """(H, W, C), read-only; uint8 with white 255, or uint16 with white 65535."""
        return _as_array(self.image, self.channels)

    def resized(self, height_px: int, width_px: int) -> Pixels:
        """(height_px, width_px, C) like `pixels`: bilinear, antialiased when made smaller.

        Pillow's own resampling is fixed-point arithmetic, the same on every processor; torch's is up
        to 1.6 times as fast on large colour images but differs by a grey level between processors.
        """
        size = (width_px, height_px)
        image = self.image
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return _as_array(image, self.channels)


def read_header(file: BinaryIO, *, max_pixels: int) -> Header:
    """What the file says of itself; no pixel is decoded.

    Raises:
        DecodeError: not_an_image, truncated, wrong_mode, or too_many_pixels (more than `max_pixels`).
    """
    image = _open(file, max_pixels)
    width, height = _stored_size(image)
    return Header(str(image.format), image.mode, width, height)


def decode(data: bytes, *, color: Color, max_pixels: int) -> Decoded:
    """The pixels of one image file.

    Raises:
        DecodeError: not_an_image, truncated, wrong_mode, or too_many_pixels (more than `max_pixels`).
    """
    image = _open(io.BytesIO(data), max_pixels)
    turn_back = _TURN_BACK.get(_tiff_orientation(image))
    try:
        image.load()
        plain = _plain(image, color)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        # Only TIFF: Pillow asks its own limit once more when it loads the pixels.
        raise DecodeError("too_many_pixels", str(error)) from error
    except Exception as error:
        # Damaged bytes make Pillow's parsers raise nearly every built-in error.
        raise DecodeError(*_told_by(error)) from error
    if turn_back is not None:
        plain = plain.transpose(turn_back)
    return Decoded(plain, 1 if color == "grey" else 3)


def _open(file: BinaryIO, max_pixels: int) -> ImageFile:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    plugin = next((p for signature, p in _FORMATS if head.startswith(signature)), None)
    if plugin is BmpImageFile and int.from_bytes(head[14:18], "little") not in _BMP_HEADER_SIZES:
        plugin = None  # a text may begin with BM too
    if plugin is None:
        raise DecodeError("not_an_image", f"begins with {head[:8]!r}")
    try:
        image = plugin(file)
    except MemoryError:
        raise
    except Exception as error:
        # As in `decode`: a damaged header raises nearly anything.
        raise DecodeError(*_told_by(error)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError("too_many_pixels", f"{width} x {height} = {width * height} pixels")
    if image.mode not in _CONVERTIBLE:
        raise DecodeError("wrong_mode", f"{image.format} with pixels of mode {image.mode}")
    return image


def _told_by(error: Exception) -> tuple[str, str]:
    text = " ".join(str(error).split()) or type(error).__name__
    unsupported = any(phrase in text.lower() for phrase in _UNSUPPORTED)
    return ("wrong_mode" if unsupported else "truncated"), text


def _tiff_orientation(image: ImageFile) -> int:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    value = image.tag_v2.get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) else 1


def _stored_size(image: ImageFile) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _tiff_orientation(image) in _SIDEWAYS else (width, height)


def _plain(image: ImageFile, color: Color) -> Image.Image:
    """The image in mode L, RGB or I;16. A grey image stays grey; `rgb` repeats it later."""
    target = "L" if color == "grey" else "RGB"
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray(_sixteen_bit(image))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert(target)
    if image.mode in {"L", target}:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"CMYK", "YCbCr"}:
        return image.convert("RGB").convert(target)
    return image.convert(target)


def _sixteen_bit(image: ImageFile) -> NDArray[np.uint16]:
    """(H, W) with black 0 and white 65535."""
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS_TAG, (16,))
        if bits and bits[0] == 12:
            values = (values * np.uint16(16)) | (values // np.uint16(256))  # 4095 becomes 65535
        if image.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
            values = ~values  # Pillow inverts 8 bits, but not 16
    return values


def _as_array(image: Image.Image, channels: int) -> Pixels:
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == channels:
        return array
    return np.broadcast_to(array, (*array.shape[:2], channels))
