"""The clips of an experiment: synthetic people who move like recordings that no network was trained on, filmed, seen,
and their truth; kept in a folder, so that they are made once."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.adaptation.objective import FittingData, gather_fitting_data
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, WITH_JOINTS, keypoint_set
from selfmocap.datasets.motions_folder import MotionClip as Recording
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.geometry.camera import Camera
from selfmocap.io.atomic import atomic_write
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.inference import network_inputs
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import inside
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import (
    Clip,
    detected_observations,
    keypoints_of,
    measured_flow,
    motion_of,
    pixels_of,
    sample_clip,
    true_observations,
)
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors
from selfmocap.synthetic.looks import LookConfig
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.tracking.left_right_swaps import undo_swaps
from selfmocap.tracking.observations import Observations

FPS = 30.0


@dataclass(frozen=True)
class Protocol:
    """What people, cameras and detectors of an experiment are like."""

    name: str
    cameras: CameraConfig
    looks: LookConfig = field(default_factory=LookConfig)
    spread: float = 1.0
    """Standard deviation of the people's betas; training has 1."""
    light: float = 0.0
    """Standard deviation of the logarithms of gain and gamma of a clip's three colours."""
    detector: CorruptionConfig | None = None
    """None gives the paper's evidence: true keypoints, sure wherever they are in the image, true masks, and flow as
    estimated on the frames."""
    keypoints: str = DEFAULT_KEYPOINTS.name
    """The set of the true keypoints."""


AS_THE_PAPER = Protocol(
    "as the paper",
    CameraConfig(panning=0.0, hand_held=0.0, size=(512, 384)),
    LookConfig(skirt=0.0, held=0.0, furniture=0.0),
    keypoints=WITH_JOINTS.name,
)
"""A fixed camera, people in clothes that lie on the body, nothing before them: as SURREAL."""
SHIFTED = Protocol(
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
    LookConfig(skirt=0.2, held=0.35, furniture=0.35, patterned=0.9),
    spread=1.3,
    light=0.25,
    detector=CorruptionConfig(KeypointErrors(clean=0.0)),
)
"""Wider cameras, other bodies, stranger clothes and light than in training, and everything measured by a detector."""


@dataclass(frozen=True, eq=False)
class BenchmarkClip:
    """What is seen of one person in one clip, and what is true."""

    name: str
    observations: Observations
    camera: Camera
    truth: BodyParameters
    """A row a frame, in the camera frame."""
    fps: float = FPS


def evidence_of(
    clips: Sequence[BenchmarkClip], network: FrameNetwork, keep_out: float = 0.0, joints: bool = False
) -> FittingData:
    """All clips in one row, with a share of the keypoints kept out for the self-check: those that the network sees, or,
    with `joints`, all that there are."""
    seen = [c.observations if joints else c.observations.in_set(network.config.keypoint_set) for c in clips]
    rows = [(s, network_inputs(s, c.camera, network), c.fps) for s, c in zip(seen, clips, strict=True)]
    return gather_fitting_data(rows, keep_out)


def truth_of(clips: Sequence[BenchmarkClip]) -> BodyParameters:
    """The truth of all clips in one row, in the camera frame."""
    return BodyParameters(*(torch.cat([getattr(c.truth, n) for c in clips]) for n in vars(clips[0].truth)))


