"""Show the folder of a capture in an interactive viewer in the browser, with viser (an optional extra)."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import roma
import torch
from jaxtyping import UInt8

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.motion import Motion
from selfmocap.io.video import open_video
from selfmocap.visualization.overlay import PERSON_COLOURS

_MAX_IMAGE_WIDTH = 480
_MAX_DECODE_AHEAD = 2.0
"""Seconds. For an image further ahead, the decoder seeks instead of decoding the frames between."""

_Image = UInt8[np.ndarray, "height width 3"]


def view_capture(folder: Path, port: int) -> None:
    """Serve the folder of a capture on this machine until Ctrl+C.

    Raises FileNotFoundError if there is no capture in the folder, ImportError without viser."""
    viewer = open_viewer(folder, Body.load(), port)
    try:
        while True:
            viewer.advance()
    except KeyboardInterrupt:
        viewer.server.stop()


@dataclass(frozen=True, eq=False)
class Viewer:
    """A running server and its controls."""

    server: Any
    """The viser server."""
    show: Callable[[int], None]
    """Show one of the frames: the pose of every person and the image of the video."""
    frame: Any
    """The slider of frames."""
    playing: Any
    """The checkbox that starts playback."""
    speed: Any
    times: Sequence[float]
    """Time of each frame, s."""

    def advance(self) -> None:
        """Wait for the duration of the frame, then show the next one during playback."""
        current = self.frame.value
        following = (current + 1) % len(self.times)
        duration = max(self.times[following] - self.times[current], 1 / 60) / float(self.speed.value)
        time.sleep(min(duration, 1.0))
        if self.playing.value:
            self.frame.value = following


def open_viewer(folder: Path, body: Body, port: int) -> Viewer:
    """Start a server for the folder of a capture: the bodies on a ground, and the camera with the overlay's image.

    `port` is the first port to try."""
    motions = _motions(folder, body)
    viser = _viser()
    times = dict(sorted((n, t) for m in motions for n, t in zip(*_frames_and_times(m), strict=True)))
    server = viser.ViserServer(host="127.0.0.1", port=port, label="selfmocap", verbose=False)
    server.gui.configure_theme(show_share_button=False)
    server.scene.set_up_direction("+y")
    server.scene.add_grid(
        "/ground", 20, 20, plane="xz", section_color=(170, 170, 170), cell_color=(220, 220, 220)
    )
    _set_initial_view(server, motions[0])
    show = _make_show(server.scene, motions, body, folder / "overlay.mp4", list(times.items()))
    frame = server.gui.add_slider("Frame", 0, max(len(times) - 1, 1), 1, 0)
    playing = server.gui.add_checkbox("Play", initial_value=len(times) > 1)
    speed = server.gui.add_dropdown("Speed", ("0.25", "0.5", "1", "2"), initial_value="1")
    frame.on_update(lambda _: show(min(frame.value, len(times) - 1)))
    show(0)
    return Viewer(server, show, frame, playing, speed, list(times.values()))


def _viser() -> ModuleType:
    try:
        import viser  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            "the viewer needs the package viser, which is not installed; run: pip install 'selfmocap[view]' "
            "(report.html in the same folder works without it)"
        ) from error
    return viser


def _motions(folder: Path, body: Body) -> list[Motion]:
    paths = sorted(
        folder.glob("person-*/motion.npz"), key=lambda path: (len(path.parent.name), path.parent.name)
    )
    motions = [motion for path in paths if len(motion := Motion.load(path))]
    if not motions:
        raise FileNotFoundError(
            f"{folder}: expected person-N/motion.npz in the folder, found none; capture a video into it first"
        )
    if foreign := {motion.body for motion in motions} - {body.identity}:
        raise ValueError(f"{folder}: expected motions of the body {body.identity}, found {foreign.pop()}")
    return motions


def _frames_and_times(motion: Motion) -> tuple[list[int], list[float]]:
    return motion.frame_index.tolist(), motion.frame_times.tolist()


def _set_initial_view(server: Any, motion: Motion) -> None:
    """Set the first view: behind and to the right of the video's camera, towards the mean position of the person."""
    middle = motion.parameters.p_world_root.mean(0)
    x, y, z = (_camera_pose(motion, 0)[1] - middle).tolist()
    away = torch.tensor([x + 0.5 * z, y + 1, z - 0.5 * x])
    server.initial_camera.fov = 0.7
    server.initial_camera.look_at = middle.tolist()
    server.initial_camera.position = (middle + away * (1 + 2 / away.norm())).tolist()


