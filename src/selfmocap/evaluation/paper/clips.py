"""The test clips of an experiment: rendered synthetic people with motions that no network was trained on, their
observations and their truth. They are stored in a folder, and made once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from selfmocap.adaptation.objective import FittingData, gather_fitting_data
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, WITH_JOINTS, keypoint_set
from selfmocap.datasets.motions_folder import Recording, load_motions
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.tensors import concat
from selfmocap.io.files import read_json_object, write_json
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import claim_folder, fingerprint
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.inference import network_inputs
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import inside_image
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import (
    SyntheticClip,
    detected_observations,
    measured_flow,
    sample_clip,
    true_keypoints,
    true_motion,
    true_observations,
    true_pixels,
)
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.tracking.left_right_swaps import undo_swaps
from selfmocap.tracking.observations import Observations

BENCHMARK_FPS = 30.0
_CLIPS_VERSION = 2
"""Version of `clips.json`, which names what a folder's clips are made from. Version 1, without a `version`, has the
settings of the protocol themselves instead of their fingerprint. Its clips are the same."""


@dataclass(frozen=True)
class BenchmarkProtocol:
    """Distribution of the people, cameras and detector of an experiment."""

    name: str
    cameras: CameraConfig
    looks: AppearanceConfig = field(default_factory=AppearanceConfig)
    betas_std: float = 1.0
    """Standard deviation of the people's betas; training has 1."""
    colour_jitter: float = 0.0
    """Standard deviation of the logarithms of gain and gamma of each colour of a clip."""
    detector: CorruptionConfig | None = None
    """Errors of the detector. None gives the observations of the paper: true keypoints with full confidence wherever
    they are in the image, true masks, and optical flow measured on the frames."""
    keypoint_set: str = DEFAULT_KEYPOINTS.name
    """Keypoint set of true keypoints."""


PAPER_PROTOCOL = BenchmarkProtocol(
    "as the paper",
    CameraConfig(panning=0.0, hand_held=0.0, size=(512, 384)),
    AppearanceConfig(skirt=0.0, held=0.0, furniture=0.0),
    keypoint_set=WITH_JOINTS.name,
)
"""A static camera, clothes on the body, no occluders: as SURREAL."""
SHIFTED_PROTOCOL = BenchmarkProtocol(
    "domain shift",
    CameraConfig(
        pitch=(0.4, 0.25),
        roll=(0.25, 0.8),
        offset=(0.15, 0.13),
        distance=(2.0, 9.0),
        focal=(0.55, 2.0),
        panning=0.5,
        hand_held=0.8,
        size=(768, 432),
    ),
    AppearanceConfig(skirt=0.2, held=0.35, furniture=0.35, patterned=0.9),
    betas_std=1.3,
    colour_jitter=0.25,
    detector=CorruptionConfig(KeypointErrors(clean=0.0)),
)
"""Wider cameras, more varied bodies, clothes and light than in training, and observations of a detector."""


@dataclass(frozen=True, eq=False)
class BenchmarkClip:
    """The observations and the truth of one person in one clip."""

    name: str
    observations: Observations
    camera: Camera
    truth: BodyParameters | None
    """One row per frame, in the camera frame; None for clips with true joints only."""
    fps: float = BENCHMARK_FPS


def benchmark_fitting_data(
    clips: Sequence[BenchmarkClip],
    network: FrameNetwork,
    held_out_fraction: float = 0.0,
    joints: bool = False,
) -> FittingData:
    """Concatenate the clips, with a fraction of the keypoints held out: the network's keypoints, or, with `joints`, all
    keypoints of the observations."""
    observations = [
        c.observations if joints else c.observations.in_set(network.config.keypoint_set) for c in clips
    ]
    rows = [
        (o, network_inputs(o, c.camera, network), c.fps) for o, c in zip(observations, clips, strict=True)
    ]
    return gather_fitting_data(rows, held_out_fraction)


def benchmark_truth(clips: Sequence[BenchmarkClip]) -> BodyParameters:
    """Concatenate the truth of the clips, in the camera frame."""
    return concat([clip.truth for clip in clips if clip.truth is not None])


# ---- making and reading clips ---------------------------------------------------------------------------------


