"""Test the report in headless Chromium with selenium; skipped if either is missing."""

import io
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.video_writer import write_video
from selfmocap.visualization.report import page
from selfmocap.visualization.report.page import write_report
from tests.helpers.exported_files import wandering_motion

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"),
]

REPORT = {
    "video": {"path": "clip.mp4"},
    "people": [
        {
            "accepted": True,
            "before": {"heldout_reprojection_px": 4.2, "keypoint_px_by_frame": [4.0] * 40},
            "after": {"heldout_reprojection_px": 0.9, "keypoint_px_by_frame": [1.0] * 40},
            "low_confidence_ranges": [[30, 33, "half outside the picture"]],
        }
    ],
}


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=40)


@pytest.fixture(scope="module")
def folder(motion: Motion, body: Body, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page with an embedded video whose frames have different greys, one with a link to it, one without."""
    folder = tmp_path_factory.mktemp("report")
    pictures = ((n / 30, np.full((64, 96, 3), 6 * n, np.uint8)) for n in range(40))
    write_video(folder / "overlay.mp4", pictures, 30.0)
    write_report(folder / "filmed.html", [motion, motion[:20]], body, REPORT, folder / "overlay.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "MAX_EMBEDDED_BYTES", 0)
        write_report(folder / "linked.html", [motion], body, REPORT, folder / "overlay.mp4")
    write_report(folder / "plain.html", [motion], body, REPORT, None)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "use-angle=swiftshader"):
        options.add_argument(f"--{flag}")
    options.add_argument("--enable-unsafe-swiftshader")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def sized(browser, width: int, height: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def until(said: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def opened(browser, path: Path) -> None:
    browser.get(path.as_uri())
    until(
        lambda: browser.execute_script(
            "return document.readyState === 'complete' && (!video || video.readyState > 1)"
        )
    )


def pixels(element) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")).astype(int)


def by_id(browser, name: str):
    return browser.find_element("id", name)


def test_the_slider_updates_body_video_and_text(browser, folder: Path, motion: Motion, body: Body) -> None:
    sized(browser, 1280, 800)
    opened(browser, folder / "filmed.html")
    slider, scene = by_id(browser, "frame"), by_id(browser, "scene")
    before = pixels(scene)
    slider.send_keys(*["\ue014"] * 31)
    assert by_id(browser, "number").text == "frame 31"
    assert by_id(browser, "warning").text == "Person 1: low confidence: half outside the picture"
    after = pixels(scene)
    assert (np.abs(after - before).max(-1) > 40).mean() > 0.01
    posed = browser.execute_script(
        "return posedJoints(people[0], people[0].row[shown], parents).map(({ p }) => p)"
    )
    assert np.abs(np.array(posed) - body.pose(motion[31:32].parameters).joints[0].numpy()).max() < 1e-3
    until(lambda: not browser.execute_script("return video.seeking"))
    middle = pixels(by_id(browser, "video"))
    grey = middle[middle.shape[0] // 2, middle.shape[1] // 2].mean()
    assert grey == pytest.approx(6 * 31, abs=5)


def test_dragging_and_the_video_camera_change_the_view(browser, folder: Path) -> None:
    sized(browser, 1280, 800)
    opened(browser, folder / "plain.html")
    scene = by_id(browser, "scene")
    views = [pixels(scene)]
    webdriver.ActionChains(browser).drag_and_drop_by_offset(scene, 120, 30).perform()
    views.append(pixels(scene))
    by_id(browser, "video-camera").click()
    views.append(pixels(scene))
    by_id(browser, "top-view").click()
    views.append(pixels(scene))
    for one, other in itertools.combinations(range(4), 2):
        assert (np.abs(views[one] - views[other]).max(-1) > 40).mean() > 0.01


def test_the_top_view_shows_the_whole_path_of_people_and_camera(browser, folder: Path) -> None:
    sized(browser, 1280, 800)
    opened(browser, folder / "plain.html")
    by_id(browser, "top-view").click()
    assert not by_id(browser, "follow").is_selected() and not browser.execute_script("return useVideoCamera")
    seen = browser.execute_script("""
        const { matrix } = orbit.view(canvas.clientWidth / canvas.clientHeight, targetOf(selected, shown));
        const clip = (p, row) => matrix[12 + row] + [0, 1, 2].reduce((sum, k) => sum + matrix[4 * k + row] * p[k], 0);
        const { path, cameraPath } = selected;
        return [...path.positions, ...cameraPath.positions].map((p) => [0, 1].map((row) => clip(p, row) / clip(p, 3)));
    """)
    assert len(seen) == 80 and np.abs(seen).max() < 1
    assert np.ptp(np.array(seen)[:40], axis=0).max() > 0.05, "the path of the person"


@pytest.mark.parametrize("name", ["filmed", "linked", "plain"])
def test_playback_loops_and_stops(browser, folder: Path, name: str) -> None:
    sized(browser, 1280, 800)
    opened(browser, folder / f"{name}.html")
    frame = lambda: int(by_id(browser, "number").text.split()[1])  # noqa: E731
    by_id(browser, "play").click()
    until(lambda: frame() > 5)
    until(lambda: frame() > 30)
    until(lambda: frame() < 20)
    by_id(browser, "play").click()
    stopped = frame()
    time.sleep(0.3)
    assert frame() == stopped


def test_nothing_is_fetched_and_nothing_is_logged(browser, folder: Path) -> None:
    sized(browser, 1280, 800)
    for log in ("browser", "performance"):
        browser.get_log(log)
    for name in ("filmed", "linked", "plain"):
        opened(browser, folder / f"{name}.html")
        by_id(browser, "play").click()
        time.sleep(0.5)
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert len(addresses) >= 2
    assert {address.split(":")[0] for address in addresses} <= {"file", "blob", "data"}


def test_the_page_fits_a_phone_and_follows_the_colour_scheme(browser, folder: Path) -> None:
    sized(browser, 390, 844)
    opened(browser, folder / "filmed.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    light = pixels(by_id(browser, "scene")).mean()
    sized(browser, 390, 844, "dark")
    until(lambda: pixels(by_id(browser, "scene")).mean() < light - 100)
