"""The page in a real browser: it loads in silence, sliders move, it fits a phone."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dipgp.images import save_image
from experiments import report, reporting, results
from experiments.restoration import Restoration
from experiments.results import Result

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
sync_api = pytest.importorskip(
    "playwright.sync_api", reason='needs playwright: pip install -e ".[browser]"'
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]

DESKTOP, PHONE = (1280, 900), (390, 844)


def results_of(method, level, **more):
    """A method's picture of one level, with the records that a run would write."""
    picture = np.full((96, 128, 3), level)
    record = {
        "experiment": "denoise",
        "image": "squares",
        "method": method,
        "psnr": 20.0 + level,
        "ssim": 0.9,
        "seconds": 1.5,
        "converged": True,
        "message": "ran to the end",
        "hyperparameters": {"stop_by": "iteration", "stop_at": 7},
        "configuration": {"seed": 0, "methods": ["gp", "sgd"], "setting": "x" * 300},
        "versions": reporting.versions(),
    }
    restoration = Restoration(picture, 1.5, 3, 0.1, {}, "", True, **more)
    return Result(method, restoration, picture, record)


@pytest.fixture(scope="module")
def page_address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    std = random.uniform(size=(96, 128, 3))
    iterations = np.arange(1.0, 50.0)
    trace = {"fit": iterations, "psnr": iterations}
    done = [results_of("gp", 0.9, std=std), results_of("sgd", 0.8, trace=trace)]
    observed = random.uniform(0, 0.2, size=(96, 128, 3))
    results.write(folder, observed, np.full((96, 128, 3), 0.7), done)
    save_image(folder / "observed.png", observed)
    page, problems = report.run([str(folder)])
    assert problems == []
    return page.as_uri()


@pytest.fixture(scope="module")
def browser():
    # Chromium's own sandbox does not run as the superuser, as in a container.
    alone = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=alone)
        yield found
        found.close()


@pytest.fixture
def visit(browser, page_address):
    """Opens the page; the test fails where it complained or asked for anything."""
    contexts, complaints, requests = [], [], []

    def call(size=DESKTOP, colours="light"):
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colours
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_address)
        return page

    yield call
    for context in contexts:
        context.close()
    assert complaints == []
    asked = [url for url in requests if not url.startswith("data:")]
    assert asked == [page_address] * len(contexts)


def pixels(place):
    """(H, W, 3) what is seen there, from 0 to 255."""
    with Image.open(io.BytesIO(place.screenshot())) as picture:
        return np.asarray(picture.convert("RGB"), float)


def test_the_slider_uncovers_one_picture_from_the_other(visit):
    page = visit()
    stage = page.locator(".comparison .stage")
    line = page.locator(".comparison input[type=range]")
    width = pixels(stage).shape[1]
    left, right = slice(10, width // 3), slice(2 * width // 3, width - 10)
    half = pixels(stage)
    assert half[:, left].mean() < 60  # observed
    assert half[:, right].mean() > 200  # restored
    line.focus()
    page.keyboard.press("Home")
    assert pixels(stage)[:, left].mean() > 200
    page.keyboard.press("End")
    assert pixels(stage)[:, right].mean() < 60
    page.keyboard.press("ArrowLeft")
    assert line.get_attribute("aria-valuetext").startswith("99 % observed")
    box = stage.bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.3 * box["height"])
    assert abs(int(line.input_value()) - 25) <= 1


def test_any_two_pictures_can_be_compared(visit):
    page = visit()
    left, right = (
        page.get_by_label(f"{side} picture", exact=True) for side in ("left", "right")
    )
    stage = page.locator(".comparison .stage")
    before = pixels(stage)
    right.select_option(label="sgd, 20.80 dB")
    width = before.shape[1]
    changed = pixels(stage)[:, 2 * width // 3 : -10]
    assert abs(changed.mean() - 255 * 0.8) < 3
    # The same on both sides would hide what was on one.
    left.select_option(label="sgd, 20.80 dB")
    assert right.input_value() == "0"


def test_the_map_of_uncertainty_fades_and_changes(visit):
    page = visit()
    stage = page.locator(".overlay .stage")
    opacity = page.locator(".overlay input[type=range]")
    shown = []
    for value in ("0", "100"):
        opacity.fill(value)
        shown.append(pixels(stage))
    page.get_by_label("size of the error").check()
    shown.append(pixels(stage))
    assert abs(shown[0].mean() - 255 * 0.9) < 3  # the restoration alone
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(shown[one] - shown[other]).mean() > 10


def test_tables_are_sorted_by_their_numbers(visit):
    page = visit()
    table = page.locator("table.sortable").first
    button = table.get_by_role("button", name="PSNR", exact=True)
    orders = []
    for _ in range(2):
        button.click()
        orders.append(table.locator("tbody td:nth-child(2)").all_text_contents())
    assert orders == [["sgd", "gp"], ["gp", "sgd"]]
    assert table.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(visit, size):
    page = visit(size)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    text = page.locator(".chart text").first
    assert text.bounding_box()["height"] >= 10


def test_all_pictures_have_loaded_and_have_words(visit):
    page = visit()
    found = page.evaluate(
        "[...document.images].map(i => [i.complete && i.naturalWidth, i.alt])"
    )
    assert len(found) > 8
    assert all(width and alt for width, alt in found)


def test_it_is_dark_where_that_is_asked_for(visit):
    assert pixels(visit().locator("body")).mean() > 130
    dark = visit(colours="dark")
    assert np.median(pixels(dark.locator("header"))) < 40
