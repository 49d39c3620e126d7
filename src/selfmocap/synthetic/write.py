"""Write synthetic clips: a video each, its truth, and its observations with detection errors."""

import contextlib
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.datasets.surreal import (
    SURREAL_FOCAL,
    SURREAL_GENDERS,
    SURREAL_HEIGHT,
    SURREAL_WIDTH,
    to_surreal,
)
from selfmocap.io.atomic import atomic_write
from selfmocap.io.cores import cap_workers
from selfmocap.io.npz import write_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import claim_folder
from selfmocap.io.video_writer import write_video
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import (
    SyntheticClip,
    detected_observations,
    sample_clip,
    true_keypoints,
    true_motion,
    true_observations,
    true_pixels,
)
from selfmocap.synthetic.config import Layout, SynthesizeConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions

SYNTHESIS_SETTINGS = "synthesis.json"
"""File of the settings that a folder's clips are made with."""

_SIZES = ((512, 384), (384, 512), (512, 288), (288, 512))
_FPS = 30.0
_SURREAL_BETAS = 10
_ENCODING = {"crf": "18", "threads": "1"}
"""x264 options: fine detail is kept, and the bytes do not depend on the number of threads."""
_MAT_DESCRIPTION, _MAT_DESCRIPTION_SIZE = b"MATLAB 5.0 MAT-file written by selfmocap", 116
"""Text at the beginning of a MAT file, and its bytes; scipy's has the date, so that equal clips would differ."""
_BACKGROUND_DEPTH = 1e10
"""Depth of the background in SURREAL's files, metres."""


def synthesize(
    out: Path, config: SynthesizeConfig | None = None, progress: ProgressCallback = no_progress
) -> None:
    """Write synthetic clips into the folder `out`, each one atomically. Clips that exist are kept, so that an
    interrupted run resumes. The clips depend only on the seed, the sizes and the two folders.

    `selfmocap`: clip_00000/ holds video.mp4, observations.npz (as detected), and truth/ with motion.npz,
    observations.npz, keypoints.npz and pixels.npz. `surreal`: run0/clip_00000/ holds SURREAL's files.

    A script that asks for several workers needs `if __name__ == "__main__":`, since each worker imports the script.

    Raises ValueError or FileNotFoundError that names the problem, such as clips of other settings in `out`, and
    ChildProcessError where a worker process ends early."""
    config = config or SynthesizeConfig()
    out.mkdir(parents=True, exist_ok=True)
    with _one_thread():
        writer = _clip_writer(out, config)
        claim_folder(out / SYNTHESIS_SETTINGS, _claimed_settings(config))
        missing = [index for index in range(config.clips) if not writer.folder(index).is_dir()]
        done = config.clips - len(missing)
        for _ in _write_clips(writer, config, missing):
            done += 1
            progress("synthesize", done, config.clips)


def _claimed_settings(config: SynthesizeConfig) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "frames": config.frames,
        "layout": config.layout,
        "motions": config.motions and config.motions.name,
        "backgrounds": config.backgrounds and config.backgrounds.name,
    }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch in one thread, as in a worker: with more, sums differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _write_clips(writer: "_ClipWriter", config: SynthesizeConfig, indices: Sequence[int]) -> Iterator[None]:
    """Write clips, in several processes if `config` asks for more than one.

    Each process gets the settings and makes the material itself: sent to a process that ends at its start, it would
    fill the pipe, and this process would hang."""
    workers = cap_workers(min(config.workers, len(indices)))
    if workers < 2:
        yield from map(writer.write, indices)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        try:
            yield from pool.map(partial(_write_in_worker, writer.out, config), indices)
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"a worker process ended before its clips were written in {writer.out}; expected it to run until the "
                'last one. In a script, put your code below `if __name__ == "__main__":`, since each worker imports '
                "the script; if memory was short, use fewer workers"
            ) from error


def _write_in_worker(out: Path, config: SynthesizeConfig, index: int) -> None:
    with _one_thread():
        _worker_clip_writer(out, config).write(index)


def _clip_writer(out: Path, config: SynthesizeConfig) -> "_ClipWriter":
    body = Body.load()
    if config.motions is None:
        motions: Sequence[MotionClip] = procedural_motions(body)
    else:
        recordings = load_motions(config.motions, body, cache=out / "motions.npz")
        motions = [from_recording(clip, body) for clip in recordings]
    backgrounds = (
        procedural_backgrounds() if config.backgrounds is None else load_backgrounds(config.backgrounds)
    )
    return _ClipWriter(out, config.frames, config.seed, config.layout, motions, backgrounds, body)


@dataclass(frozen=True, eq=False)
class _ClipWriter:
    """Writes the clip of an index, which depends on the index and these settings only."""

    out: Path
    frames: int
    seed: int
    layout: Layout
    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body

    def folder(self, index: int) -> Path:
        return (self.out / "run0" if self.layout == "surreal" else self.out) / f"clip_{index:05d}"

    def write(self, index: int) -> None:
        folder = self.folder(index)
        partial_folder = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        write = _write_surreal if self.layout == "surreal" else _write_clip
        write(self, index, partial_folder, folder.name)
        partial_folder.rename(folder)


