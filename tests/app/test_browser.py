"""The page of the app in headless Chromium with selenium; skipped if either is missing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from tests.helpers.app_server import AppServer, app_server, until
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import mixamo_rig, write_rig

pytest.importorskip("aiohttp", reason="pip install 'selfmocap[app]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
ENTER = "\ue007"
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"),
]
MEGABYTES = 1_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "use-angle=swiftshader",
        "window-size=900,700",
    ):
        options.add_argument(f"--{flag}")
    for flag in (
        "enable-unsafe-swiftshader",
        "use-fake-device-for-media-stream",
        "use-fake-ui-for-media-stream",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, server: AppServer) -> Iterator:
    """The page, without captures; only the app's own address may be asked, and nothing is logged."""
    for one in server.captures():
        server.api(f"captures/{one['id']}/remove", {})
    browser.get("about:blank")
    show_reports(browser, False)  # They play, drawn without a GPU.
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(server.address)
    until(lambda: by_id(browser, "no-captures").is_displayed())
    yield browser
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert {a for a in asked if not a.startswith((server.address, "data:", "blob:", "about:"))} == set()
    assert [
        e for e in browser.get_log("browser") if "422" not in e["message"] and "ERR_" not in e["message"]
    ] == []


def show_reports(browser, shown: bool) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [] if shown else ["*report.html"]})


def by_id(browser, name: str):
    return browser.find_element("id", name)


def found(browser, selector: str) -> list:
    return browser.find_elements("css selector", selector)


def read(browser, selector: str, attribute: str = "") -> list[str]:
    """Return the texts, or an attribute, of elements, which the page may replace at any time."""
    script = """return [...document.querySelectorAll(arguments[0])].map(
        (node) => (arguments[1] ? node.getAttribute(arguments[1]) : node.textContent))"""
    return browser.execute_script(script, selector, attribute)


def click(browser, selector: str, number: int = 0) -> None:
    until(lambda: len(read(browser, selector)) > number)
    browser.execute_script("document.querySelectorAll(arguments[0])[arguments[1]].click()", selector, number)


def upload(browser, path: Path, seconds: float = 20) -> None:
    by_id(browser, "files").send_keys(str(path))
    until(lambda: found(browser, "form.settings"), seconds)


def shown_state(browser) -> str:
    return next(iter(read(browser, "#captures [aria-current]", "data-state")), "")


def playing_frame(browser) -> int:
    script = """
      const page = document.querySelector("iframe")?.contentDocument;
      return Number(page?.getElementById("number")?.textContent.split(" ")[1] ?? -1)"""
    return browser.execute_script(script)


BONES = {"Arm": "ForeArm", "ForeArm": "Hand", "UpLeg": "Leg", "Leg": "Foot"}
"""Bones of Mixamo's limbs and their children, of both sides."""


def limb_directions(positions: dict[str, np.ndarray]) -> np.ndarray:
    """Return the unit vectors along the limbs, from the positions (..., 3) of the bones: (..., limbs, 3)."""
    ends = [
        [positions[f"mixamorig:{side}{name}"] for name in pair]
        for side in ("Left", "Right") for pair in BONES.items()
    ]  # fmt: skip
    along = np.stack([np.subtract(end, start) for start, end in ends], axis=-2)
    return along / np.linalg.norm(along, axis=-1, keepdims=True)


def watch_scenes(browser) -> None:
    """Keep the scenes of three.js, which announces them to its developer tools."""
    browser.execute_script("""
        window.scenes = []; window.__THREE_DEVTOOLS__ = new EventTarget();
        __THREE_DEVTOOLS__.addEventListener("observe", ({ detail }) => detail.isScene && scenes.push(detail))""")


def shown_bones(browser) -> dict[str, np.ndarray]:
    """Return the positions of the bones that the page draws now."""
    found = browser.execute_script("""
        const found = {};
        scenes.at(-1).traverse((node) => {
            if (node.isBone) found[node.userData.name ?? node.name] = node.matrixWorld.elements.slice(12, 15);
        });
        return found""")
    return {name: np.array(position) for name, position in found.items()}


def test_three_clicks_lead_from_a_video_to_a_playing_result(page, server: AppServer, clip: Path) -> None:
    show_reports(page, True)
    (server.folder / "hold").touch()
    upload(page, clip)
    assert found(page, ".preview")[0].is_displayed()
    click(page, "form.settings .primary")
    until(lambda: read(page, ".stages progress", "value") == ["5"])
    (row,) = read(page, ".stages li")
    assert read(page, ".left") == ["Less than a minute left."]
    assert "detect and track" in row and "5 / 10" in row
    (server.folder / "hold").unlink()
    until(lambda: playing_frame(page) > 3)
    assert "gravity" in read(page, "section.alarm")[0]
    assert "Focal length 1000 px" in by_id(page, "detail").text
    people = "button[data-person]"
    assert read(page, people, "aria-pressed") == ["true", "true"]
    click(page, people, 1)
    assert read(page, people, "aria-pressed") == ["true", "false"]
    page.execute_script("document.querySelector('iframe').remove()")


