"""The captured bodies, drawn over the video."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from selfmocap.body import Body, BodyParameters
from selfmocap.camera import Camera
from selfmocap.frontend.ahead import ahead
from selfmocap.frontend.overlay import write_pictures
from selfmocap.motion import Motion
from selfmocap.render import drawn_over
from selfmocap.video import Video

PERSON_COLOURS = (
    (0.40, 0.70, 1.00),
    (1.00, 0.62, 0.30),
    (0.50, 0.88, 0.52),
    (0.92, 0.52, 0.82),
    (0.95, 0.85, 0.35),
)
_FADED = 0.4
"""Opacity of a body in a frame in which the person was not seen."""


def write_bodies(
    path: Path,
    video: Video,
    motions: Sequence[Motion],
    body: Body,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes `path`, an mp4 of the video with every motion's body drawn into it, the nearest on top, whole or not at
    all. Memory does not grow with the length of the video."""
    rows = [{int(frame): row for row, frame in enumerate(motion.frame_index)} for motion in motions]

    def pictures() -> Iterator[tuple[float, UInt8[np.ndarray, "height width 3"]]]:
        for frame in ahead(video.frames()):
            report(frame.index + 1, video.declared_frames)
            image = frame.image[: frame.image.shape[0] // 2 * 2, : frame.image.shape[1] // 2 * 2]
            here = [
                (m, row[frame.index], n)
                for n, (m, row) in enumerate(zip(motions, rows, strict=True))
                if frame.index in row
            ]
            for motion, row, number in sorted(
                here, key=lambda found: -float(found[0].joints_cam[found[1], 0, 2])
            ):
                image = _with_body(image, motion, row, body, PERSON_COLOURS[number % len(PERSON_COLOURS)])
            yield frame.time, np.ascontiguousarray(image)

    write_pictures(path, pictures(), video.fps)


def _with_body(
    image: UInt8[np.ndarray, "height width 3"],
    motion: Motion,
    row: int,
    body: Body,
    colour: tuple[float, float, float],
) -> UInt8[np.ndarray, "height width 3"]:
    parameters, camera = motion.parameters, motion.camera
    if camera.R_cam_world.ndim > 2:
        camera = Camera(camera.focal, camera.center, camera.R_cam_world[row], camera.t_cam_world[row])
    with torch.no_grad():
        posed = body.pose(
            BodyParameters(parameters.betas, parameters.R_parent_joint[row], parameters.p_world_root[row])
        )
    opacity = _FADED if motion.filled[row] else 0.75
    return drawn_over(image, camera.to_camera(posed.vertices), body.faces, camera, colour, opacity)
