import io
import struct

import numpy as np
import pytest
from picture_files import PROFILE, XMP, exif, opened, samples, saved
from PIL import Image

from dipgp.photographs import encode, jpeg_file


def smooth(channels: int) -> np.ndarray:
    """A picture that JPEG keeps nearly as it is."""
    ramp = np.linspace(40, 200, 16).astype(np.uint8)
    return np.stack([np.add.outer(ramp // 2, ramp // 2)] * channels, axis=-1)


def with_segment(content: bytes, marker: int, payload: bytes) -> bytes:
    segment = struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
    return content[:2] + segment + content[2:]


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back_but_for_coding(channels):
    photograph = jpeg_file.decode(saved(smooth(channels), "JPEG", quality=100))
    assert photograph.colours.shape == (16, 16, channels)
    again, left_out = encode(photograph, "JPEG", quality=95)
    assert left_out == []
    assert opened(again).mode == ("L" if channels == 1 else "RGB")
    pixels = np.asarray(opened(again)).astype(int)
    assert np.abs(pixels.reshape(16, 16, channels) - smooth(channels)).max() <= 4


def test_quality_is_the_coders():
    photograph = jpeg_file.decode(saved(samples(3), "JPEG"))
    sizes = [len(encode(photograph, "JPEG", quality)[0]) for quality in (50, 95)]
    assert sizes[0] < sizes[1]


def test_metadata_come_back():
    content = saved(
        smooth(3),
        "JPEG",
        exif=exif(size=(16, 16)),
        icc_profile=PROFILE * 5000,  # more than a segment holds
        xmp=XMP,
        comment="hello",
        dpi=(300, 300),
    )
    content = with_segment(content, 0xED, b"Photoshop 3.0\0caption")
    again, left_out = encode(jpeg_file.decode(content), "JPEG", quality=95)
    assert left_out == []
    before, after = opened(content).info, opened(again).info
    assert after["exif"] == before["exif"]
    assert after["icc_profile"] == PROFILE * 5000
    assert after["xmp"] == XMP
    assert after["comment"] == b"hello"
    assert after["dpi"] == (300, 300)
    assert b"Photoshop 3.0\0caption" in again


def test_dots_per_centimetre_are_dots_per_inch():
    # Version 1.1, dots per centimetre, 100 across and 50 down, no preview.
    segment = b"JFIF\0\1\1" + struct.pack(">BHHBB", 2, 100, 50, 0, 0)
    content = saved(smooth(3), "JPEG")
    behind = 4 + struct.unpack_from(">H", content, 4)[0]
    photograph = jpeg_file.decode(
        with_segment(b"\xff\xd8" + content[behind:], 0xE0, segment)
    )
    assert photograph.metadata.density == pytest.approx((254, 127))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_read_as_they_are_shown(orientation):
    content = saved(smooth(3)[:8], "JPEG", exif=exif(orientation))
    photograph = jpeg_file.decode(content)
    with opened(content) as picture:
        stored = np.asarray(picture)
        turns = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }
        shown = picture.transpose(turns[orientation]) if orientation > 1 else picture
        np.testing.assert_array_equal(photograph.samples, np.asarray(shown))
    again, _ = encode(photograph, "JPEG", quality=100)
    assert opened(again).getexif()[0x0112] == orientation
    assert np.abs(np.asarray(opened(again)).astype(int) - stored).max() <= 4


def test_another_format_stores_rows_upright():
    content = saved(smooth(3)[:8], "JPEG", exif=exif(6), xmp=XMP, dpi=(72, 300))
    photograph = jpeg_file.decode(content)
    again, left_out = encode(photograph, "PNG", quality=95)
    assert left_out == []
    png = opened(again)
    np.testing.assert_array_equal(np.asarray(png), photograph.samples)
    assert png.getexif()[0x0112] == 1
    assert 'tiff:Orientation="1"' in png.info["XML:com.adobe.xmp"]
    assert np.round(png.info["dpi"]).tolist() == [300, 72]


def test_previews_are_left_out_and_told():
    block = exif().removeprefix(b"Exif\0\0")
    second = struct.pack(">I", len(block))
    count = struct.unpack_from(">H", block, 8)[0]
    place = 10 + 12 * count
    block = block[:place] + second + block[place + 4 :] + bytes(6)
    others = [Image.fromarray(smooth(3))]
    content = saved(smooth(3), "MPO", save_all=True, append_images=others)
    content = with_segment(content, 0xE1, b"Exif\0\0" + block)
    again, left_out = encode(jpeg_file.decode(content), "JPEG", quality=95)
    assert sorted(left_out) == ["EXIF's preview", "further pictures in the file"]
    assert b"MPF" not in again
    assert opened(again).getexif()[0x010F] == "a maker"


def test_cmyk_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(smooth(3)).convert("CMYK").save(buffer, "JPEG")
    with pytest.raises(ValueError, match="colour mode CMYK; try converting"):
        jpeg_file.decode(buffer.getvalue())


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        pytest.param(samples(1, "uint16"), "8 bits, not uint16", id="16 bits"),
        pytest.param(samples(4), "no alpha channel", id="alpha"),
    ],
)
def test_what_jpeg_cannot_hold_is_refused(pixels, reason):
    with pytest.raises(ValueError, match=reason):
        jpeg_file.encode(pixels, jpeg_file.Metadata(), quality=95)


def test_the_coarsest_step_of_the_coder_is_known():
    steps = [
        jpeg_file.decode(saved(smooth(3), "JPEG", quality=quality)).coder_step
        for quality in (50, 75, 100)
    ]
    # The specification's table has 121 at most, of which quality 75 takes half.
    np.testing.assert_allclose(steps, np.array([121, 61, 1]) / 255)
