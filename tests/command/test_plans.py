import dataclasses
import os

import pytest

from dipgp.command import plans
from dipgp.command.options import Order


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Empty files in the working folder: their content is not read by plans."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "photos/b.png", "photos/c.JPG", "photos/.d.png"):
        (tmp_path / name).touch()
    (tmp_path / "photos/notes.txt").touch()
    return tmp_path


def order(*inputs, output="out.png", **more):
    return Order(task="denoise", inputs=inputs, output=output, **more)


def outputs(made):
    return [str(plan.outputs["gp"]) for plan in made]


def test_one_picture_goes_where_it_is_told(folder):
    (plan,) = plans.make(order("a.png", output="new/out.tif"))
    assert str(plan.source) == "a.png"
    assert outputs([plan]) == ["new/out.tif"]
    assert plan.deviations == {}
    assert not plan.done


@pytest.mark.parametrize("output", ["new/", "photos"])
def test_one_picture_keeps_its_name_in_a_folder(folder, output):
    assert outputs(plans.make(order("a.png", output=output))) == [
        f"{output.rstrip('/')}/a.png"
    ]


@pytest.mark.parametrize("inputs", [["photos"], ["photos/*.*[gG]"], ["photos"] * 2])
def test_folders_and_patterns_are_their_pictures(folder, inputs):
    found = plans.make(order(*inputs, output="new"))
    assert outputs(found) == ["new/b.png", "new/c.JPG"]


def test_deviations_have_a_picture_and_numbers(folder):
    (plan,) = plans.make(order("a.png", std="std.png"))
    assert list(map(str, plan.deviations["gp"])) == ["std.png", "std.npz"]
    (plan,) = plans.make(order("a.png", std="std.npz"))
    assert list(map(str, plan.deviations["gp"])) == ["std.npz"]
    found = plans.make(order("photos", output="new", std="std"))
    assert [str(plan.deviations["gp"][0]) for plan in found] == [
        "std/b.png",
        "std/c.png",
    ]


def test_both_methods_have_files_of_their_own(folder):
    (plan,) = plans.make(order("a.png", method="both", std="s.png"))
    assert {name: str(path) for name, path in plan.outputs.items()} == {
        "gp": "out-gp.png",
        "sgld": "out-sgld.png",
    }
    assert str(plan.deviations["sgld"][1]) == "s-sgld.npz"


def test_masks_are_shared_or_found_by_name(folder):
    (plan,) = plans.make(order("a.png", mask="photos/b.png"))
    assert str(plan.mask) == "photos/b.png"
    (folder / "masks").mkdir()
    for name in ("b.png", "c.png"):
        (folder / "masks" / name).touch()
    found = plans.make(order("photos", output="new", mask="masks"))
    assert [str(plan.mask) for plan in found] == ["masks/b.png", "masks/c.png"]
    with pytest.raises(ValueError, match=r"--mask=masks: .*name of a\.png, got 0"):
        plans.make(order("a.png", mask="masks"))


def test_what_exists_is_kept_unless_told(folder):
    (folder / "out.png").touch()
    with pytest.raises(ValueError, match=r"out\.png: .*try --overwrite, or --resume"):
        plans.make(order("a.png"))
    assert not plans.make(order("a.png", overwrite=True))[0].done
    assert plans.make(order("a.png", resume=True))[0].done
    assert not plans.make(order("a.png", resume=True, std="std.png"))[0].done


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(order("b.png"), r"b\.png: .*no such file", id="absent"),
        pytest.param(order("*.gif", output="x"), "matches a file", id="pattern"),
        pytest.param(order("a.png", output="x.gif"), "an ending among", id="ending"),
        pytest.param(order("photos", output="a.png"), "got a file$", id="not a folder"),
        pytest.param(
            order("photos", output="new.png"), "new.png/ if that", id="a file's name"
        ),
        pytest.param(
            order("photos", output="new", std="s.npz"), "--std=s.npz", id="std's name"
        ),
        pytest.param(
            order("a.png", output="a.png/new/out.png"), "a.png is none", id="no folder"
        ),
        pytest.param(
            order("a.png", output="a.png", overwrite=True), "would be lost", id="itself"
        ),
        pytest.param(order("a.png", std="s.jpg"), r"--std=s\.jpg", id="std's ending"),
        pytest.param(
            order("a.png", output="s.png", std="s.png"),
            "for --std",
            id="twice",
        ),
    ],
)
def test_mistakes_are_named(folder, wanted, message):
    with pytest.raises(ValueError, match=message):
        plans.make(wanted)


def test_a_folder_that_cannot_be_written_to_is_refused(folder, monkeypatch):
    asked = []

    def refused(path, mode):
        asked.append(str(path))
        return False

    monkeypatch.setattr(os, "access", refused)  # by root nothing is
    with pytest.raises(ValueError, match=r"photos/new/deep: .* no permission"):
        plans.make(order("a.png", output="photos/new/deep/out.png"))
    assert asked == ["photos"]


def test_pictures_that_are_passed_over_are_known(folder):
    for name in ("photos/e.gif", "photos/f.WebP", "photos/.g.gif", "h.gif"):
        (folder / name).touch()
    found = plans.passed_over(["photos", "h.gif", "photos/*"])
    assert list(map(str, found)) == ["photos/e.gif", "photos/f.WebP"]


def test_a_folder_inside_a_folder_is_no_picture(folder):
    (folder / "photos/z.png").mkdir()
    assert len(plans.make(order("photos", output="new"))) == 2


@pytest.mark.parametrize("name", ["picture", "--output", "--std", "--mask"])
def test_an_empty_name_is_not_the_current_folder(folder, name):
    inputs = ("" if name == "picture" else "a.png",)
    more = {} if name == "picture" else {name.removeprefix("--"): ""}
    with pytest.raises(ValueError, match=f"{name}: expected .* an empty name"):
        plans.make(order(*inputs, **more))


def test_a_folder_without_pictures_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="folder with pictures"):
        plans.make(order("empty", output="new"))


def test_pictures_of_one_name_are_refused(folder):
    (folder / "photos/a.png").touch()
    wanted = order("a.png", "photos", output="new")
    with pytest.raises(ValueError, match="try two folders"):
        plans.make(wanted)
    assert len(plans.make(dataclasses.replace(wanted, inputs=("photos",)))) == 3
