"""Synthetic clips on disk: a video each, its truth, and what a detector would have made of it."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.datasets.surreal import FOCAL, GENDERS, HEIGHT, WIDTH, to_surreal
from selfmocap.io.atomic import atomic_write
from selfmocap.io.cores import cap_workers
from selfmocap.io.npz import write_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video_writer import write_video
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import (
    Clip,
    detected_observations,
    keypoints_of,
    motion_of,
    pixels_of,
    sample_clip,
    true_observations,
)
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions

Layout = Literal["selfmocap", "surreal"]
"""Called with how many clips are done, how many there are, and the one that was last."""

SETTINGS = "synthesis.json"
MOST_FRAMES = 600

_SIZES = ((512, 384), (384, 512), (512, 288), (288, 512))
_FPS = 30.0
_SURREAL_BETAS = 10
_ENCODING = {"crf": "18", "threads": "1"}
"""x264 options: fine detail is kept, and the bytes depend on no number of threads."""
_BEHIND_ALL = 1e10
"""What SURREAL's depth is where there is nobody, metres."""


def synthesize(
    out: Path, clips: int, frames: int, seed: int, motions_dir: Path | None = None, backgrounds_dir: Path | None = None,
    layout: Layout = "selfmocap", workers: int = 1, progress: ProgressCallback = no_progress,
) -> None:  # fmt: skip
    """Writes `clips` clips of `frames` frames into the folder `out`, each whole or not at all; those that are there are
    kept, so that an interrupted run goes on where it was. What is written depends on `seed` and the two folders, and
    not on how many `workers` (processes; 0 for none) there are.

    `selfmocap`: clip_00000/ holds video.mp4, observations.npz (as detected), and truth/ with motion.npz,
    observations.npz, keypoints.npz and pixels.npz. `surreal`: run0/clip_00000/ holds SURREAL's files.

    Raises ValueError or FileNotFoundError that name what is wrong, as when `out` holds clips of other settings."""
    if clips < 1 or not 1 <= frames <= MOST_FRAMES:
        raise ValueError(
            f"{clips} clips of {frames} frames; expected at least one, of 1 to {MOST_FRAMES} frames"
        )
    out.mkdir(parents=True, exist_ok=True)
    studio = _studio(out, frames, seed, motions_dir, backgrounds_dir, layout)
    _claim(out, {"seed": seed, "frames": frames, "layout": layout,
                 "motions": None if motions_dir is None else motions_dir.name,
                 "backgrounds": None if backgrounds_dir is None else backgrounds_dir.name})  # fmt: skip
    missing = [index for index in range(clips) if not studio.folder(index).is_dir()]
    done = clips - len(missing)
    for _ in _written(studio, missing, workers):
        done += 1
        progress("synthesize", done, clips)


def _studio(
    out: Path, frames: int, seed: int, motions_dir: Path | None, backgrounds_dir: Path | None, layout: Layout
) -> "_Studio":
    body = Body.load()
    motions: Sequence[MotionClip] = procedural_motions(body) if motions_dir is None else [
        from_recording(clip, body) for clip in load_motions(motions_dir, body, cache=out / "motions.npz")
    ]  # fmt: skip
    backgrounds = procedural_backgrounds() if backgrounds_dir is None else load_backgrounds(backgrounds_dir)
    return _Studio(out, frames, seed, layout, motions, backgrounds, body)


def _claim(out: Path, settings: dict[str, object]) -> None:
    """Refuses a folder that holds clips of other settings."""
    path = out / SETTINGS
    if path.is_file():
        found = json.loads(path.read_text())
        if found != settings:
            raise ValueError(f"{out} holds clips made with {found}, not {settings}; choose another folder")
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(settings))


@dataclass(frozen=True, eq=False)
class _Studio(torch.utils.data.Dataset):
    """Writes the clip of an index, wherever it runs, and gives its name."""

    out: Path
    frames: int
    seed: int
    layout: Layout
    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body

    def folder(self, index: int) -> Path:
        return (self.out / "run0" if self.layout == "surreal" else self.out) / f"clip_{index:05d}"

    def __getitem__(self, index: int) -> str:
        folder = self.folder(index)
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write = _write_surreal if self.layout == "surreal" else _write_clip
        write(self, index, partial, folder.name)
        partial.rename(folder)
        return folder.name


