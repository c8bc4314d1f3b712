import io

import numpy as np
import pytest
import tifffile
from picture_files import PROFILE, XMP, exif, samples, saved

from dipgp.photographs import encode, tiff_file


def written(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    options = {"photometric": "rgb" if pixels.shape[-1] > 2 else "minisblack"} | options
    if pixels.shape[-1] in (2, 4):
        options = {"extrasamples": ["unassalpha"]} | options
    if pixels.shape[-1] == 1:
        pixels = pixels[:, :, 0]
    elif pixels.ndim == 3 and pixels.shape[0] > 4:
        options = {"planarconfig": "contig"} | options
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def again(content: bytes) -> tuple[tifffile.TiffFile, list[str]]:
    content, left_out = encode(tiff_file.decode(content), "TIFF", quality=95)
    return tifffile.TiffFile(io.BytesIO(content)), left_out


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_bit_comes_back(channels, dtype):
    pixels = samples(channels, dtype)
    file, left_out = again(written(pixels))
    assert left_out == []
    found = file.asarray().reshape(pixels.shape)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)
    assert len(file.pages[0].extrasamples) == (channels in (2, 4))


@pytest.mark.parametrize(
    ("options", "compression"),
    [
        pytest.param({"compression": "zlib"}, 8, id="deflated"),
        pytest.param({"byteorder": ">"}, 1, id="big endian"),
        pytest.param({"bigtiff": True}, 1, id="BigTIFF"),
        pytest.param({"tile": (16, 16)}, 1, id="tiles"),
    ],
)
def test_the_coding_is_kept(options, compression):
    pixels = samples(3, "uint16")
    file, _ = again(written(pixels, **options))
    np.testing.assert_array_equal(file.asarray(), pixels)
    assert file.pages[0].compression == compression
    assert file.byteorder == options.get("byteorder", "<")
    assert file.is_bigtiff == options.get("bigtiff", False)


def test_separate_planes_are_read():
    pixels = samples(3, "uint16")
    content = written(np.moveaxis(pixels, -1, 0), photometric="rgb")
    assert tifffile.TiffFile(io.BytesIO(content)).pages[0].planarconfig == 2
    file, _ = again(content)
    np.testing.assert_array_equal(file.asarray(), pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_metadata_come_back(byteorder):
    content = written(
        samples(3),
        byteorder=byteorder,
        description="a note",
        software="a program",
        iccprofile=PROFILE,
        resolution=(300, 72),
        resolutionunit="inch",
        extratags=[
            (700, "B", len(XMP), XMP, True),
            (315, "s", 0, "me", True),
            (33432, "s", 0, "mine, for years", True),
            (37500, "H", 3, (1, 2, 3), True),
        ],
    )
    file, left_out = again(content)
    assert left_out == []
    tags = file.pages[0].tags
    assert tags[270].value == "a note"
    assert tags[305].value == "a program"
    assert tags[315].value == "me"
    assert tags[33432].value == "mine, for years"
    assert tags[37500].value == (1, 2, 3)
    assert bytes(tags[34675].value) == PROFILE
    assert bytes(tags[700].value) == XMP
    assert [tags[code].value for code in (282, 283)] == [(300, 1), (72, 1)]


def test_a_turned_picture_is_stored_as_it_was():
    pixels = samples(3, "uint16")
    content = written(pixels, extratags=[(274, "H", 1, 8, True)])
    photograph = tiff_file.decode(content)
    np.testing.assert_array_equal(photograph.samples, np.rot90(pixels))
    file, _ = again(content)
    np.testing.assert_array_equal(file.asarray(), pixels)
    assert file.pages[0].tags[274].value == 8


def test_what_is_left_out_is_told():
    _, left_out = again(saved(samples(3), "TIFF", exif=exif()))
    assert left_out == ["EXIF"]


def test_pillows_coders_are_used_where_they_give_all_bits():
    pixels = samples(3)
    content = saved(pixels, "TIFF", compression="tiff_lzw")
    np.testing.assert_array_equal(tiff_file.decode(content).samples, pixels)


REFUSED = {
    "pages": (lambda: written(np.stack([samples(3)] * 2)), "2 pages; try"),
    "alpha within": (
        lambda: written(samples(4), extrasamples=["assocalpha"]),
        "multiplied by alpha",
    ),
    "CMYK": (lambda: written(samples(4), photometric="separated"), "SEPARATED"),
    "32 bits": (lambda: written(samples(1).astype(np.uint32)), "samples of uint32"),
    "NaN": (lambda: written(np.full((5, 7, 1), np.nan, np.float32)), "not finite"),
    "beyond white": (
        lambda: written(np.full((5, 7, 1), 2.0, "f4")),
        "from 2 to 2, .*dividing",
    ),
    "one bit": (lambda: saved(samples(1) > 99, "TIFF"), "1 bit a sample"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_again_is_refused(case):
    content, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason):
        tiff_file.decode(content())
