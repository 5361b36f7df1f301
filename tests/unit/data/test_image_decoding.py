import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from aeflow.data.decoding import DecodeError, decode, read_header
from tests.image_samples import bomb, colours, encoded, png, ramp

ROOMY = 10_000_000


def pixels_of(data, color="grey"):
    return decode(data, color=color, max_pixels=ROOMY).pixels


def pixels_or_reason(data):
    try:
        return "pixels" if pixels_of(data).size else "none"
    except DecodeError as error:
        return error.reason


def reason_of(data, **limits):
    with pytest.raises(DecodeError) as caught:
        decode(data, color="grey", max_pixels=limits.get("max_pixels", ROOMY))
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_bytes_come_back_as_they_were_stored(kind):
    np.testing.assert_array_equal(pixels_of(encoded(ramp(), kind))[:, :, 0], ramp())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_colours_come_back_as_they_were_stored(kind):
    np.testing.assert_array_equal(pixels_of(encoded(colours(), kind), "rgb"), colours())


def test_a_jpeg_is_what_pillow_makes_of_it():
    data = encoded(colours(), "JPEG", quality=90)
    np.testing.assert_array_equal(pixels_of(data, "rgb"), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_a_compressed_tiff_is_read(compression):
    data = encoded(ramp(), "TIFF", compression=compression)
    np.testing.assert_array_equal(pixels_of(data)[:, :, 0], ramp())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(kind):
    stored = ramp(dtype=np.uint16)
    pixels = pixels_of(encoded(stored, kind))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[:, :, 0], stored)


def test_a_big_endian_sixteen_bit_tiff_has_the_same_values():
    stored = ramp(dtype=np.uint16)
    image = Image.frombytes("I;16B", (16, 12), stored.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels_of(encoded(image, "TIFF"))[:, :, 0], stored)


def test_sixteen_bits_with_white_as_zero_are_turned_round():
    stored = ramp(dtype=np.uint16)
    data = bytearray(encoded(stored, "TIFF"))
    at = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[at + 8] = 0  # PhotometricInterpretation: white is zero
    np.testing.assert_array_equal(pixels_of(bytes(data))[:, :, 0], 65535 - stored)


def test_sixteen_bits_are_resized_in_sixteen_bits():
    flat = np.full((30, 30), 12_345, dtype=np.uint16)
    resized = decode(encoded(flat), color="grey", max_pixels=ROOMY).resized(8, 8)
    assert resized.dtype == np.uint16
    assert (resized == 12_345).all()


def test_sixteen_bit_colour_is_read_as_its_upper_bytes():
    stored = (colours().astype(np.uint16) << 8) | 0x7F
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in stored)
    pixels = pixels_of(png(16, 12, rows, depth=16, colour_type=2), "rgb")
    np.testing.assert_array_equal(pixels, colours())


def test_resizing_is_pillows_antialiased_bilinear():
    stored = colours(40, 60)
    resized = decode(encoded(stored), color="rgb", max_pixels=ROOMY).resized(10, 20)
    expected = Image.fromarray(stored).resize((20, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(expected))


def test_a_grey_image_in_a_colour_pipeline_has_three_equal_channels():
    pixels = pixels_of(encoded(ramp()), "rgb")
    assert pixels.shape == (12, 16, 3)
    np.testing.assert_array_equal(pixels, ramp()[:, :, None].repeat(3, axis=2))


def test_a_colour_image_in_a_grey_pipeline_is_its_luma():
    luma = colours() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pixels_of(encoded(colours()))[:, :, 0] - luma).max() <= 1


