import pytest

from dipgp.command import options

ALL = ("denoise", "inpaint", "upscale", "deblur")
NEEDED = {"inpaint": ["--mask=m.png"]}


def parsed(task, *more):
    return options.parse([task, "a.png", "-o", "b.png", *NEEDED.get(task, []), *more])


@pytest.mark.parametrize("task", ALL)
def test_a_restoration_needs_no_more_than_two_files(task):
    order = parsed(task)
    assert (order.task, order.inputs, order.output) == (task, ("a.png",), "b.png")
    assert order.noise_std == (1 / 255 if task == "upscale" else None)


def test_noise_is_told_in_grey_levels():
    assert parsed("denoise", "--noise=25.5").noise_std == pytest.approx(0.1)
    assert parsed("upscale", "--noise=auto").noise_std is None


def test_several_pictures_may_be_named():
    order = options.parse(["denoise", "a.png", "b.png", "-o", "out"])
    assert order.inputs == ("a.png", "b.png")


def test_a_blur_is_out_of_focus_unless_another_is_told():
    assert parsed("deblur").gaussian == options.DEFAULT_BLUR_STD
    assert parsed("deblur", "--motion=9").gaussian is None
    assert parsed("deblur", "--kernel=k.png").gaussian is None
    assert parsed("deblur", "--motion=9", "--angle=-30").angle == -30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "restoration"),
        (["denoise", "a.png"], "-o/--output"),
        (["inpaint", "a.png", "-o", "b.png"], "--mask"),
        (["denoise", "a.png", "-o", "b.png", "--noise=0"], "above 0.001 and up to"),
        (["denoise", "a.png", "-o", "b.png", "--noise=much"], "invalid number value"),
        (["denoise", "a.png", "-o", "b.png", "--factor=2"], "unrecognized arguments"),
        (["upscale", "a.png", "-o", "b.png", "--factor=1"], "number from 2 to 16"),
        (
            ["deblur", "a.png", "-o", "b.png", "--gaussian=1", "--motion=2"],
            "not allowed",
        ),
        (["deblur", "a.png", "-o", "b.png", "--angle=3"], "expected --motion"),
        (["denoise", "a.png", "-o", "b.png", "--preset=smoke"], "--method=sgld"),
        (
            ["denoise", "a.png", "-o", "b.png", "--resume", "--overwrite"],
            "no --overwrite",
        ),
    ],
)
def test_mistakes_end_in_advice(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("task", ["", *ALL])
def test_help_teaches_with_examples(task, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse([*task.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    examples = [line for line in text.splitlines() if line.startswith("  dipgp ")]
    assert examples
    for example in examples:  # each can be parsed
        command = example.strip().split("   ")[0]  # the rest explains it
        options.parse([word.strip("'") for word in command.split()[1:]])
