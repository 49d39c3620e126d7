"""Motions as the data that the page plays: for each person a skin at rest and the turns of its joints in time.

Every array is `{"type", "data"}`: little-endian numbers in base64. `playback.js` is the reader.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT_NAMES, JOINT_PARENTS
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import export_rig
from selfmocap.export.segments import concat_segments, split_into_segments
from selfmocap.export.skin import SkinnedMesh, skinned_mesh

MAX_SHOWN_FRAMES = 3000
"""Frames shown of a clip; of a longer one every second, third, ..."""

BULGES = 24
"""Pose blendshapes shown of each person."""

_CODES = {"int16": "<i2", "uint16": "<u2", "uint32": "<u4", "int8": "i1", "uint8": "u1", "float32": "<f4"}

Residuals = Mapping[str, Sequence[float | None]]
"""Of one person: a name (first answer, result) and a number for each of its motion's frames."""


def playback(motions: Sequence[Motion], body: Body, keypoint_px: Sequence[Residuals]) -> dict[str, Any]:
    """JSON data of all people, each with its residuals, on one timeline.

    `frames` {index, time (s)} are the video's frames that are shown, from the first with a person in it to the last,
    and `every` how many of them one stands for.
    `people` are those who are in one of them; a person's `row` says for each frame which row of its own arrays
    belongs to it, -1 where it is absent. Raises ValueError where there is no frame, or where residuals are not one a
    frame."""
    seen = np.concatenate([np.zeros(0, np.int64), *(m.frame_index.numpy() for m in motions)])
    if not len(seen):
        raise ValueError("a report needs a motion with at least one frame; there is none")
    times = np.concatenate([m.frame_times.numpy() for m in motions])
    seen, first = np.unique(seen, return_index=True)
    every = -(-int(seen[-1] - seen[0] + 1) // MAX_SHOWN_FRAMES)
    index = np.arange(seen[0], seen[-1] + 1, every)
    time = np.interp(index, seen, times[first])
    people = [_person(m, body, index, of_m) for m, of_m in zip(motions, keypoint_px, strict=True)]
    return {
        "every": every,
        "frames": {"index": index.tolist(), "time": time.round(4).tolist()},
        "joints": JOINT_NAMES,
        "parents": JOINT_PARENTS,
        "bulges": BULGES,
        "faces": packed(body.faces.numpy(), "uint16" if len(body.vertex_joint) <= 1 << 16 else "uint32"),
        "people": [{"number": number, **data} for number, data in enumerate(people, 1) if data],
    }


def packed(array: np.ndarray, kind: str) -> dict[str, str]:
    """An array's numbers as the page reads them."""
    return {"type": kind, "data": base64.b64encode(array.astype(_CODES[kind]).tobytes()).decode()}


def _person(
    whole: Motion, body: Body, index: Int[np.ndarray, " shown"], keypoint_px: Residuals
) -> dict[str, Any] | None:
    kept = np.isin(whole.frame_index.numpy(), index)
    if not kept.any():
        return None
    motion = whole[kept]
    row = np.full(len(index), -1)
    row[np.searchsorted(index, motion.frame_index.numpy())] = np.arange(len(motion))
    skeleton = export_rig(concat_segments(split_into_segments(motion)), body, ExportOptions(), unit="m")
    return {
        "row": packed(row, "int16"),
        "camera": _camera(motion),
        "skin": _skin(skinned_mesh(skeleton, body)),
        "bulges": _bulges(motion, body),
        "rest_joints": packed(skeleton.rest_joints.numpy(), "float32"),
        "turns": _unit(roma.rotmat_to_unitquat(skeleton.R_parent_joint).numpy()),
        "root": packed(skeleton.p_world_root.numpy(), "float32"),
        "confidence": packed(motion.confidence.numpy(), "float32"),
        "filled": packed(motion.filled.numpy(), "uint8"),
        "keypoint_px": [(name, _residuals(values, kept)) for name, values in keypoint_px.items()],
    }


def _residuals(values: Sequence[float | None], kept: Bool[np.ndarray, " time"]) -> dict[str, str]:
    if len(values) != len(kept):
        raise ValueError(
            f"{len(values)} residuals of keypoints for a motion of {len(kept)} frames; give one a frame"
        )
    return packed(np.array([np.nan if value is None else value for value in values])[kept], "float32")


def _skin(hull: SkinnedMesh) -> dict[str, Any]:
    furthest = float(np.abs(hull.vertices).max())
    return {
        "furthest": furthest,
        "vertices": _unit(hull.vertices / furthest),
        "joints": packed(hull.joints, "uint8"),
        "weights": packed(np.rint(hull.weights * 65535), "uint16"),
    }


def _bulges(motion: Motion, body: Body) -> dict[str, Any]:
    """The pose blendshapes, which move the skin by centimetres at shoulders and hips, as the few shapes that this
    motion is made of: its offsets D (time, 3 vertices) are U (U^T D), U the strongest left singular vectors."""
    turns = motion.parameters.R_parent_joint[:, 1:] - torch.eye(3)
    coefficients = turns.flatten(1) @ body.posedirs_coefficients
    blendshapes = body.blendshapes[body.num_betas :]
    values, vectors = torch.linalg.eigh(blendshapes @ blendshapes.T)
    strengths = coefficients @ (vectors * values.clamp_min(0).sqrt())
    U = torch.linalg.svd(strengths, full_matrices=False).U[:, :BULGES]
    shapes = (U.T @ coefficients) @ blendshapes
    metres = shapes.abs().amax(1, keepdim=True).clamp_min(1e-9)
    absent = (0, BULGES - len(shapes))
    by_vertex = (shapes / metres).unflatten(1, (3, -1)).permute(2, 0, 1)
    return {
        "metres": packed(torch.nn.functional.pad(U * metres.T, absent).numpy(), "float32"),
        "shapes": packed((127 * torch.nn.functional.pad(by_vertex, (0, 0, *absent))).round().numpy(), "int8"),
    }


def _unit(array: Float[np.ndarray, "*shape"]) -> dict[str, str]:
    """Numbers in [-1, 1] in 16 bits."""
    return packed(np.rint(array * 32767), "int16")


def _camera(motion: Motion) -> dict[str, Any]:
    """The video's camera: `R_cam_world` as quaternions and `t_cam_world`, one row for all frames or one a frame."""
    camera = motion.camera
    return {
        "size": motion.image_size,
        "focal": camera.focal.flatten().tolist(),
        "center": camera.center.flatten().tolist(),
        "turns": _unit(roma.rotmat_to_unitquat(camera.R_cam_world.double()).numpy()),
        "t": packed(camera.t_cam_world.numpy(), "float32"),
    }