def test_a_palette_is_looked_up():
    image = Image.fromarray(ramp() // 64 % 2, "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    pixels = pixels_of(encoded(image), "rgb")
    assert {tuple(p) for p in pixels.reshape(-1, 3).tolist()} == {(10, 20, 30), (200, 100, 50)}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(kind):
    image = Image.fromarray(ramp() > 100)
    np.testing.assert_array_equal(pixels_of(encoded(image, kind))[:, :, 0], np.where(ramp() > 100, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white(mode):
    image = Image.fromarray(ramp()).convert(mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 8, 12))
    image.putalpha(alpha)
    pixels = pixels_of(encoded(image))[:, :, 0]
    assert (pixels[:, :8] == 255).all()
    np.testing.assert_array_equal(pixels[:, 8:], ramp()[:, 8:])


def test_a_transparent_palette_colour_shows_white():
    image = Image.fromarray(ramp() // 64 % 2, "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    pixels = pixels_of(encoded(image, transparency=0), "rgb")
    assert {tuple(p) for p in pixels.reshape(-1, 3).tolist()} == {(255, 255, 255), (200, 100, 50)}


def test_a_cmyk_jpeg_is_converted():
    data = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    assert (pixels_of(data, "rgb") >= 250).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_an_orientation_tag_leaves_the_pixels_where_they_are_stored(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    plain, turned = encoded(ramp(), kind), encoded(ramp(), kind, exif=exif)
    np.testing.assert_array_equal(pixels_of(turned), pixels_of(plain))
    header = read_header(io.BytesIO(turned), max_pixels=ROOMY)
    assert (header.width_px, header.height_px) == (16, 12)


def test_the_first_page_of_a_tiff_counts():
    first, second = Image.fromarray(ramp()), Image.new("L", (16, 12), 7)
    data = encoded(first, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(pixels_of(data)[:, :, 0], ramp())


def test_the_first_picture_of_an_mpo_counts():
    data = encoded(
        Image.new("L", (16, 12), 9), "MPO", save_all=True, append_images=[Image.new("L", (16, 12))]
    )
    assert (pixels_of(data) == 9).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"just a text that was named .png\n", "not_an_image"),
        (b"BMW 320d, a text that begins like a bitmap", "not_an_image"),
        (encoded(Image.new("L", (8, 8)), "GIF"), "not_an_image"),
        (encoded(Image.new("L", (8, 8)), "WEBP"), "not_an_image"),
        (b"\x89PNG", "not_an_image"),
        (encoded(ramp())[:30], "truncated"),
        (encoded(ramp())[:-30], "truncated"),
        (encoded(colours(64, 64), "JPEG")[:900], "truncated"),
        (encoded(ramp(), "TIFF")[:-40], "truncated"),
        (encoded(ramp(64, 64), "BMP")[:-400], "truncated"),
        (encoded(ramp(), "TIFF", compression="tiff_deflate")[:60], "truncated"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "wrong_mode"),
        (encoded(Image.new("I", (8, 8)), "TIFF"), "wrong_mode"),
        (encoded(Image.new("LAB", (8, 8)), "TIFF"), "wrong_mode"),
        (bomb(), "too_many_pixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:8]),
)
def test_what_is_not_fit_is_refused_with_its_reason(data, reason):
    assert reason_of(data) == reason


def test_a_jpeg_of_twelve_bits_is_a_wrong_mode():
    data = bytearray(encoded(ramp(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert reason_of(bytes(data)) == "wrong_mode"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_the_limit_of_pixels_is_inclusive(kind):
    data = encoded(ramp(12, 16), kind)
    assert decode(data, color="grey", max_pixels=192).pixels.shape == (12, 16, 1)
    assert reason_of(data, max_pixels=191) == "too_many_pixels"


def test_a_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(DecodeError, match="too_many_pixels: 100000 x 100000"):
        read_header(io.BytesIO(bomb()), max_pixels=ROOMY)


def test_a_limit_above_pillows_own_is_honoured(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pixels_of(encoded(ramp())).shape == (12, 16, 1)


def test_a_tiff_above_pillows_own_limit_is_set_aside_not_crashed_upon(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert reason_of(encoded(ramp(), "TIFF")) == "too_many_pixels"


def test_truncated_images_are_never_filled_in():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_any_cut_or_flipped_byte_gives_pixels_or_a_reason(kind):
    whole = encoded(ramp(), kind)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        for data in (whole[:at], bytes(flipped)):
            assert pixels_or_reason(data) in {
                "pixels", "not_an_image", "truncated", "wrong_mode", "too_many_pixels",
            }  # fmt: skip


def test_the_pixels_cannot_be_written_into():
    with pytest.raises(ValueError, match="read-only"):
        pixels_of(encoded(ramp()))[0, 0, 0] = 1
