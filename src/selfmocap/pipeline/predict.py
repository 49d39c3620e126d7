"""Predict motion beyond what was observed: past and future of an image, or beyond both ends of a video."""

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
from selfmocap.io.lens_options import LensOptions
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video import Video, open_video
from selfmocap.io.video_source import VideoInput, local_video
from selfmocap.models.estimator import infer
from selfmocap.models.inference import default_camera, network_inputs, to_world
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal, past_and_future
from selfmocap.pipeline.config import PredictConfig
from selfmocap.pipeline.lens_choice import choose_lens
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.observe import observe
from selfmocap.visualization.render import render_body

_TRAINING_FPS = 30.0
"""Frame rate of the training clips, and of the motion of an image."""
_SHEET_HEIGHT = 320
_STILL_COPIES = 8


def predict(
    source: VideoInput,
    out: Path | str,
    config: PredictConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Motion]:
    """Predict the motion of each person in an image or a video; return the motions.

    Writes `out/person-N/motion.npz`, the exports, and `prediction.png` with the past, first, last and future pose.
    Predicted frames have `filled` true. Raises the errors of `observe`, `load_temporal` and `export_motion`."""
    config, out = config or PredictConfig(), Path(out).expanduser()
    (network, about), body = load_temporal(config.weights), Body.load()
    with local_video(source, out) as path, tempfile.TemporaryDirectory() as folder:
        video = open_video(path, config.input)
        still = video.declared_frames == 1
        focal = choose_lens(video, config.focal, LensOptions()).focal_px
        if still:
            settings = ObserveConfig(people=config.people)
            paths = observe(_still_video(video, Path(folder)), out, settings, progress)
        else:
            paths = observe(
                path, out, ObserveConfig(people=config.people, input=config.input), progress, True
            )
    motions = []
    for number, path in enumerate(paths):
        observations = Observations.load(path, images=network.frame.config.images)
        observations = observations[[len(observations) // 2]] if still else observations
        motion = extend_motion(network, body, observations, focal, weights=about["sha256"])
        motion.save(path.parent / "motion.npz")
        export_motion(motion, body, path.parent, config.formats)
        _write_sheet(path.parent / "prediction.png", motion, body)
        motions.append(motion)
        progress("predict", number + 1, len(paths))
    return motions


def _still_video(still: Video, folder: Path) -> Path:
    """Write the only frame several times, since tracking needs several detections of a person."""
    image = Image.fromarray(next(still.frames()).image)
    for number in range(_STILL_COPIES):
        image.save(folder / f"{number}.png")
    return folder


def extend_motion(
    network: TemporalNetwork,
    body: Body,
    observations: Observations,
    focal: float | None = None,
    **provenance: str,
) -> Motion:
    """Estimate the motion of observations, with the past of the first frame before it and the future of the last frame
    after it.

    Each end has `network.config.reach` frames of 1/30 s. Its rotations are interpolated along the shortest arc from the
    observed pose to the predicted one; the position stays. Frame indices start at the first frame of the past."""
    fps = observations.fps
    reach = max(1, round(network.config.reach * fps / _TRAINING_FPS))
    motion = infer(network, body, observations, focal, version=__version__, **provenance)
    ends = observations[[0, len(observations) - 1]]
    camera = default_camera(observations, focal)
    inputs = network_inputs(ends, camera, network.frame)
    past, _, future = past_and_future(network, inputs)
    R_past, R_future = (to_world(p.parameters(inputs), camera).R_parent_joint for p in (past, future))
    R = motion.parameters.R_parent_joint
    fraction = torch.arange(1, reach + 1)[:, None] / reach
    before = interpolate(R_past[:1], R[:1], fraction - 1 / reach)
    after = interpolate(R[-1:], R_future[-1:], fraction)
    p = motion.parameters.p_world_root
    positions = [p[:1].expand(reach, 3), p, p[-1:].expand(reach, 3)]
    steps = torch.arange(1, reach + 1, dtype=torch.float64) / fps
    observed_times = observations.frame_times
    times = torch.cat([observed_times[0] - steps.flip(0), observed_times, observed_times[-1] + steps])
    index = observations.frame_index - observations.frame_index[0] + reach
    filled = torch.ones(len(times), dtype=torch.bool)
    filled[reach : len(times) - reach] = False
    confidence = motion.confidence
    return Motion.from_parameters(
        body,
        BodyParameters(motion.parameters.betas, torch.cat([before, R, after]), torch.cat(positions)),
        motion.camera,
        motion.image_size,
        times - times[0],
        torch.cat([torch.arange(reach), index, index[-1] + torch.arange(1, reach + 1)]),
        torch.cat([confidence[:1].expand(reach), confidence, confidence[-1:].expand(reach)]),
        filled,
        provenance=motion.provenance,
    )


def _write_sheet(path: Path, motion: Motion, body: Body) -> None:
    """Write the past, first observed, last observed and future pose, side by side."""
    observed = (~motion.filled).nonzero().squeeze(1).tolist()
    rows = sorted({0, observed[0], observed[-1], len(motion) - 1})
    sheet = np.concatenate([_render(motion, body, row) for row in rows], axis=1)
    with atomic_write(path) as partial:
        Image.fromarray(sheet).save(partial, "PNG")


def _render(motion: Motion, body: Body, row: int) -> np.ndarray:
    with torch.no_grad():
        vertices = body.pose(motion.parameters[[row]]).vertices[0]
    return render_body(vertices, body.faces, _SHEET_HEIGHT)