def test_a_character_moves_and_files_can_be_taken_away(
    page, server: AppServer, clip: Path, tmp_path: Path
) -> None:
    capture = server.captured(clip)
    until(lambda: found(page, "input[accept='.glb,.vrm,.bvh']"))
    rig = write_rig(mixamo_rig(), tmp_path / "hero.glb")
    watch_scenes(page)
    found(page, "input[accept='.glb,.vrm,.bvh']")[0].send_keys(str(rig))
    until(lambda: found(page, "canvas[data-shown]"), 60)
    link = found(page, "a[href$='characters/hero.glb']")[0].get_attribute("href")
    _, content, headers = server.get(link.removeprefix(f"http://127.0.0.1:{server.port}"))
    assert headers["Content-Disposition"].endswith("hero.glb")
    (tmp_path / "moving.glb").write_bytes(content)
    moving = pygltflib.GLTF2().load(str(tmp_path / "moving.glb"))
    assert moving is not None
    assert [animation.name for animation in moving.animations] == ["idle", "person-1", "person-2"]
    in_file = PlayedGltf(tmp_path / "moving.glb", "person-2")
    played = limb_directions({name: in_file.position(name) for name in in_file.names if name})
    shown, moments = [], []
    for _ in range(2):
        shown.append(limb_directions(shown_bones(page)))
        apart_deg = np.degrees(np.arccos((played * shown[-1]).sum(-1).clip(-1, 1))).max(-1)
        moments.append(int(apart_deg.argmin()))
        assert apart_deg.min() < 5  # Half of the way from one key to the next.
        until(lambda: np.abs(limb_directions(shown_bones(page)) - shown[0]).max() > 0.2)
    assert abs(moments[0] - moments[1]) > 1
    click(page, "button[data-program='unreal']")
    until(lambda: found(page, "a[href*='exports/unreal']"), 60)
    names = [file["name"] for file in server.api(f"captures/{capture}/result")["files"]]
    assert {f"exports/unreal/person-{n}/motion.glb" for n in (1, 2)} <= set(names)


def test_the_password_leads_to_the_page_by_keyboard_alone(browser, tmp_path: Path) -> None:
    with app_server(tmp_path, "--password", "a long password") as server:
        browser.get(f"http://127.0.0.1:{server.port}/")
        browser.switch_to.active_element.send_keys("a wrong one", ENTER)
        until(lambda: read(browser, "[role=alert]") == ["The password is wrong."])
        assert server.address not in browser.page_source
        browser.switch_to.active_element.send_keys("a long password", ENTER)
        until(lambda: browser.current_url == server.address)
        until(lambda: by_id(browser, "no-captures").is_displayed())
        browser.get("about:blank")


def test_a_capture_is_cancelled_and_tried_again(page, server: AppServer, clip: Path) -> None:
    (server.folder / "hold").touch()
    upload(page, clip)
    click(page, "form.settings .primary")
    until(lambda: found(page, ".stages li"))
    click(page, ".stages + p button")
    until(lambda: shown_state(page) == "cancelled")
    (server.folder / "hold").unlink()
    click(page, "form.settings .primary")
    until(lambda: shown_state(page) == "done")


def test_the_page_continues_after_a_restart_in_the_middle(page, server: AppServer, clip: Path) -> None:
    (server.folder / "hold").touch()
    upload(page, clip)
    click(page, "form.settings .primary")
    until(lambda: found(page, ".stages li"))
    server.kill()
    until(lambda: by_id(page, "message").is_displayed())
    (server.folder / "hold").unlink()
    server.start()
    until(lambda: shown_state(page) == "done")
    assert not by_id(page, "message").is_displayed()


def test_a_file_that_is_no_video_is_refused_in_the_words_of_the_command_line(page, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("notes")
    by_id(page, "files").send_keys(str(tmp_path / "notes.mp4"))
    until(lambda: "found a file that cannot be read" in by_id(page, "message").text)
    assert not found(page, "#uploads li") and not found(page, "#captures li")


def test_two_tabs_show_the_same_and_names_are_no_html(
    page, server: AppServer, clip: Path, tmp_path: Path
) -> None:
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(server.address)
    name = "<img src=x onerror=document.title='hacked'>.mp4"
    server.api("uploads?name=" + name.replace(" ", "%20"), clip.read_bytes())
    for _ in range(2):
        until(lambda: read(page, "#captures .name, #detail h2") == [name, name])
        assert not found(page, "#captures img") and page.title == "selfmocap"
        if page.current_window_handle != first:
            page.close()
            page.switch_to.window(first)


def test_the_webcam_is_recorded(page) -> None:
    by_id(page, "webcam").click()
    until(lambda: by_id(page, "live").is_displayed() and page.execute_script("return live.currentTime > 0.5"))
    by_id(page, "stop-recording").click()
    until(lambda: read(page, "#detail h2") in (["webcam.webm"], ["webcam.mp4"]), 40)


def test_an_upload_of_400_mb_takes_little_memory(page, server: AppServer, clip: Path, tmp_path: Path) -> None:
    def peak_kb() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    film = tmp_path / "long.mp4"
    size = 400 * MEGABYTES
    free = size - clip.stat().st_size
    with film.open("wb") as file:
        file.write(clip.read_bytes() + free.to_bytes(4, "big") + b"free")
        file.truncate(size)
    before = peak_kb()
    upload(page, film, 90)
    (capture,) = server.captures()
    assert (server.folder / capture["video"]).stat().st_size == size
    assert peak_kb() - before < 300_000
