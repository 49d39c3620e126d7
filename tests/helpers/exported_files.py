"""Make motions, and the embedded body as a file in SMPL's format, for tests of exports."""

import math
import pickle
from pathlib import Path

import numpy as np
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.model_files import _FACE_AND_FEET, _VERTEX_OF, BodyData, read_body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.geometry.camera import Camera
from tests.conftest import random_parameters


def wandering_motion(
    body: Body, frames: int = 40, fps: float = 30.0, index: list[int] | None = None, seed: int = 3
) -> Motion:
    """Make a motion with smooth, large rotations of every joint, a full rotation of the root, and an unusual shape."""
    torch.manual_seed(seed)
    frame_index = torch.arange(frames) if index is None else torch.tensor(index)
    times = frame_index.double() / fps
    amplitude = torch.randn(24, 3, dtype=torch.float64) * 0.5
    amplitude[0] = torch.tensor([0.3, 0.0, 0.2])
    phase = torch.rand(24, 3, dtype=torch.float64) * 2 * math.pi
    turn = amplitude * torch.sin(4 * times[:, None, None] + phase)
    turn[:, 0, 1] = 3 * times
    x, z = torch.sin(times), -4 + 0.5 * torch.cos(times)
    camera = Camera.looking_along_z(1000.0, 1280, 720)
    return Motion.from_parameters(
        body,
        BodyParameters(
            torch.randn(body.num_betas),
            roma.rotvec_to_rotmat(turn).float(),
            torch.stack([x, 0.9 + 0.05 * torch.sin(9 * times), z], dim=-1).float(),
        ),
        camera,
        (1280, 720),
        frame_times=times,
        frame_index=frame_index,
        confidence=torch.rand(len(times)),
    )


def joints_world(motion: Motion) -> np.ndarray:
    """Return the joints of motion.npz in the world, (time, 24, 3), metres."""
    return motion.camera.to_world(motion.joints_cam).numpy()


def write_like_smpl(path: Path) -> Path:
    """Write a body file of SMPL's size and format: the embedded body with another mean shape and other bone directions.

    Its vertices of face and feet have SMPL's indices."""
    body, data = Body.load(), read_body()
    torch.manual_seed(11)
    like = random_parameters(body, 1, angle=0.06)
    posed = body.pose(
        BodyParameters(0.7 * like.betas, like.R_parent_joint, torch.tensor([[0.0, -0.23, 0.03]]))
    )
    mixing = torch.linalg.qr(torch.randn(body.num_betas, body.num_betas))[0].numpy()[:, :10]
    order = _order_of_vertices(data)
    template, shapedirs = posed.vertices[0].numpy()[order], (data.shapedirs @ mixing)[order]
    joints = np.concatenate([posed.joints[0].numpy()[..., None], data.J_shapedirs @ mixing], axis=2)
    arrays = {
        "v_template": template,
        "f": np.unique(order, return_index=True)[1][data.faces].astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": np.einsum("fr,rvx->vxf", data.posedirs_coefficients, data.posedirs_basis)[order],
        "weights": data.weights[order],
        "J_regressor": _regressor(np.concatenate([template[..., None], shapedirs], axis=2), joints),
        "kintree_table": np.array([[4294967295, *JOINT_PARENTS[1:]], range(24)], dtype=np.uint32),
    }
    path.write_bytes(pickle.dumps(arrays))
    return path


def _order_of_vertices(data: BodyData) -> np.ndarray:
    """Map SMPL's 6890 vertices to vertices of the embedded body; some are used twice."""
    order = np.zeros(6890, dtype=np.int64)
    order[: len(data.v_template)] = np.arange(len(data.v_template))
    for name, place in zip(_FACE_AND_FEET, _VERTEX_OF[len(order)], strict=True):
        vertices, weights = data.landmarks[name]
        found = int(np.flatnonzero(order == vertices[weights.argmax()])[0])
        order[[found, place]] = order[[place, found]]
    return order


def _regressor(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Compute a joint regressor (24, V) with rows that sum to 1: the exact one of the smallest norm."""
    points = np.concatenate([points.reshape(len(points), -1), np.ones((len(points), 1))], axis=1)
    joints = np.concatenate([joints.reshape(len(joints), -1), np.ones((len(joints), 1))], axis=1)
    return np.linalg.lstsq(points.T.astype(np.float64), joints.T.astype(np.float64), rcond=None)[0].T