def benchmark_clips(
    protocol: BenchmarkProtocol,
    config: BenchmarkConfig,
    folder: Path,
    body: Body,
    progress: ProgressCallback = no_progress,
) -> list[BenchmarkClip]:
    """Return the clips, and make those that `folder` lacks: clip_00000/observations.npz and its truth/motion.npz.

    The recordings that were read are cached beside the folder. Raises ValueError if `folder` holds clips of another
    protocol or config."""
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder / "clips.json", protocol, config)
    paths = [folder / f"clip_{number:05d}" for number in range(config.num_clips)]
    if not all(path.joinpath("observations.npz").is_file() for path in paths):
        motions, backgrounds = _motions(config, folder, body, progress), _backgrounds(config)
        for number, path in enumerate(paths):
            if not path.joinpath("observations.npz").is_file():
                _write(path, protocol, [config.seed, number], config.num_frames, motions, backgrounds, body)
            progress("render clips", number + 1, len(paths))
    return [read_clip(path) for path in paths]


def read_clip(folder: Path) -> BenchmarkClip:
    """Read a clip of `benchmark_clips` or of `selfmocap synthesize`."""
    motion = Motion.load(folder / "truth" / "motion.npz")
    observations = Observations.load(folder / "observations.npz")
    truth = bodies_in_camera_frame(motion)
    return BenchmarkClip(folder.name, observations, motion.camera, truth, motion.fps)


def bodies_in_camera_frame(motion: Motion) -> BodyParameters:
    """Return a motion's parameters, one row per frame, with the camera frame as the world."""
    camera, parameters = motion.camera, motion.parameters
    root = camera.R_cam_world @ parameters.R_parent_joint[:, 0]
    return BodyParameters(
        parameters.betas.expand(len(motion), -1),
        torch.cat([root[:, None], parameters.R_parent_joint[:, 1:]], dim=1),
        camera.to_camera(parameters.p_world_root[:, None])[:, 0],
    )


def _claim(path: Path, protocol: BenchmarkProtocol, config: BenchmarkConfig) -> None:
    """Record in `path` what the folder's clips are made from; raise ValueError if it records something else."""
    benchmark = config.as_json() | {"clips": None}
    former = read_json_object(path)
    settings = {"protocol": protocol.name, "settings": fingerprint(asdict(protocol)), "benchmark": benchmark}
    is_former = "version" not in former and former.get("test_set") == benchmark
    if is_former and former["protocol"]["name"] == protocol.name:
        write_json(path, {"version": _CLIPS_VERSION, **settings}, indent=1)
    claim_folder(path, {"version": _CLIPS_VERSION, **settings})


def _motions(
    config: BenchmarkConfig, folder: Path, body: Body, progress: ProgressCallback
) -> list[MotionClip]:
    if config.motions is None:
        return [*procedural_motions(body, count=16, seed=1)]
    recordings = _recordings(config.motions, folder, body, progress)
    subjects = {recording.subject for recording in recordings}
    if unknown := sorted(set(config.held_out) - subjects):
        raise ValueError(
            f"{config.motions}: no recordings of {', '.join(unknown)}; choose from {', '.join(sorted(subjects))}"
        )
    return [
        from_recording(r, body) for r in recordings if not config.held_out or r.subject in config.held_out
    ]


def replay_motions(
    config: BenchmarkConfig, folder: Path, body: Body, progress: ProgressCallback
) -> list[MotionClip]:
    """Return motions that no test clip has: the recordings of other subjects, else procedural motion."""
    others: list[MotionClip] = []
    if config.motions is not None and config.held_out:
        recordings = _recordings(config.motions, folder, body, progress)
        others = [from_recording(r, body) for r in recordings if r.subject not in config.held_out]
    return others or [*procedural_motions(body, count=64, seed=2)]


def _recordings(motions: Path, folder: Path, body: Body, progress: ProgressCallback) -> list[Recording]:
    return load_motions(motions, body, cache=folder.with_name("motions.npz"), progress=progress)


def _backgrounds(config: BenchmarkConfig) -> Backgrounds:
    if config.backgrounds is None:
        return procedural_backgrounds(seed=1)
    return load_backgrounds(config.backgrounds)


