"""Write synthetic clips: a video each, its truth, and its observations with detection errors."""

import contextlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
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
from selfmocap.io.cores import cap_workers
from selfmocap.io.npz import write_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import claim_folder
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import (
    detected_observations,
    sample_clip,
    true_keypoints,
    true_motion,
    true_observations,
    true_pixels,
)
from selfmocap.synthetic.config import CameraMove, Layout, SynthesizeConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.layouts.human36m import collect_human36m, human36m_paths, write_human36m
from selfmocap.synthetic.layouts.material import LayoutMaterial, write_film
from selfmocap.synthetic.layouts.penn_action import penn_action_paths, write_penn_action
from selfmocap.synthetic.layouts.surreal import surreal_paths, write_surreal
from selfmocap.synthetic.layouts.three_dpw import three_dpw_paths, write_three_dpw
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.room_clips import sample_room_clip

SYNTHESIS_SETTINGS = "synthesis.json"
"""File of the settings that a folder's clips are made with."""

_SIZES = ((512, 384), (384, 512), (512, 288), (288, 512))
_ROOM_SIZE = (640, 360)
_FPS = 30.0


def synthesize(
    out: Path, config: SynthesizeConfig | None = None, progress: ProgressCallback = no_progress
) -> None:
    """Write synthetic clips into the folder `out`, each one atomically. Clips that exist are kept, so that an
    interrupted run resumes. The clips depend only on the seed, the sizes and the two folders.

    `selfmocap`: clip_00000/ holds video.mp4, observations.npz (as detected), and truth/ with motion.npz,
    observations.npz, keypoints.npz and pixels.npz; in a room only video.mp4 and truth/motion.npz. The other layouts
    hold the files of a data set, as the modules of `synthetic.layouts` describe them.

    A script that asks for several workers needs `if __name__ == "__main__":`, since each worker imports the script.

    Raises ValueError or FileNotFoundError that names the problem, such as clips of other settings in `out`, and
    ChildProcessError where a worker process ends early."""
    config = config or SynthesizeConfig()
    out.mkdir(parents=True, exist_ok=True)
    with _one_thread():
        writer = _clip_writer(out, config)
        claim_folder(out / SYNTHESIS_SETTINGS, _claimed_settings(config))
        missing = [index for index in range(config.clips) if not writer.is_written(index)]
        done = config.clips - len(missing)
        for _ in _write_clips(writer, config, missing):
            done += 1
            progress("synthesize", done, config.clips)
        if config.layout == "human36m":
            collect_human36m(out)


def _claimed_settings(config: SynthesizeConfig) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "frames": config.frames,
        "layout": config.layout,
        "motions": config.motions and config.motions.name,
        "backgrounds": config.backgrounds and config.backgrounds.name,
    } | ({"room": config.room} if config.room else {})


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
    material = LayoutMaterial(config.frames, config.seed, motions, backgrounds, body)
    in_room = _Layout(partial(_write_in_room, config.room), _clip_paths) if config.room else None
    return _ClipWriter(out, in_room or _LAYOUTS[config.layout], material)


@dataclass(frozen=True)
class _Layout:
    """How the files of a clip are written and named."""

    write: Callable[[LayoutMaterial, int, Path], None]
    """Writes the clip of an index below a folder."""
    paths: Callable[[int], tuple[str, ...]]
    """The clip's files or folders. A clip whose last one exists is complete."""


@dataclass(frozen=True, eq=False)
class _ClipWriter:
    """Writes the clip of an index, which depends on the index and the material only."""

    out: Path
    layout: _Layout
    material: LayoutMaterial

    def is_written(self, index: int) -> bool:
        return (self.out / self.layout.paths(index)[-1]).exists()

    def write(self, index: int) -> None:
        partial_folder = self.out / f".clip_{index:05d}.partial"
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir()
        self.layout.write(self.material, index, partial_folder)
        for path in self.layout.paths(index):
            target = self.out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                shutil.rmtree(target)
            (partial_folder / path).replace(target)
        shutil.rmtree(partial_folder)


_worker_clip_writer = lru_cache(maxsize=1)(_clip_writer)
"""The writer of a worker process, made once."""


# ---- layout of this project -----------------------------------------------------------------------------------


def _clip_paths(index: int) -> tuple[str, ...]:
    return (f"clip_{index:05d}",)


def _write_clip(material: LayoutMaterial, index: int, out: Path) -> None:
    (folder,) = (out / path for path in _clip_paths(index))
    seeds = np.random.SeedSequence([material.seed, index])
    camera_seed, clip_seed, error_seed = seeds.spawn(3)
    size = _SIZES[np.random.default_rng(camera_seed).integers(len(_SIZES))]
    clip = sample_clip(
        clip_seed,
        CameraConfig(size=size),
        material.frames,
        _FPS,
        material.motions,
        material.backgrounds,
        material.body,
    )
    pixels = true_pixels(clip, material.body)
    keypoints = true_keypoints(clip, material.body, pixels["depth"])
    truth = true_observations(clip, material.body, keypoints)
    rng = np.random.default_rng(error_seed)
    (folder / "truth").mkdir(parents=True)
    true_motion(clip, material.body, f"{material.seed}/{index}").save(folder / "truth" / "motion.npz")
    truth.save(folder / "truth" / "observations.npz")
    write_npz(folder / "truth" / "keypoints.npz", keypoints)
    write_npz(folder / "truth" / "pixels.npz", pixels)
    detected_observations(rng, clip, material.body, truth, CorruptionConfig()).save(
        folder / "observations.npz"
    )
    write_film(folder / "video.mp4", clip.images, _FPS)


def _write_in_room(move: CameraMove, material: LayoutMaterial, index: int, out: Path) -> None:
    """Write `video.mp4` and `truth/motion.npz`; the floor is y = 0 of the world."""
    (folder,) = (out / path for path in _clip_paths(index))
    clip = sample_room_clip(
        np.random.SeedSequence([material.seed, index]), move, material.frames, _ROOM_SIZE, material.motions,
        material.backgrounds.images, material.body, _FPS,
    )  # fmt: skip
    (folder / "truth").mkdir(parents=True)
    true_motion(clip, material.body, f"{material.seed}/{index}").save(folder / "truth" / "motion.npz")
    write_film(folder / "video.mp4", clip.images, _FPS)


_LAYOUTS: dict[Layout, _Layout] = {
    "selfmocap": _Layout(_write_clip, _clip_paths),
    "surreal": _Layout(write_surreal, surreal_paths),
    "human36m": _Layout(write_human36m, human36m_paths),
    "3dpw": _Layout(write_three_dpw, three_dpw_paths),
    "penn": _Layout(write_penn_action, penn_action_paths),
}