# ---- what they are made of ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipChoice:
    """Which clips an experiment is run on."""

    clips: int = 24
    frames: int = 31
    seed: int = 0
    motions: Path | None = None
    """A folder of recordings that the network was not trained on; procedural motion without it."""
    backgrounds: Path | None = None
    """A folder of pictures; procedural ones without it."""
    held_out: tuple[str, ...] = ()
    """Of the recordings only those of these subjects; all where none is named."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.frames < 3:
            raise ValueError(
                f"{self.clips} clips of {self.frames} frames; expected at least 1 clip of 3 frames"
            )

    def named(self) -> dict[str, Any]:
        """For a record: folders by their names alone."""
        folders = {
            n: p and Path(p).name for n, p in (("motions", self.motions), ("backgrounds", self.backgrounds))
        }
        return asdict(self) | folders | {"held_out": list(self.held_out)}


def benchmark_clips(
    protocol: Protocol,
    test_set: ClipChoice,
    folder: Path,
    body: Body,
    progress: ProgressCallback = no_progress,
) -> list[BenchmarkClip]:
    """The clips, made where `folder` has them not yet: clip_00000/observations.npz and its truth/motion.npz; the
    recordings that were read are kept beside it. A ValueError where `folder` holds clips of another protocol or test
    set."""
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, {"protocol": asdict(protocol), "test_set": {**test_set.named(), "clips": None}})
    paths = [folder / f"clip_{number:05d}" for number in range(test_set.clips)]
    if not all(path.joinpath("observations.npz").is_file() for path in paths):
        motions, backgrounds = _motions(test_set, folder, body, progress), _backgrounds(test_set)
        for number, path in enumerate(paths):
            if not path.joinpath("observations.npz").is_file():
                _write(path, protocol, [test_set.seed, number], test_set.frames, motions, backgrounds, body)
            progress("film", number + 1, len(paths))
    return [read_clip(path) for path in paths]


def read_clip(folder: Path) -> BenchmarkClip:
    """A clip of `benchmark_clips` or `selfmocap synthesize`: what was detected, and what is true."""
    motion = Motion.load(folder / "truth" / "motion.npz")
    seen = Observations.load(folder / "observations.npz")
    return BenchmarkClip(folder.name, seen, motion.camera, in_camera_frame(motion), motion.fps)


def in_camera_frame(motion: Motion) -> BodyParameters:
    """A motion's parameters, a row a frame, as if its camera were the world."""
    camera, parameters = motion.camera, motion.parameters
    root = camera.R_cam_world @ parameters.R_parent_joint[:, 0]
    return BodyParameters(
        parameters.betas.expand(len(motion), -1),
        torch.cat([root[:, None], parameters.R_parent_joint[:, 1:]], dim=1),
        camera.to_camera(parameters.p_world_root[:, None])[:, 0],
    )


def _claim(folder: Path, settings: dict[str, object]) -> None:
    path, wanted = folder / "clips.json", json.loads(json.dumps(settings))
    if path.is_file() and json.loads(path.read_text()) != wanted:
        raise ValueError(
            f"{folder} holds clips of another protocol, length, seed or source; choose another folder"
        )
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(wanted, indent=1))


def _motions(test_set: ClipChoice, folder: Path, body: Body, progress: ProgressCallback) -> list[MotionClip]:
    if test_set.motions is None:
        return [*procedural_motions(body, count=16, seed=1)]
    recordings = _recordings(test_set.motions, folder, body, progress)
    subjects = {recording.subject for recording in recordings}
    if unknown := sorted(set(test_set.held_out) - subjects):
        raise ValueError(
            f"{test_set.motions}: no recordings of {', '.join(unknown)}; there are {', '.join(sorted(subjects))}"
        )
    return [
        from_recording(r, body) for r in recordings if not test_set.held_out or r.subject in test_set.held_out
    ]


def other_motions(
    test_set: ClipChoice, folder: Path, body: Body, progress: ProgressCallback
) -> list[MotionClip]:
    """What no clip of the test set moves like: the recordings of other subjects, else procedural motion."""
    others: list[MotionClip] = []
    if test_set.motions is not None and test_set.held_out:
        recordings = _recordings(test_set.motions, folder, body, progress)
        others = [from_recording(r, body) for r in recordings if r.subject not in test_set.held_out]
    return others or [*procedural_motions(body, count=64, seed=2)]


def _recordings(motions: Path, folder: Path, body: Body, progress: ProgressCallback) -> list[Recording]:
    return load_motions(motions, body, cache=folder.with_name("motions.npz"), progress=progress)


def _backgrounds(test_set: ClipChoice) -> Backgrounds:
    return (
        procedural_backgrounds(seed=1)
        if test_set.backgrounds is None
        else load_backgrounds(test_set.backgrounds)
    )


# ---- filming --------------------------------------------------------------------------------------------------


