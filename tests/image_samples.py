"""Small images of every kind, and pipelines over folders of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from aeflow.config import PipelineConfig


def ramp(height: int = 12, width: int = 16, dtype: type = np.uint8) -> np.ndarray:
    """(H, W) with all values from black to white."""
    top = np.iinfo(dtype).max
    return np.linspace(0, top, height * width).round().astype(dtype).reshape(height, width)


def colours(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The image as the bytes of a file."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour_type: int = 0) -> bytes:
    """A PNG of these raw rows (each begins with its filter byte), whether or not they fit the header."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def bomb(width: int = 100_000, height: int = 100_000) -> bytes:
    """A few bytes of PNG whose header says that the image is huge."""
    return png(width, height, bytes(64))


def pipeline(folder, *, source=None, batch="source", prepare=None, history=None, compute=None):
    """A pipeline over the images below `folder`."""
    return PipelineConfig.model_validate(
        {
            "name": "tiles",
            "source": {"kind": "images", "root": ".", **(source or {})},
            "batch": {"by": batch},
            "history": history or {},
            "prepare": {"kind": "images", "height_px": 8, "width_px": 8, **(prepare or {})},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
            "compute": compute or {"workers": 2},
        }
    ).at(folder)


def write(root, files: dict[str, bytes]):
    """Write files below `root`, with their folders; returns `root`."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root
