"""Measure the app beside the command line: seconds from the drop of a video to its playing result in Chromium, and
those of `selfmocap capture` with the same settings, alternating. Then the seconds a frame of each stage, as in
`selfmocap.app.stages`.

    python benchmarks/app.py VIDEO [--seconds 2.5] [--quality fast] [--rounds 3]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver

COMMAND = [sys.executable, "-c", "import sys; from selfmocap.cli.main import main; main(sys.argv[1:])"]
FLAGS = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "use-angle=swiftshader")
PLAYING = """
    const page = document.querySelector("iframe")?.contentDocument;
    return Number(page?.getElementById("number")?.textContent.split(" ")[1] ?? 0) > 1"""
FILL = """
    document.querySelector("[name=quality]").value = arguments[0];
    document.querySelector("[name=end]").value = arguments[1]"""

REMOVE = """
    fetch(`api/captures/${arguments[0]}/remove`, { method: "POST", body: "{}" }).then(arguments[1])"""


def by_command(video: Path, out: Path, seconds: float, quality: str) -> float:
    """Capture a video by the command line; return the seconds."""
    began = time.perf_counter()
    options = ["--out", str(out), "--end", str(seconds), "--quality", quality]
    subprocess.run([*COMMAND, "capture", str(video), *options], check=True, capture_output=True)
    return time.perf_counter() - began


def by_page(browser: Any, video: Path, seconds: float, quality: str) -> float:
    """Drop a video on the page, click once, and wait for the playing result; return the seconds."""
    began = time.perf_counter()
    browser.find_element("id", "files").send_keys(str(video))
    wait_for(lambda: browser.find_elements("css selector", "form.settings"))
    browser.execute_script(FILL, quality, str(seconds))
    browser.find_element("css selector", "form.settings .primary").click()
    wait_for(lambda: browser.execute_script(PLAYING))
    return time.perf_counter() - began


def wait_for(condition: Callable[[], Any], seconds: float = 3600) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the page did not get there")
        time.sleep(0.05)


def main() -> None:
    """Print the seconds of each round, their medians and the seconds a frame."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        chosen.add_argument(f"--{flag}")
    pairs, record = [], {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "app"
        app = subprocess.Popen([*COMMAND, "app", "--folder", str(folder), "--port", "0", "--no-browser"])
        browser = webdriver.Chrome(chosen, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            opener = folder / ".selfmocap" / "open.html"
            wait_for(opener.is_file)
            browser.get(opener.read_text().partition("url=")[2].partition('"')[0])
            for number in range(options.rounds):
                out = Path(place) / f"command-{number}"
                command = by_command(options.video, out, options.seconds, options.quality)
                page = by_page(browser, options.video, options.seconds, options.quality)
                pairs.append((command, page))
                (path,) = folder.glob("captures/*/capture.json")
                record = json.loads(path.read_text())
                browser.execute_async_script(REMOVE, record["id"])
                wait_for(browser.find_element("id", "no-captures").is_displayed)
                print(f"command {command:.1f} s, page {page:.1f} s, ratio {page / command:.3f}", flush=True)
        finally:
            browser.quit()
            app.terminate()
            app.wait()
    command, page = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
    print(f"median: command {command:.1f} s, page {page:.1f} s, {100 * (page / command - 1):+.1f} %")
    print({name: round(s / record["frames"], 4) for name, s in record["stage_seconds"].items()})


if __name__ == "__main__":
    main()
