import signal
from pathlib import Path

import pytest

from tests.helpers.programs import start_process
from tests.helpers.stub_capture import capture_with_little_work, drawn_video, results, untrained_weights

pytestmark = pytest.mark.slow

MOMENTS = (
    "detect and track 8", "crops, masks and flow 5", "adapt 2", "adapt.json", "choose 1", "refine 1 12",
    "postprocess-2.json", "draw 7", "page.json",
)  # fmt: skip
"""Moments in the order of a capture, see `capture_with_little_work`."""


def test_a_capture_killed_in_every_stage_resumes_to_the_same_result(tmp_path: Path) -> None:
    """`benchmarks/capture_kills.py` kills captures at random moments."""
    video, weights = drawn_video(tmp_path / "two.mp4"), untrained_weights(tmp_path / "untrained.safetensors")

    def run(out: Path, moment: str = "") -> int | None:
        process = start_process(capture_with_little_work, video, out, weights, moment)
        process.join()
        return process.exitcode

    assert run(tmp_path / "uninterrupted") == 0
    for moment in MOMENTS:
        assert run(tmp_path / "killed", moment) == -signal.SIGKILL, moment
    assert run(tmp_path / "killed") == 0
    assert results(tmp_path / "killed") == results(tmp_path / "uninterrupted")
