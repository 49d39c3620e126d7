"""Draw the captured bodies over the video."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from av.audio.frame import AudioFrame
from jaxtyping import Float, UInt8
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.lens import Lens
from selfmocap.io.prefetch import map_in_threads, prefetched
from selfmocap.io.video import Frame, Video
from selfmocap.io.video_writer import write_video
from selfmocap.visualization.ground_grid import draw_ground, ground_lines
from selfmocap.visualization.render import draw_body

PERSON_COLOURS = (
    (0.40, 0.70, 1.00),
    (1.00, 0.62, 0.30),
    (0.50, 0.88, 0.52),
    (0.92, 0.52, 0.82),
    (0.95, 0.85, 0.35),
)
_OPACITY, _FILLED_OPACITY = 0.75, 0.4
"""Of a body in observed frames, and in interpolated ones."""
_BLOCK = 64
"""Number of frames that are posed together."""


def write_overlay_video(
    path: Path,
    video: Video,
    motions: Sequence[Motion],
    body: Body,
    progress: Callable[[int, int], None] = lambda done, total: None,
    lens: Lens | None = None,
    sound: Iterable[AudioFrame] = (),
) -> None:
    """Write an mp4 of the `overlay_images`, atomically. The `sound` is kept (see `io.sound`)."""
    write_video(path, overlay_images(video, motions, body, progress, lens), video.fps, sound=sound)


def overlay_images(
    video: Video,
    motions: Sequence[Motion],
    body: Body,
    progress: Callable[[int, int], None] = lambda done, total: None,
    lens: Lens | None = None,
) -> Iterator[tuple[float, UInt8[np.ndarray, "height width 3"]]]:
    """Yield time and image of each frame of the video with the body of every motion drawn into it, the nearest on top.
    Sides are cut to even numbers.

    A `lens` with distortion bends the bodies, whose camera is the undistorted one, as it bends the video. In the world
    of a moving camera, lines on the ground are drawn too, a metre apart, those of the first person in the frame. Memory
    does not grow with the length of the video."""
    rows = [{int(frame): row for row, frame in enumerate(motion.frame_index)} for motion in motions]

    grounds = [ground_lines(m) if m.camera.R_cam_world.ndim > 2 else None for m in motions]

    @functools.lru_cache(maxsize=2 * len(motions))
    def posed(number: int, block: int) -> Float[Tensor, "time vertices 3"]:
        return _posed(motions[number][block * _BLOCK : (block + 1) * _BLOCK], body)

    def drawn(frame: Frame) -> tuple[float, UInt8[np.ndarray, "height width 3"]]:
        image = frame.image[: frame.image.shape[0] // 2 * 2, : frame.image.shape[1] // 2 * 2]
        present = [(n, of[frame.index]) for n, of in enumerate(rows) if frame.index in of]
        if present and (lines := grounds[present[0][0]]) is not None:
            n, row = present[0]
            image = draw_ground(image, lines, _camera_of(motions[n], row))
        for n, row in sorted(present, key=lambda found: -float(motions[found[0]].joints_cam[found[1], 0, 2])):
            vertices = posed(n, row // _BLOCK)[row % _BLOCK]
            if lens is not None and lens.is_distorted:
                vertices = lens.distort_points(vertices)
            opacity = _FILLED_OPACITY if motions[n].filled[row] else _OPACITY
            colour = PERSON_COLOURS[n % len(PERSON_COLOURS)]
            image = draw_body(image, vertices, body.faces, motions[n].camera, colour, opacity)
        return frame.time, np.ascontiguousarray(image)

    for number, image in enumerate(map_in_threads(drawn, prefetched(video.frames())), start=1):
        progress(number, video.declared_frames)
        yield image


def _posed(motion: Motion, body: Body) -> Float[Tensor, "time vertices 3"]:
    """Return vertices in the camera frame, metres."""
    with torch.no_grad():
        return motion.camera.to_camera(
            body_for(motion.all_parameters, body).pose(motion.all_parameters).vertices
        )


def _camera_of(motion: Motion, row: int) -> Camera:
    """Return the moving camera of one frame."""
    camera = motion.camera
    return replace(camera, R_cam_world=camera.R_cam_world[row], t_cam_world=camera.t_cam_world[row])