def _camera_pose(motion: Motion, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    camera = motion.camera
    R, t = (x.reshape(-1, *shape) for x, shape in ((camera.R_cam_world, (3, 3)), (camera.t_cam_world, (3,))))
    row = min(row, len(R) - 1)
    return R[row].mT, -R[row].mT @ t[row]


def _make_show(
    scene: Any, motions: Sequence[Motion], body: Body, overlay: Path, frames: Sequence[tuple[int, float]]
) -> Callable[[int], None]:
    rest = body.pose(body.rest_parameters()).vertices.numpy()
    meshes = [
        scene.add_mesh_simple(
            f"/person-{n + 1}", rest, body.faces.numpy(), color=PERSON_COLOURS[n % len(PERSON_COLOURS)]
        )
        for n in range(len(motions))
    ]
    rows = [{frame: row for row, frame in enumerate(motion.frame_index.tolist())} for motion in motions]
    frustum = _frustum(scene, motions[0])
    image_at = _make_image_at(overlay) if overlay.is_file() else None
    one_at_a_time = threading.Lock()

    def show(number: int) -> None:
        with one_at_a_time:
            pose(*frames[number])

    def pose(index: int, time_s: float) -> None:
        for motion, mesh, row_of in zip(motions, meshes, rows, strict=True):
            mesh.visible = index in row_of
            if index in row_of:
                mesh.vertices = _vertices(motion, row_of[index], body)
        R_world_cam, p_camera = _camera_pose(motions[0], rows[0].get(index, 0))
        x, y, z, w = roma.rotmat_to_unitquat(R_world_cam).tolist()
        frustum.wxyz, frustum.position = (w, x, y, z), tuple(p_camera.tolist())
        if image_at is not None:
            frustum.image = image_at(time_s)

    return show


def _frustum(scene: Any, motion: Motion) -> Any:
    width, height = motion.image_size
    fov = 2 * math.atan(height / 2 / float(motion.camera.focal.flatten()[1]))
    return scene.add_camera_frustum("/camera", fov, width / height, scale=0.4, color=(90, 90, 90))


def _vertices(motion: Motion, row: int, body: Body) -> np.ndarray:
    parameters = motion[[row]].all_parameters
    with torch.no_grad():
        return body_for(parameters, body).pose(parameters).vertices[0].numpy()


def _make_image_at(path: Path) -> Callable[[float], _Image]:
    """Return a function from a time (s) to a small image of the video; successive times are decoded in one pass."""
    open_video(path)
    last: tuple[float, _Image] | None = None
    upcoming = iter(())

    def image_at(time_s: float) -> _Image:
        nonlocal last, upcoming
        if last is None or not last[0] - 1e-3 <= time_s < last[0] + _MAX_DECODE_AHEAD:
            last, upcoming = None, _decode_from(path, time_s)
        while last is None or last[0] < time_s - 2e-3:
            following = next(upcoming, None)
            if following is None:
                break
            last = following
        if last is None:
            raise ValueError(
                f"{path}: expected an image at {time_s:.2f} s, found none; capture the video again"
            )
        return last[1]

    return image_at


def _decode_from(path: Path, time_s: float) -> Iterator[tuple[float, _Image]]:
    """Decode times and images from the last key frame before a time on."""
    with av.open(str(path), format="mp4", options={"protocol_whitelist": "file"}) as container:
        stream = container.streams.video[0]
        container.seek(max(int(time_s * av.time_base), 0))
        for frame in container.decode(stream):
            width = min(frame.width, _MAX_IMAGE_WIDTH)
            height = max(round(frame.height * width / frame.width), 1)
            yield float(frame.time or 0), frame.to_ndarray(format="rgb24", width=width, height=height)
