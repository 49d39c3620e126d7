"""Convert motions to the data that the page plays: for each person a rest mesh and joint rotations over time.

Every array is `{"type", "data"}`: little-endian numbers in base64. `playback.js` reads them.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import ALL_JOINT_NAMES, ALL_JOINT_PARENTS, JOINT_NAMES
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import export_rig
from selfmocap.export.segments import concat_segments, split_into_segments
from selfmocap.export.skin import SkinnedMesh, skinned_mesh
from selfmocap.geometry import lazy_roma as roma
from selfmocap.visualization.clothes import clothed_parts

MAX_SHOWN_FRAMES = 3000
"""Maximum number of frames in the page; of a longer clip every second, third, ... frame is shown."""

MAX_POSE_OFFSETS = 24
"""Number of pose blendshapes of each person in the page."""

_CODES = {"int16": "<i2", "uint16": "<u2", "uint32": "<u4", "int8": "i1", "uint8": "u1", "float32": "<f4"}

Residuals = Mapping[str, Sequence[float | None]]
"""For one person: a name (before, after) and a number for each frame of the motion."""


def playback(motions: Sequence[Motion], body: Body, keypoint_px: Sequence[Residuals]) -> dict[str, Any]:
    """Return the JSON data of all people, each with their residuals, on one timeline.

    `frames` {index, time (s)} are the shown frames of the video, from the first with a person to the last; `every` is
    the step between them. `people` are those in a shown frame; the `row` of a person gives for each frame the row of
    their arrays, -1 in frames without them. Raises ValueError if there is no frame, or unless there is one residual per
    frame."""
    observed = np.concatenate([np.zeros(0, np.int64), *(m.frame_index.numpy() for m in motions)])
    if not len(observed):
        raise ValueError("expected a motion with at least one frame, found none")
    times = np.concatenate([m.frame_times.numpy() for m in motions])
    observed, first = np.unique(observed, return_index=True)
    every = -(-int(observed[-1] - observed[0] + 1) // MAX_SHOWN_FRAMES)
    index = np.arange(observed[0], observed[-1] + 1, every)
    time = np.interp(index, observed, times[first])
    joints = len(JOINT_NAMES if all(m.fingers is None for m in motions) else ALL_JOINT_NAMES)
    people = [_person(m, body, index, of_m, joints) for m, of_m in zip(motions, keypoint_px, strict=True)]
    return {
        "every": every,
        "frames": {"index": index.tolist(), "time": time.round(4).tolist()},
        "joints": ALL_JOINT_NAMES[:joints],
        "parents": ALL_JOINT_PARENTS[:joints],
        "pose_offsets": MAX_POSE_OFFSETS,
        "faces": packed(body.faces.numpy(), "uint16" if len(body.vertex_joint) <= 1 << 16 else "uint32"),
        "parts": packed(clothed_parts(body), "uint8"),
        "people": [{"number": number, **data} for number, data in enumerate(people, 1) if data],
    }


def packed(array: np.ndarray, kind: str) -> dict[str, str]:
    """Encode the numbers of an array for the page."""
    return {"type": kind, "data": base64.b64encode(array.astype(_CODES[kind]).tobytes()).decode()}


def _person(
    whole: Motion, body: Body, index: Int[np.ndarray, " shown"], keypoint_px: Residuals, joints: int
) -> dict[str, Any] | None:
    kept = np.isin(whole.frame_index.numpy(), index)
    if not kept.any():
        return None
    motion = whole[kept]
    if joints > len(JOINT_NAMES) and motion.fingers is None:
        motion = replace(motion, fingers=torch.eye(3).expand(len(motion), joints - len(JOINT_NAMES), 3, 3))
    row = np.full(len(index), -1)
    row[np.searchsorted(index, motion.frame_index.numpy())] = np.arange(len(motion))
    skeleton = export_rig(concat_segments(split_into_segments(motion)), body, ExportOptions(), unit="m")
    weights = body_for(motion.all_parameters, body).weights.double().T.numpy()
    return {
        "row": packed(row, "int16"),
        "camera": _camera(motion),
        "skin": _skin(skinned_mesh(skeleton.rest_vertices.numpy(), weights, body.faces.numpy())),
        "pose_offsets": _pose_offsets(motion, body),
        "rest_joints": packed(skeleton.rest_joints.numpy(), "float32"),
        "rotations": _unit(roma.rotmat_to_unitquat(skeleton.R_parent_joint).numpy()),
        "root": packed(skeleton.p_world_root.numpy(), "float32"),
        "confidence": packed(motion.confidence.numpy(), "float32"),
        "filled": packed(motion.filled.numpy(), "uint8"),
        "keypoint_px": [(name, _residuals(values, kept)) for name, values in keypoint_px.items()],
    }


def _residuals(values: Sequence[float | None], kept: Bool[np.ndarray, " time"]) -> dict[str, str]:
    if len(values) != len(kept):
        raise ValueError(
            f"{len(values)} residuals for a motion of {len(kept)} frames; expected one per frame"
        )
    return packed(np.array([np.nan if value is None else value for value in values])[kept], "float32")


def _skin(mesh: SkinnedMesh) -> dict[str, Any]:
    scale = float(np.abs(mesh.vertices).max())
    return {
        "scale": scale,
        "vertices": _unit(mesh.vertices / scale),
        "joints": packed(mesh.joints, "uint8"),
        "weights": packed(np.rint(mesh.weights * 65535), "uint16"),
    }


def _pose_offsets(motion: Motion, body: Body) -> dict[str, Any]:
    """Compress the pose offsets D (time, 3 vertices) of the skin, which are centimetres at shoulders and hips.

    D is replaced by U (U^T D) with U the strongest left singular vectors."""
    rotations = motion.parameters.R_parent_joint[:, 1:] - torch.eye(3)
    coefficients = rotations.flatten(1) @ body.posedirs_coefficients
    blendshapes = body.blendshapes[body.num_betas :]
    values, vectors = torch.linalg.eigh(blendshapes @ blendshapes.T)
    strengths = coefficients @ (vectors * values.clamp_min(0).sqrt())
    U = torch.linalg.svd(strengths, full_matrices=False).U[:, :MAX_POSE_OFFSETS]
    shapes = (U.T @ coefficients) @ blendshapes
    metres = shapes.abs().amax(1, keepdim=True).clamp_min(1e-9)
    absent = (0, MAX_POSE_OFFSETS - len(shapes))
    by_vertex = (shapes / metres).unflatten(1, (3, -1)).permute(2, 0, 1)
    return {
        "metres": packed(torch.nn.functional.pad(U * metres.T, absent).numpy(), "float32"),
        "shapes": packed((127 * torch.nn.functional.pad(by_vertex, (0, 0, *absent))).round().numpy(), "int8"),
    }


def _unit(array: Float[np.ndarray, "*shape"]) -> dict[str, str]:
    """Encode numbers in [-1, 1] in 16 bits."""
    return packed(np.rint(array * 32767), "int16")


def _camera(motion: Motion) -> dict[str, Any]:
    """Encode the camera: `R_cam_world` as quaternions and `t_cam_world`, one row for all frames or one per frame."""
    camera = motion.camera
    return {
        "size": motion.image_size,
        "focal": camera.focal.flatten().tolist(),
        "center": camera.center.flatten().tolist(),
        "rotations": _unit(roma.rotmat_to_unitquat(camera.R_cam_world.double()).numpy()),
        "t": packed(camera.t_cam_world.numpy(), "float32"),
    }
