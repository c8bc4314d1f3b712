import struct
import sys
import warnings
import zlib

import jax
import numpy as np
import pytest
from PIL import Image

from dipgp import images

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def write_png(path, width, height, bits, colour_type, channels):
    """Writes black, in forms that pillow does not write."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        length, checksum = (struct.pack(">I", n) for n in (len(content), checksum))
        return length + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    row = bytes(1 + width * channels * bits // 8)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")]
    chunks = b"".join(chunk(*part) for part in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def sixteen_bit_colour_tiff(path):
    pixels = np.zeros((2, 2, 3), "<u2").tobytes()
    entries = [
        (256, 3, 1, 2),  # width
        (257, 3, 1, 2),  # height
        (258, 3, 3, 8),  # bits a sample, at byte 8
        (259, 3, 1, 1),  # not compressed
        (262, 3, 1, 2),  # RGB
        (273, 4, 1, 14),  # pixels, at byte 14
        (277, 3, 1, 3),  # samples a pixel
        (278, 3, 1, 2),  # rows a strip
        (279, 4, 1, len(pixels)),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = struct.pack("<2sHI", b"II", 42, 14 + len(pixels))
    bits = struct.pack("<3H", 16, 16, 16)
    path.write_bytes(header + bits + pixels + directory + bytes(4))
    return path


class TestLoadImage:
    @pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
    def test_grey_files_give_one_channel(self, tmp_path, ending):
        image = images.load_image(save(tmp_path / f"a.{ending}", GREY))
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, GREY[:, :, None] / 255, atol=1e-7)

    @pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
    def test_colour_files_give_three_channels(self, tmp_path, ending):
        image = images.load_image(save(tmp_path / f"a.{ending}", COLOUR))
        np.testing.assert_allclose(image, COLOUR / 255, atol=1e-7)

    def test_sixteen_bit_grey_keeps_its_bits(self, tmp_path):
        pixels = GREY.astype(np.uint16) * 257 + 1
        image = images.load_image(save(tmp_path / "a.png", pixels))
        np.testing.assert_allclose(image[:, :, 0], pixels / 65535, atol=1e-7)

    def test_black_and_white_files_are_zero_and_one(self, tmp_path):
        image = images.load_image(save(tmp_path / "a.png", GREY > 100))
        np.testing.assert_array_equal(image[:, :, 0], GREY > 100)

    def test_palettes_are_looked_up(self, tmp_path):
        picture = Image.fromarray(COLOUR).quantize(256)
        picture.save(tmp_path / "a.png")
        image = images.load_image(tmp_path / "a.png")
        np.testing.assert_allclose(image, np.asarray(picture.convert("RGB")) / 255)

    def test_a_gif_of_one_frame_is_a_picture(self, tmp_path):
        Image.fromarray(COLOUR).quantize(256).save(tmp_path / "a.gif")
        assert images.load_image(tmp_path / "a.gif").shape == (6, 8, 3)

    def test_floats_are_kept(self, tmp_path):
        pixels = GREY.astype(np.float32) / 255
        image = images.load_image(save(tmp_path / "a.tif", pixels))
        np.testing.assert_array_equal(image[:, :, 0], pixels)

    def test_the_camera_is_held_upright(self, tmp_path):
        turned = Image.Exif()
        turned[0x0112] = 6  # orientation: turn right by a quarter
        path = save(tmp_path / "a.png", COLOUR, exif=turned)
        expected = np.rot90(COLOUR, -1) / 255
        np.testing.assert_allclose(images.load_image(path), expected, atol=1e-7)

    def test_a_telephones_photograph_with_a_preview_is_a_picture(self, tmp_path):
        preview = [Image.fromarray(COLOUR)]
        options = {"format": "MPO", "save_all": True, "append_images": preview}
        path = save(tmp_path / "a.jpg", COLOUR, **options)
        assert images.load_image(path).shape == (6, 8, 3)

    @pytest.mark.parametrize("pixels", [GREY, COLOUR])
    def test_opaque_alpha_is_dropped(self, tmp_path, pixels):
        picture = Image.fromarray(pixels)
        picture.putalpha(255)
        picture.save(tmp_path / "a.png")
        image = images.load_image(tmp_path / "a.png")
        expected = np.atleast_3d(pixels) / 255
        np.testing.assert_allclose(image, expected, atol=1e-7)

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_transparency_is_refused(self, tmp_path, mode):
        picture = Image.fromarray(COLOUR).convert(mode)
        picture.putalpha(Image.fromarray(GREY))
        picture.save(tmp_path / "a.png")
        with pytest.raises(ValueError, match=r"a\.png: .*transparency"):
            images.load_image(tmp_path / "a.png")

    def test_transparent_palettes_are_refused(self, tmp_path):
        picture = Image.fromarray(COLOUR).quantize(16)
        picture.save(tmp_path / "a.png", transparency=bytes(16))
        with pytest.raises(ValueError, match="transparency"):
            images.load_image(tmp_path / "a.png")

    def test_a_transparent_grey_is_refused(self, tmp_path):
        path = save(tmp_path / "a.png", GREY, transparency=5)
        with pytest.raises(ValueError, match="transparency"):
            images.load_image(path)

    def test_a_transparent_sixteen_bit_grey_is_refused(self, tmp_path):
        path = save(tmp_path / "a.png", GREY.astype(np.uint16), transparency=5)
        with pytest.raises(ValueError, match="transparency"):
            images.load_image(path)

    @pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
    def test_sixteen_bit_colour_or_alpha_is_refused(
        self, tmp_path, colour_type, channels
    ):
        path = write_png(tmp_path / "a.png", 4, 3, 16, colour_type, channels)
        with pytest.raises(ValueError, match=r"a\.png: .*16 bits a channel"):
            images.load_image(path)

    def test_sixteen_bit_colour_tiff_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"a\.tif: .*16 bits a channel"):
            images.load_image(sixteen_bit_colour_tiff(tmp_path / "a.tif"))

    @pytest.mark.parametrize("ending", ["gif", "png", "tif"])
    def test_animations_and_pages_are_refused(self, tmp_path, ending):
        path = tmp_path / f"a.{ending}"
        frames = [Image.fromarray(255 - COLOUR)]
        save(path, COLOUR, save_all=True, append_images=frames)
        with pytest.raises(ValueError, match="2 frames or pages"):
            images.load_image(path)

    def test_printers_colours_are_refused(self, tmp_path):
        Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
        with pytest.raises(ValueError, match="CMYK"):
            images.load_image(tmp_path / "a.jpg")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
    def test_floats_outside_the_unit_interval_are_refused(self, tmp_path, bad):
        pixels = np.full((3, 4), bad, np.float32)
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            images.load_image(save(tmp_path / "a.tif", pixels))

    @pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif"])
    def test_truncated_files_are_refused(self, tmp_path, ending):
        path = save(tmp_path / f"a.{ending}", np.tile(COLOUR, (9, 9, 1)))
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pillow also warns of some
            with pytest.raises(ValueError, match=rf"a\.{ending}: expected"):
                images.load_image(path)

    def test_a_picture_without_pixels_is_refused(self, tmp_path):
        path = write_png(tmp_path / "a.png", 0, 3, 8, 0, 1)
        with pytest.raises(ValueError, match=r"a\.png: expected"):
            images.load_image(path)

    def test_other_kinds_of_file_are_refused(self, tmp_path):
        (tmp_path / "a.png").write_text("a poem")
        with pytest.raises(ValueError, match=r"a\.png: expected .*another kind"):
            images.load_image(tmp_path / "a.png")

    @pytest.mark.parametrize("name", ["absent.png", "folder", "empty.png"])
    def test_what_is_no_file_with_content_is_refused(self, tmp_path, name):
        (tmp_path / "folder").mkdir()
        (tmp_path / "empty.png").touch()
        with pytest.raises(ValueError, match=f"{name}: expected a still picture"):
            images.load_image(tmp_path / name)


class TestLoadMask:
    def test_at_least_half_grey_is_observed(self, tmp_path):
        pixels = np.array([[0, 127], [128, 255]], np.uint8)
        mask = images.load_mask(save(tmp_path / "a.png", pixels))
        np.testing.assert_array_equal(mask, [[False, False], [True, True]])

    def test_grey_in_three_channels_is_a_mask(self, tmp_path):
        pixels = np.repeat(GREY[:, :, None], 3, axis=2)
        mask = images.load_mask(save(tmp_path / "a.png", pixels))
        np.testing.assert_array_equal(mask, GREY >= 128)

    def test_colours_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"a\.png: .*got colours"):
            images.load_mask(save(tmp_path / "a.png", COLOUR))


class TestSaveImage:
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
    def test_eight_bit_images_come_back(self, tmp_path, shape):
        levels = np.random.default_rng(0).integers(0, 256, shape)
        image = levels.astype(np.float32) / 255
        images.save_image(tmp_path / "a.png", image)
        np.testing.assert_array_equal(
            images.load_image(tmp_path / "a.png"), np.atleast_3d(image)
        )

    def test_intensities_are_clipped_and_rounded(self, tmp_path):
        image = np.array([[-0.3, 1.7, 100.4 / 255, 100.6 / 255]])
        images.save_image(tmp_path / "a.png", image)
        levels = np.asarray(Image.open(tmp_path / "a.png"))
        np.testing.assert_array_equal(levels, [[0, 255, 100, 101]])

    @pytest.mark.parametrize(
        "shape", [(4,), (4, 5, 2), (4, 5, 4), (0, 5), (1, 4, 5, 3)]
    )
    def test_other_shapes_are_refused(self, tmp_path, shape):
        with pytest.raises(ValueError, match="expected shape"):
            images.save_image(tmp_path / "a.png", np.zeros(shape))

    def test_nan_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="finite"):
            images.save_image(tmp_path / "a.png", np.full((2, 2), np.nan))

    def test_other_endings_are_refused_and_nothing_is_left_behind(self, tmp_path):
        with pytest.raises(ValueError, match=r"such as \.png"):
            images.save_image(tmp_path / "a.poem", np.zeros((2, 2)))
        assert not list(tmp_path.iterdir())


class TestSampleImage:
    def test_the_default_is_a_colour_photograph(self):
        image = images.sample_image()
        assert image.shape == (512, 512, 3)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() == 1

    @pytest.mark.parametrize("name", ["camera", "horse"])
    def test_grey_ones_have_one_channel(self, name):
        assert images.sample_image(name).shape[2] == 1

    def test_all_names_are_in_the_wheel(self):
        for name in images.SAMPLE_IMAGES:
            assert images.sample_image(name).ndim == 3

    def test_others_are_refused(self):
        with pytest.raises(ValueError, match=r"astronaut, .*got moon"):
            images.sample_image("moon")

    def test_without_scikit_image_the_error_tells_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "skimage", None)
        with pytest.raises(ImportError, match=r"pip install .dipgp\[experiments\]"):
            images.sample_image()


class TestAddNoise:
    def test_noise_has_the_asked_standard_deviation(self):
        image = np.full((100, 100, 3), 0.5, np.float32)
        noise = images.add_noise(jax.random.key(0), image, 0.1) - image
        assert noise.dtype == np.float32
        np.testing.assert_allclose(noise.std(), 0.1, rtol=0.02)
        np.testing.assert_allclose(noise.mean(), 0.0, atol=0.002)

    def test_clipping_is_a_choice(self):
        key, image = jax.random.key(0), np.zeros((9, 9, 1), np.float32)
        free = images.add_noise(key, image, 0.1, clip=False)
        assert free.min() < 0
        clipped = images.add_noise(key, image, 0.1)
        np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))

    def test_no_noise_changes_nothing(self):
        image = images.sample_image("microaneurysms")
        noisy = images.add_noise(jax.random.key(0), image, 0.0)
        np.testing.assert_array_equal(noisy, image)

    @pytest.mark.parametrize("noise_std", [-0.1, np.nan, np.inf])
    def test_impossible_noise_is_refused(self, noise_std):
        with pytest.raises(ValueError, match="noise_std"):
            images.add_noise(jax.random.key(0), np.zeros((2, 2)), noise_std)


class TestDropPixels:
    def test_the_asked_fraction_goes_missing(self):
        mask = images.drop_pixels(jax.random.key(0), (100, 100), 0.8)
        assert mask.dtype == bool
        np.testing.assert_allclose(1 - mask.mean(), 0.8, atol=0.02)

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, np.nan])
    def test_fractions_outside_the_open_interval_are_refused(self, fraction):
        with pytest.raises(ValueError, match="drop_fraction: expected"):
            images.drop_pixels(jax.random.key(0), (4, 4), fraction)

    def test_a_draw_that_drops_everything_is_refused(self):
        with pytest.raises(ValueError, match="left none of 2x3"):
            images.drop_pixels(jax.random.key(0), (2, 3), 0.999999)


def test_draws_are_the_same_with_and_without_64_bits():
    key, image = jax.random.key(3), np.full((8, 8, 1), 0.5, np.float32)
    noisy = images.add_noise(key, image, 0.1)
    mask = images.drop_pixels(key, (8, 8), 0.5)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(images.add_noise(key, image, 0.1), noisy)
        np.testing.assert_array_equal(images.drop_pixels(key, (8, 8), 0.5), mask)
