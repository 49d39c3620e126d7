"""The stages of a capture that make what people look at: the drawn videos and the page."""

import functools
from typing import Any

from selfmocap.body_model.motion import Motion
from selfmocap.geometry.lens import Lens
from selfmocap.io.sound import sound_frames
from selfmocap.io.stage_cache import StageRecord
from selfmocap.io.video import open_video
from selfmocap.pipeline.capture_run import CaptureRun, StageOutput, default_body, load_motion
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.tracking.observe import OVERLAY_FILE
from selfmocap.tracking.overlay import write_overlay
from selfmocap.visualization.overlay import write_overlay_video
from selfmocap.visualization.report.page import write_report
from selfmocap.visualization.report.residuals import residual_curves


def draw_bodies(job: CaptureRun, motions: list[Motion], processed: list[StageRecord], lens: Lens) -> None:
    """Write `overlay.mp4`, the video with the bodies and its sound."""
    if job.config.overlay == "none":
        return

    def compute() -> StageOutput:
        path = job.out / "overlay.mp4"
        progress, video = functools.partial(job.progress, "draw"), open_video(job.video, job.config.input)
        sound = sound_frames(video) if job.config.input.keeps_times else ()
        write_overlay_video(path, video, motions, default_body(), progress, lens, sound)
        return {}, [path]

    job.stages.run("draw", {}, processed, compute)


def draw_observations(job: CaptureRun, people: list[CapturedPerson], observed: StageRecord) -> None:
    """Write `observations.mp4`, the video with what was detected."""
    if job.config.overlay != "all":
        return

    def compute() -> StageOutput:
        path = job.out / OVERLAY_FILE
        files = [person.observations_file for person in people]
        write_overlay(path, open_video(job.video, job.config.input), files, job.progress)
        return {}, [path]

    job.stages.run("observations", {}, [observed], compute)


def write_page(
    job: CaptureRun,
    people: list[CapturedPerson],
    motions: list[Motion],
    after: list[StageRecord],
    report: dict[str, Any],
) -> None:
    """Write `report.html`, which also has the residual of every frame; `report.json` would get too large with it."""

    def compute() -> StageOutput:
        path = job.out / "report.html"
        curves = [
            residual_curves(load_motion(job, person, "before"), motion, person.observations)
            for person, motion in zip(people, motions, strict=True)
        ]
        detailed = [
            entry | {when: entry[when] | {"keypoint_px_by_frame": px} for when, px in curve.items()}
            for entry, curve in zip(report["people"], curves, strict=True)
        ]
        overlay = None if job.config.overlay == "none" else job.out / "overlay.mp4"
        write_report(path, motions, default_body(), report | {"people": detailed}, overlay, job.unlinked)
        return {}, [path]

    needs = {"report": report, "exports": list(job.config.formats), "overlay": job.config.overlay}
    needs |= {"unlinked": sorted(job.unlinked)} if job.unlinked else {}
    job.stages.run("page", needs, after, compute)
