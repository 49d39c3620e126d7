"""From an image its past, present and future; from a video what came before it, its motion, and what comes next."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from selfmocap._version import __version__
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.export.write import export_motion
from selfmocap.geometry.rotations import interpolate
from selfmocap.io.atomic import atomic_write
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video import open_video
from selfmocap.models.estimator import infer
from selfmocap.models.inference import camera_of, inputs_of, to_world
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal, past_and_future
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.observe import ObserveConfig, observe
from selfmocap.visualization.render import render_body

_FPS = 30.0
"""Of the motion that an image becomes: that of the clips that networks learn from."""
_SHEET_HEIGHT = 320
_STILL = 8


def predict(
    source: Path,
    out: Path,
    people: str = "all",
    focal: float | None = None,
    weights: Path | None = None,
    formats: tuple[str, ...] = ("bvh", "glb"),
    progress: ProgressCallback = no_progress,
) -> list[Motion]:
    """Writes `out/person-N/motion.npz` for each person of an image or a video, the exported `formats`, and
    `prediction.png` with its past, first, last and future pose.

    Frames that were not seen are marked as `filled`. `focal` in px; None assumes 1.2 times the longer side of the
    image. Raises what `observe`, `load_temporal` and `export_motion` raise."""
    (network, about), body = load_temporal(weights), Body.load()
    still = source.is_file() and open_video(source).declared_frames == 1
    with tempfile.TemporaryDirectory() as folder:
        film = _still_film(source, Path(folder)) if still else source
        paths = observe(film, out, ObserveConfig(people=people), progress)
    motions = []
    for number, path in enumerate(paths):
        seen = Observations.load(path, images=network.frame.config.images)
        seen = seen[[len(seen) // 2]] if still else seen
        motion = extend_motion(network, body, seen, focal, weights=about["sha256"])
        motion.save(path.parent / "motion.npz")
        export_motion(motion, body, path.parent, formats)
        _write_sheet(path.parent / "prediction.png", motion, body)
        motions.append(motion)
        progress("predict", number + 1, len(paths))
    return motions


def _still_film(image: Path, folder: Path) -> Path:
    """A folder with a picture several times: nobody is followed who is not found twice."""
    for number in range(_STILL):
        shutil.copy(image, folder / f"{number}{image.suffix}")
    return folder


def extend_motion(
    network: TemporalNetwork,
    body: Body,
    seen: Observations,
    focal: float | None = None,
    **provenance: str,
) -> Motion:
    """The motion of what was seen, with the past of its first frame before it and the future of its last one after it:
    `network.config.reach` frames of 1/30 s each, the person at the same place, rotations on the shortest way. Frames
    count from the first of the past."""
    fps = seen.fps
    reach = max(1, round(network.config.reach * fps / _FPS))
    motion = infer(network, body, seen, focal, version=__version__, **provenance)
    ends = seen[[0, len(seen) - 1]]
    camera = camera_of(seen, focal)
    inputs = inputs_of(ends, camera, network.frame)
    past, _, future = past_and_future(network, inputs)
    R_past, R_future = (to_world(p.parameters(inputs), camera).R_parent_joint for p in (past, future))
    R = motion.parameters.R_parent_joint
    share = torch.arange(1, reach + 1)[:, None] / reach
    before = interpolate(R_past[:1], R[:1], share - 1 / reach)
    after = interpolate(R[-1:], R_future[-1:], share)
    place = motion.parameters.p_world_root
    places = [place[:1].expand(reach, 3), place, place[-1:].expand(reach, 3)]
    steps = torch.arange(1, reach + 1, dtype=torch.float64) / fps
    times = torch.cat([seen.frame_times[0] - steps.flip(0), seen.frame_times, seen.frame_times[-1] + steps])
    index = seen.frame_index - seen.frame_index[0] + reach
    filled = torch.ones(len(times), dtype=torch.bool)
    filled[reach : len(times) - reach] = False
    sure = motion.confidence
    return Motion.from_parameters(
        body,
        BodyParameters(motion.parameters.betas, torch.cat([before, R, after]), torch.cat(places)),
        motion.camera,
        motion.image_size,
        times - times[0],
        torch.cat([torch.arange(reach), index, index[-1] + torch.arange(1, reach + 1)]),
        torch.cat([sure[:1].expand(reach), sure, sure[-1:].expand(reach)]),
        filled,
        provenance=motion.provenance,
    )


def _write_sheet(path: Path, motion: Motion, body: Body) -> None:
    """The past, the first and last pose that were seen, and the future, side by side."""
    seen = (~motion.filled).nonzero().squeeze(1).tolist()
    rows = sorted({0, seen[0], seen[-1], len(motion) - 1})
    sheet = np.concatenate([_pictured(motion, body, row) for row in rows], axis=1)
    with atomic_write(path) as partial:
        Image.fromarray(sheet).save(partial, "PNG")


def _pictured(motion: Motion, body: Body, row: int) -> np.ndarray:
    with torch.no_grad():
        vertices = body.pose(motion.parameters[[row]]).vertices[0]
    return render_body(vertices, body.faces, _SHEET_HEIGHT)