def _write(
    path: Path,
    protocol: BenchmarkProtocol,
    seed: list[int],
    frames: int,
    motions: Sequence[MotionClip],
    backgrounds: Backgrounds,
    body: Body,
) -> None:
    clip_seed, colour_seed, error_seed = np.random.SeedSequence(seed).spawn(3)
    clip = sample_clip(
        clip_seed,
        protocol.cameras,
        frames,
        BENCHMARK_FPS,
        motions,
        backgrounds,
        body,
        None,
        protocol.looks,
        protocol.betas_std,
    )
    film = jitter_colours(np.random.default_rng(colour_seed), clip.images, protocol.colour_jitter)
    clip = replace(clip, images=film)
    keypoints = true_keypoints(clip, body, true_pixels(clip, body)["depth"])
    observations = true_observations(clip, body, keypoints)
    if protocol.detector is None:
        points = keypoints[protocol.keypoint_set]
        observations = _exact_observations(clip, observations, protocol.keypoint_set, points)
    else:
        rng = np.random.default_rng(error_seed)
        detected = detected_observations(rng, clip, body, observations, protocol.detector)
        observations = with_swaps_undone(detected)
    path.joinpath("truth").mkdir(parents=True, exist_ok=True)
    true_motion(clip, body, "/".join(map(str, seed))).save(path / "truth" / "motion.npz")
    observations.save(path / "observations.npz")


def _exact_observations(
    clip: SyntheticClip, observations: Observations, name: str, keypoints: np.ndarray
) -> Observations:
    """Set true keypoints, with confidence 1 inside the image and 0 outside, and the optical flow of the frames."""
    within = inside_image(keypoints, np.array(observations.image_size))
    boxes = observations.boxes.double().numpy()
    flow, confidence = (torch.from_numpy(array) for array in measured_flow(clip, boxes))
    return replace(
        observations,
        keypoint_set=name,
        keypoints=torch.from_numpy(keypoints).float(),
        keypoint_confidence=torch.from_numpy(within).float(),
        flow=flow,
        flow_confidence=confidence,
    )


def with_swaps_undone(observations: Observations) -> Observations:
    """Undo swaps of left and right, as tracking does."""
    keypoints, confidence, _ = undo_swaps(
        observations.keypoints.double().numpy(),
        observations.keypoint_confidence.double().numpy(),
        observations.boxes[:, 2].double().numpy(),
        observations.frame_index.numpy(),
        keypoint_set(observations.keypoint_set),
    )
    return replace(
        observations,
        keypoints=torch.from_numpy(keypoints).float(),
        keypoint_confidence=torch.from_numpy(confidence).float(),
    )


def jitter_colours(rng: np.random.Generator, film: np.ndarray, amount: float) -> np.ndarray:
    """Change the light of a film (frames, height, width, 3) of uint8: the same gain and gamma of each colour in all
    frames, log-normal with standard deviation `amount`."""
    gain, gamma = np.exp(rng.normal(0, amount, (2, 3)))
    table = np.rint(255 * np.clip(gain * (np.arange(256)[:, None] / 255) ** gamma, 0, 1)).astype(np.uint8)
    return np.stack([table[film[..., colour], colour] for colour in range(3)], axis=-1) if amount else film


# ---- weak keypoints -------------------------------------------------------------------------------------------


def weaken_keypoints(
    clip: BenchmarkClip, seed: list[int], noise: float = 0.03, missed: float = 0.35
) -> BenchmarkClip:
    """Add independent noise to the default keypoints, and set the confidence of a fraction `missed` of them to 0.

    The standard deviation of the noise is a fraction of the person's size, the larger side of the box around the
    keypoints."""
    rng, observations = np.random.default_rng(seed), clip.observations.in_set(DEFAULT_KEYPOINTS.name)
    span = observations.keypoints.amax(1) - observations.keypoints.amin(1)
    shift = torch.from_numpy(rng.normal(0, noise, observations.keypoints.shape)).float()
    shift = shift * span.amax(-1)[:, None, None]
    detected = torch.from_numpy(rng.random(observations.keypoint_confidence.shape) >= missed)
    weak = replace(
        observations,
        keypoints=observations.keypoints + shift,
        keypoint_confidence=observations.keypoint_confidence * detected,
    )
    return replace(clip, observations=weak)
