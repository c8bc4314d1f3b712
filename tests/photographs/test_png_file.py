import dataclasses
import io
import struct
import zlib

import numpy as np
import png
import pytest
from picture_files import PROFILE, XMP, exif, opened, samples, saved
from PIL import Image, PngImagePlugin

from dipgp.photographs import encode, png_file


def chunk(name: bytes, data: bytes) -> bytes:
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def with_chunks(content: bytes, *chunks: bytes) -> bytes:
    behind_header = 33
    return content[:behind_header] + b"".join(chunks) + content[behind_header:]


def deep(pixels: np.ndarray) -> bytes:
    """16 bits a sample, by pypng."""
    height, width, channels = pixels.shape
    writer = png.Writer(
        width, height, greyscale=channels < 3, alpha=channels % 2 == 0, bitdepth=16
    )
    buffer = io.BytesIO()
    writer.write(buffer, pixels.reshape(height, -1).tolist())
    return buffer.getvalue()


def raw(content: bytes) -> np.ndarray:
    """All bits of a file, by pypng."""
    width, height, rows, facts = png.Reader(bytes=content).read()
    return np.vstack(list(map(np.array, rows))).reshape(height, width, facts["planes"])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_bit_comes_back(channels, bits):
    pixels = samples(channels, f"uint{bits}")
    content = deep(pixels) if bits == 16 else saved(pixels, "PNG")
    photograph = png_file.decode(content)
    assert photograph.colours.shape == (5, 7, 1 if channels < 3 else 3)
    assert (photograph.alpha is None) == (channels in (1, 3))
    again, left_out = encode(photograph, "PNG", quality=95)
    assert left_out == []
    np.testing.assert_array_equal(raw(again), pixels)
    assert again[24] == bits


def test_metadata_come_back():
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    content = saved(
        samples(3), "PNG", pnginfo=text, exif=exif(), icc_profile=PROFILE, dpi=(72, 300)
    )
    content = with_chunks(content, chunk(b"gAMA", struct.pack(">I", 45455)))
    again, left_out = encode(png_file.decode(content), "PNG", quality=95)
    assert left_out == []
    before, after = opened(content), opened(again)
    after.load()
    before.load()
    assert after.info == before.info
    assert after.info["gamma"] == 0.45455
    assert after.info["Author"] == "me"
    assert after.info["icc_profile"] == PROFILE
    assert after.getexif()[0x010F] == "a maker"


def test_chunks_that_are_unsafe_to_copy_are_named():
    content = with_chunks(
        saved(samples(1), "PNG"), chunk(b"prIV", b"x"), chunk(b"prIv", b"y")
    )
    again, left_out = encode(png_file.decode(content), "PNG", quality=95)
    assert left_out == ["the chunk prIV"]
    assert b"prIv" in again


def test_a_turned_picture_is_read_upright_and_stored_as_it_was():
    pixels = samples(3)
    content = saved(pixels, "PNG", exif=exif(orientation=6))
    photograph = png_file.decode(content)
    np.testing.assert_array_equal(photograph.samples, np.rot90(pixels, -1))
    again, _ = encode(photograph, "PNG", quality=95)
    np.testing.assert_array_equal(raw(again), pixels)
    assert opened(again).getexif()[0x0112] == 6


def test_a_picture_of_another_size_says_so_in_exif():
    photograph = png_file.decode(saved(samples(3), "PNG", exif=exif(orientation=6)))
    larger = dataclasses.replace(photograph, colours=np.zeros((14, 10, 3), np.float32))
    again, _ = encode(larger, "PNG", quality=95)
    camera = opened(again).getexif().get_ifd(0x8769)
    assert (camera[0xA002], camera[0xA003]) == (14, 10)
    assert opened(again).size == (14, 10)


REFUSED = {
    "palette": (lambda: as_mode("P"), "a palette"),
    "one bit": (lambda: as_mode("1"), "1 bit a sample"),
    "animation": (
        lambda: with_chunks(saved(samples(1), "PNG"), chunk(b"acTL", bytes(8))),
        "an animation",
    ),
    "transparent colour": (
        lambda: with_chunks(saved(samples(1), "PNG"), chunk(b"tRNS", bytes(2))),
        "a transparent colour",
    ),
    "cut short": (lambda: saved(samples(3), "PNG")[:60], "cut short"),
}


def as_mode(mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples(3)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_again_is_refused(case):
    content, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        png_file.decode(content())


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"8 or 16 bits, not float32; try \.tif"):
        png_file.encode(samples(1, "float32"), png_file.Metadata())