def _written(studio: _Studio, indices: Sequence[int], workers: int) -> Iterator[str]:
    loader = torch.utils.data.DataLoader(
        studio, batch_size=None, sampler=indices, num_workers=cap_workers(min(workers, len(indices))),
        multiprocessing_context="spawn" if workers and indices else None,
    )  # fmt: skip
    yield from loader


# ---- our layout -----------------------------------------------------------------------------------------------


def _write_clip(studio: _Studio, index: int, folder: Path, name: str) -> None:
    seeds = np.random.SeedSequence([studio.seed, index])
    camera_seed, clip_seed, error_seed = seeds.spawn(3)
    size = _SIZES[np.random.default_rng(camera_seed).integers(len(_SIZES))]
    clip = sample_clip(
        clip_seed,
        CameraConfig(size=size),
        studio.frames,
        _FPS,
        studio.motions,
        studio.backgrounds,
        studio.body,
    )
    pixels = pixels_of(clip, studio.body)
    keypoints = keypoints_of(clip, studio.body, pixels["depth"])
    truth = true_observations(clip, studio.body, keypoints)
    rng = np.random.default_rng(error_seed)
    (folder / "truth").mkdir()
    motion_of(clip, studio.body, f"{studio.seed}/{index}").save(folder / "truth" / "motion.npz")
    truth.save(folder / "truth" / "observations.npz")
    write_npz(folder / "truth" / "keypoints.npz", keypoints)
    write_npz(folder / "truth" / "pixels.npz", pixels)
    detected_observations(rng, clip, studio.body, truth, CorruptionConfig()).save(folder / "observations.npz")
    _write_video(folder / "video.mp4", clip.film, _FPS)


def _write_video(path: Path, film: np.ndarray, fps: float) -> None:
    """Write frames (frames, height, width, 3) uint8 RGB with even sides as an mp4, atomically."""
    write_video(path, ((None, image) for image in film), fps, _ENCODING, constant_rate=True)


# ---- SURREAL's ------------------------------------------------------------------------------------------------


def _write_surreal(studio: _Studio, index: int, folder: Path, name: str) -> None:
    """SURREAL's files: `NAME_c0001.mp4`, `_info.mat`, `_segm.mat`, `_depth.mat` and `_gtflow.mat`, images mirrored."""
    seeds = np.random.SeedSequence([studio.seed, index])
    cameras = CameraConfig(size=(WIDTH, HEIGHT), focal=(FOCAL / WIDTH, FOCAL / WIDTH), distance=(5.0, 9.0))
    clip = sample_clip(
        seeds, cameras, studio.frames, _FPS, studio.motions, studio.backgrounds, studio.body, _SURREAL_BETAS
    )
    pixels = pixels_of(clip, studio.body)
    stem = folder / f"{name}_c0001"
    _save_mat(stem, "info", _surreal_info(clip, studio, f"{name}_c0001"))
    flow = pixels["flow"][:, :, ::-1].astype(np.float32) * np.array([-1, 1], np.float32)
    depth = np.where(np.isinf(pixels["depth"]), _BEHIND_ALL, pixels["depth"].astype(np.float32))
    for kind, key, images in (("segm", "segm", pixels["parts"][:, :, ::-1]), ("depth", "depth", depth[:, :, ::-1]),
                              ("gtflow", "gtflow", flow)):  # fmt: skip
        _save_mat(stem, kind, {f"{key}_{i}": image for i, image in enumerate(images, start=1)})
    _write_video(Path(f"{stem}.mp4"), np.ascontiguousarray(clip.film[:, :, ::-1]), _FPS)


def _surreal_info(clip: Clip, studio: _Studio, sequence: str) -> dict[str, np.ndarray]:
    motion = motion_of(clip, studio.body, f"{studio.seed}/{index_of(sequence)}")
    distance = float(motion.joints_cam[:, 0, 2].mean())
    info = to_surreal(
        motion.parameters, motion.camera.to_world(motion.joints_cam), motion.camera, GENDERS[0], distance
    )
    return info | {"sequence": np.array(sequence)}


def index_of(sequence: str) -> int:
    """The number of a clip by its name, `clip_00012_c0001`."""
    return int(sequence.split("_")[1])


def _save_mat(stem: Path, kind: str, arrays: dict[str, np.ndarray]) -> None:
    from scipy.io import savemat

    with atomic_write(Path(f"{stem}_{kind}.mat")) as partial, partial.open("wb") as file:
        savemat(file, arrays, do_compression=True)