_worker_clip_writer = lru_cache(maxsize=1)(_clip_writer)
"""The writer of a worker process, made once."""


# ---- layout of this project -----------------------------------------------------------------------------------


def _write_clip(writer: _ClipWriter, index: int, folder: Path, name: str) -> None:
    seeds = np.random.SeedSequence([writer.seed, index])
    camera_seed, clip_seed, error_seed = seeds.spawn(3)
    size = _SIZES[np.random.default_rng(camera_seed).integers(len(_SIZES))]
    clip = sample_clip(
        clip_seed,
        CameraConfig(size=size),
        writer.frames,
        _FPS,
        writer.motions,
        writer.backgrounds,
        writer.body,
    )
    pixels = true_pixels(clip, writer.body)
    keypoints = true_keypoints(clip, writer.body, pixels["depth"])
    truth = true_observations(clip, writer.body, keypoints)
    rng = np.random.default_rng(error_seed)
    (folder / "truth").mkdir()
    true_motion(clip, writer.body, f"{writer.seed}/{index}").save(folder / "truth" / "motion.npz")
    truth.save(folder / "truth" / "observations.npz")
    write_npz(folder / "truth" / "keypoints.npz", keypoints)
    write_npz(folder / "truth" / "pixels.npz", pixels)
    detected_observations(rng, clip, writer.body, truth, CorruptionConfig()).save(folder / "observations.npz")
    _write_video(folder / "video.mp4", clip.images, _FPS)


def _write_video(path: Path, film: np.ndarray, fps: float) -> None:
    """Write frames (frames, height, width, 3) uint8 RGB with even sides as an mp4, atomically."""
    write_video(path, ((None, image) for image in film), fps, _ENCODING, constant_rate=True)


# ---- layout of SURREAL ----------------------------------------------------------------------------------------


def _write_surreal(writer: _ClipWriter, index: int, folder: Path, name: str) -> None:
    """Write SURREAL's files: `NAME_c0001.mp4`, `_info.mat`, `_segm.mat`, `_depth.mat` and `_gtflow.mat`, images
    mirrored."""
    seeds = np.random.SeedSequence([writer.seed, index])
    cameras = CameraConfig(
        size=(SURREAL_WIDTH, SURREAL_HEIGHT),
        focal=(SURREAL_FOCAL / SURREAL_WIDTH, SURREAL_FOCAL / SURREAL_WIDTH),
        distance=(5.0, 9.0),
    )
    clip = sample_clip(
        seeds, cameras, writer.frames, _FPS, writer.motions, writer.backgrounds, writer.body, _SURREAL_BETAS
    )
    pixels = true_pixels(clip, writer.body)
    stem = folder / f"{name}_c0001"
    _save_mat(stem, "info", _surreal_info(clip, writer, f"{name}_c0001"))
    flow = pixels["flow"][:, :, ::-1].astype(np.float32) * np.array([-1, 1], np.float32)
    depth = np.where(np.isinf(pixels["depth"]), _BACKGROUND_DEPTH, pixels["depth"].astype(np.float32))
    for kind, key, images in (("segm", "segm", pixels["parts"][:, :, ::-1]), ("depth", "depth", depth[:, :, ::-1]),
                              ("gtflow", "gtflow", flow)):  # fmt: skip
        _save_mat(stem, kind, {f"{key}_{i}": image for i, image in enumerate(images, start=1)})
    _write_video(Path(f"{stem}.mp4"), np.ascontiguousarray(clip.images[:, :, ::-1]), _FPS)


def _surreal_info(clip: SyntheticClip, writer: _ClipWriter, sequence: str) -> dict[str, np.ndarray]:
    motion = true_motion(clip, writer.body, f"{writer.seed}/{_clip_index(sequence)}")
    distance = float(motion.joints_cam[:, 0, 2].mean())
    info = to_surreal(
        motion.parameters,
        motion.camera.to_world(motion.joints_cam),
        motion.camera,
        SURREAL_GENDERS[0],
        distance,
    )
    return info | {"sequence": np.array(sequence)}


def _clip_index(sequence: str) -> int:
    """Return the number in a clip's name, `clip_00012_c0001`."""
    return int(sequence.split("_")[1])


def _save_mat(stem: Path, kind: str, arrays: dict[str, np.ndarray]) -> None:
    from scipy.io import savemat

    with atomic_write(Path(f"{stem}_{kind}.mat")) as partial, partial.open("wb") as file:
        savemat(file, arrays, do_compression=True)
        file.seek(0)
        file.write(_MAT_DESCRIPTION.ljust(_MAT_DESCRIPTION_SIZE))
