"""Read ROMP and BEV (`video_results.npz`): people by frame or by track, SMPL under a weak-perspective camera.

Source: `simple_romp/romp/utils.py` (what is stored), `simple_romp/romp/post_parser.py` (the camera)."""

from typing import Any

import numpy as np

from selfmocap.datasets.results.record import (
    ResultPerson,
    ResultSource,
    SystemResult,
    camera_of_middle,
    frame_numbers,
    keys_of,
    mean_betas,
    numbers,
    rotations_from_vectors,
    tensor,
)
from selfmocap.datasets.results.vibe import FOCAL_RATIO

_KEYS = {"cam", "smpl_thetas", "smpl_betas"}
_DEFAULT_SIZE = (512, 512)


def is_romp(data: Any) -> bool:
    """Test whether the data has `results`, by frame, with SMPL parameters of people."""
    frames = data.get("results") if isinstance(data, dict) else None
    return isinstance(frames, dict) and any(keys_of(frame) >= _KEYS for frame in frames.values())


def read_romp(source: ResultSource) -> SystemResult:
    """Read the tracks; of a result without tracks (ROMP without `-t`), the single person of each frame.

    The camera maps to the square around the image. The distance is that at which a focal length of 1.2 longer sides
    shows the person as large."""
    size = source.image_size or _DEFAULT_SIZE
    tracks = source.data.get("sequence_results")
    if not isinstance(tracks, dict) or not tracks:
        tracks = {"1": _single_person(source)}
    people = [_person(source, str(name), track) for name, track in tracks.items()]
    return SystemResult(
        "ROMP", camera_of_middle(source, FOCAL_RATIO * max(size), size, "weak perspective"), people
    )


def _single_person(source: ResultSource) -> dict[str, Any]:
    track: dict[str, Any] = {key: [] for key in ("frame_id", *sorted(_KEYS))}
    for number, name in enumerate(sorted(source.data["results"])):
        frame = source.data["results"][name]
        if not keys_of(frame) >= _KEYS or not len(frame["cam"]):
            continue
        if len(frame["cam"]) > 1:
            raise ValueError(
                f"{source.path}: {len(frame['cam'])} people in {name} and no tracks; run ROMP with -t, which follows "
                "them, or with --show_largest"
            )
        track["frame_id"].append(number)
        for key in _KEYS:
            track[key].append(frame[key][0])
    return track


def _person(source: ResultSource, name: str, track: dict[str, Any]) -> ResultPerson:
    if missing := sorted(_KEYS - keys_of(track)):
        raise ValueError(f"{source.path}: track {name} lacks {', '.join(missing)}; run ROMP again")
    index = frame_numbers(source, track.get("frame_id"), "frame_id")
    frames = len(index)
    scale, tx, ty = numbers(source, track["cam"], "cam", (frames, 3)).T
    if scale.min() <= 0:
        raise ValueError(f"{source.path}: cam has a scale of {scale.min():g}; expected one above 0")
    betas = mean_betas(source, track["smpl_betas"], "smpl_betas", frames)
    pelvis = source.rest_joints(betas)[0].numpy()
    place = [pelvis[0] + tx / scale, pelvis[1] + ty / scale, 2 * FOCAL_RATIO / scale]
    R = rotations_from_vectors(source, track["smpl_thetas"], "smpl_thetas", 24, frames)
    return ResultPerson(name, index, betas, R, tensor(np.stack(place, axis=1)))
