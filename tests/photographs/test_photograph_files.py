import numpy as np
import pytest
from picture_files import samples, saved

from dipgp.photographs import exif, format_of, read


def test_content_says_the_format(tmp_path):
    path = tmp_path / "misnamed.png"
    path.write_bytes(saved(samples(3), "JPEG"))
    assert read(path).format == "JPEG"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "an empty file", id="empty"),
        pytest.param(b"GIF89a and more", "another kind of file", id="no picture"),
        pytest.param(saved(samples(3), "GIF"), "a GIF picture; try", id="GIF"),
        pytest.param(saved(samples(3), "JPEG")[:200], "Truncated", id="cut short"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"picture\.png: expected a PNG.*{reason}"):
        read(path)


def test_an_ending_names_the_format():
    assert format_of("a/b.JPG") == "JPEG"
    with pytest.raises(ValueError, match=r"x\.gif: expected an ending among \.png"):
        format_of("x.gif")


@pytest.mark.parametrize("block", [b"", b"II*\0", b"nonsense", b"II*\0\xff\xff\0\0"])
def test_damaged_exif_is_left_as_it_is(block):
    assert exif.orientation(block) == 1
    assert exif.upright(block) == block
    assert exif.without_preview(block) == (block, False)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_levels_are_parts_of_white(dtype):
    photograph = read_samples(np.array([[[0], [np.iinfo(dtype).max]]], dtype))
    np.testing.assert_array_equal(photograph.colours[:, :, 0], [[0.0, 1.0]])


def read_samples(pixels):
    from dipgp.photographs import png_file

    return png_file.decode(saved(pixels, "PNG"))