def _write(
    path: Path, protocol: Protocol, seed: list[int], frames: int, motions: Sequence[MotionClip],
    backgrounds: Backgrounds, body: Body,
) -> None:  # fmt: skip
    clip_seed, light_seed, error_seed = np.random.SeedSequence(seed).spawn(3)
    clip = sample_clip(
        clip_seed,
        protocol.cameras,
        frames,
        FPS,
        motions,
        backgrounds,
        body,
        None,
        protocol.looks,
        protocol.spread,
    )
    clip = replace(clip, film=relit(np.random.default_rng(light_seed), clip.film, protocol.light))
    keypoints = keypoints_of(clip, body, pixels_of(clip, body)["depth"])
    seen = true_observations(clip, body, keypoints)
    if protocol.detector is None:
        seen = _sure(clip, seen, protocol.keypoints, keypoints[protocol.keypoints])
    else:
        rng = np.random.default_rng(error_seed)
        seen = unswapped(detected_observations(rng, clip, body, seen, protocol.detector))
    path.joinpath("truth").mkdir(parents=True, exist_ok=True)
    motion_of(clip, body, "/".join(map(str, seed))).save(path / "truth" / "motion.npz")
    seen.save(path / "observations.npz")


def _sure(clip: Clip, seen: Observations, name: str, keypoints: np.ndarray) -> Observations:
    """True keypoints, sure wherever they are in the image, and the flow as it is estimated."""
    within = inside(keypoints, np.array(seen.image_size))
    flow, confidence = (torch.from_numpy(array) for array in measured_flow(clip, seen.boxes.double().numpy()))
    sure = torch.from_numpy(within).float()
    return replace(
        seen,
        keypoint_set=name,
        keypoints=torch.from_numpy(keypoints).float(),
        keypoint_confidence=sure,
        flow=flow,
        flow_confidence=confidence,
    )


def unswapped(seen: Observations) -> Observations:
    """What a detector gave after left and right are put in order, as the front end does."""
    keypoints, confidence, _ = undo_swaps(
        seen.keypoints.double().numpy(),
        seen.keypoint_confidence.double().numpy(),
        seen.boxes[:, 2].double().numpy(),
        seen.frame_index.numpy(),
        keypoint_set(seen.keypoint_set),
    )
    return replace(
        seen,
        keypoints=torch.from_numpy(keypoints).float(),
        keypoint_confidence=torch.from_numpy(confidence).float(),
    )


def relit(rng: np.random.Generator, film: np.ndarray, amount: float) -> np.ndarray:
    """A film (frames, height, width, 3) of uint8 in another light: gain and gamma of each colour, the same in all
    frames, log-normal with `amount` as their standard deviation."""
    gain, gamma = np.exp(rng.normal(0, amount, (2, 3)))
    table = np.rint(255 * np.clip(gain * (np.arange(256)[:, None] / 255) ** gamma, 0, 1)).astype(np.uint8)
    return np.stack([table[film[..., colour], colour] for colour in range(3)], axis=-1) if amount else film


# ---- weak keypoints -------------------------------------------------------------------------------------------


def weakened(
    clip: BenchmarkClip, seed: list[int], noise: float = 0.03, dropped: float = 0.35
) -> BenchmarkClip:
    """The clip with poor keypoints, of those that networks see: independent noise whose standard deviation is a share
    of the person's size (the larger side of the box around the keypoints), and a share of them not found."""
    rng, seen = np.random.default_rng(seed), clip.observations.in_set(DEFAULT_KEYPOINTS.name)
    span = seen.keypoints.amax(1) - seen.keypoints.amin(1)
    shift = (
        torch.from_numpy(rng.normal(0, noise, seen.keypoints.shape)).float() * span.amax(-1)[:, None, None]
    )
    kept = torch.from_numpy(rng.random(seen.keypoint_confidence.shape) >= dropped)
    return replace(
        clip,
        observations=replace(
            seen, keypoints=seen.keypoints + shift, keypoint_confidence=seen.keypoint_confidence * kept
        ),
    )
