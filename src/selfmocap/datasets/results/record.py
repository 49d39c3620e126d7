"""The people of another system's result, and the values that its file holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.datasets.smpl_motion import smpl_rotations

MAX_FRAME = 10_000_000
BODY_JOINTS = JOINT["left_hand"]
"""SMPL's joints without the hands, the first ones of SMPL-H and SMPL-X too."""
_ROTATION_TOLERANCE = 0.02
_VIEWING_DISTANCE, _VIEWING_SIZE = 4.0, (1920, 1080)
"""Distance (m) and image size (px) of the camera that stands in where a result has none."""

RestJoints = Callable[[Float[Tensor, " betas"]], Float[Tensor, "24 3"]]
"""From betas to the joints of the rest pose at the place that SMPL's file gives them, metres."""


@dataclass(frozen=True, eq=False)
class ResultPerson:
    """One person, in the frames in which the system has them."""

    name: str
    frame_index: Int[Tensor, " time"]
    """Index of each frame in the video."""
    betas: Float[Tensor, " betas"]
    """SMPL's (or SMPL-X's) shape, the mean over the frames."""
    R_parent_joint: Float[Tensor, "time 24 3 3"]
    """The root's parent is the camera frame (OpenCV: x right, y down, z forward)."""
    p_cam_root: Float[Tensor, "time 3"]
    """Pelvis in the camera frame, metres."""
    R_cam_world: Float[Tensor, "time 3 3"] | None = None
    """Camera of each frame, where the system has a world, which is y up; else the camera is taken to be static."""
    t_cam_world: Float[Tensor, "time 3"] | None = None
    """Metres."""
    fingers: Float[Tensor, "time 30 3 3"] | None = None
    """As in `Motion`; None if the result has none."""

    def in_order(self) -> "ResultPerson":
        """Return the person with frames in ascending order."""
        order = self.frame_index.argsort()
        by_frame = {name: value for name, value in vars(self).items() if name not in ("name", "betas")}
        return replace(self, **{n: None if value is None else value[order] for n, value in by_frame.items()})


@dataclass(frozen=True, eq=False)
class ResultCamera:
    """The camera of a result."""

    focal: Float[Tensor, "2"]
    """px."""
    center: Float[Tensor, "2"]
    """px; the centre of the top left pixel is (0, 0)."""
    image_size: tuple[int, int]
    """Width and height of the images that the system saw, px."""
    kind: Literal["perspective", "weak perspective", "none"] = "perspective"
    """`weak perspective`: the focal length is a constant of the system, and the distances are in proportion to it.
    `none`: the result has no camera; this one views the people from the front."""


@dataclass(frozen=True, eq=False)
class SystemResult:
    """The people that another system found in a video."""

    system: str
    camera: ResultCamera
    people: list[ResultPerson]
    model: Literal["smpl", "smplx", "body"] = "smpl"
    """The model that `betas` belong to; `body`: the one that the result is read as."""
    fps: float | None = None
    """Frames a second, where the file gives them."""


@dataclass(frozen=True)
class ResultSource:
    """What a reader gets."""

    path: Path
    """For messages, and for files beside it."""
    data: Any
    """The plain data of the file."""
    rest_joints: RestJoints
    image_size: tuple[int, int] | None
    """Width and height of the video, px; None without the video."""
    focal: float | None = None
    """Focal length that the user gives, px, for a system whose files have none."""


def keys_of(value: Any) -> set[Any]:
    """Return the keys of a dict; none for another value."""
    return set(value) if isinstance(value, dict) else set()


def numbers(source: ResultSource, value: Any, key: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Convert a value to finite float64 numbers of a shape, in which -1 is any length but 0. Raises ValueError."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, dtype=object)
    fits = array.ndim == len(shape) and all(
        m > 0 and n in (m, -1) for n, m in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "biuf":
        wanted = ", ".join("n" if n < 0 else str(n) for n in shape)
        raise ValueError(
            f"{source.path}: {key} is {array.dtype} of shape {array.shape}; expected numbers of shape ({wanted})"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"{source.path}: {key} contains values that are not finite numbers; run the system again"
        )
    return array.astype(np.float64)


def frame_numbers(source: ResultSource, value: Any, key: str) -> Int[Tensor, " time"]:
    """Convert a value to indices of frames, each from 0 and once. Raises ValueError."""
    found = numbers(source, value, key, (-1,))
    if (found != np.round(found)).any() or found.min() < 0 or found.max() > MAX_FRAME:
        raise ValueError(
            f"{source.path}: {key} contains {found.min():g} to {found.max():g}; expected frame indices"
        )
    if len(np.unique(found)) != len(found):
        raise ValueError(f"{source.path}: {key} contains a frame twice for one person; run the system again")
    return torch.from_numpy(found.astype(np.int64))


def tensor(array: np.ndarray) -> Float[Tensor, "..."]:
    """Return an array as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array))


def rotations_from_vectors(
    source: ResultSource, value: Any, key: str, joints: int, frames: int = -1
) -> Float[Tensor, "time 24 3 3"]:
    """Return `R_parent_joint` from rotation vectors (time, 3 joints) of SMPL (24 joints) or another model of the
    family, of which the body's 22 joints are used."""
    return smpl_rotations(numbers(source, value, key, (frames, 3 * joints)))


def rotations_from_matrices(
    source: ResultSource, value: Any, key: str, joints: int, frames: int = -1
) -> Float[Tensor, "time 24 3 3"]:
    """Return `R_parent_joint` from rotation matrices (time, joints, 3, 3). Raises ValueError for other matrices."""
    R = tensor(numbers(source, value, key, (frames, joints, 3, 3)))
    nearest: Any = roma.special_procrustes(R)
    if float((nearest - R).abs().max()) > _ROTATION_TOLERANCE:
        raise ValueError(
            f"{source.path}: {key} contains matrices that are not rotations; run the system again"
        )
    used = len(JOINT_NAMES) if joints == len(JOINT_NAMES) else BODY_JOINTS
    whole = torch.eye(3, dtype=torch.float64).repeat(len(R), len(JOINT_NAMES), 1, 1)
    whole[:, :used] = nearest[:, :used]
    return whole


def mean_betas(source: ResultSource, value: Any, key: str, frames: int) -> Float[Tensor, " betas"]:
    """Return the mean shape of a person from betas (time, n) or (n,); the first 10."""
    rows = numbers(source, np.atleast_2d(np.asarray(value)), key, (-1, -1))
    if len(rows) not in (1, frames):
        raise ValueError(
            f"{source.path}: {key} has {len(rows)} rows for {frames} frames; run the system again"
        )
    return tensor(rows[:, :10].mean(0))


def camera_of_middle(
    source: ResultSource, focal: Any, size: tuple[int, int], kind: Any = "perspective"
) -> ResultCamera:
    """Return a camera whose principal point is the middle of the image; `focal` is a number or one for each axis."""
    found = numbers(source, np.broadcast_to(np.ravel(focal), 2), "focal length", (2,))
    if found.min() <= 0:
        raise ValueError(f"{source.path}: the focal length is {found.min():g} px; expected one above 0")
    middle = torch.tensor([(n - 1) / 2 for n in size], dtype=torch.float64)
    return ResultCamera(tensor(found), middle, size, kind)


def person_in_camera_and_world(
    person: ResultPerson, R_world_root: Float[Tensor, "time 3 3"], p_world_root: Float[Tensor, "time 3"]
) -> ResultPerson:
    """Add the camera in which the root, as the system has it in its world, is where it has it in the camera frame."""
    R = person.R_parent_joint[:, 0] @ R_world_root.mT
    t = person.p_cam_root - (R @ p_world_root[..., None])[..., 0]
    return replace(person, R_cam_world=R, t_cam_world=t)


# ---- results without a camera ----------------------------------------------------------------------------------


def result_of_world(
    system: str,
    people: list[ResultPerson],
    model: Literal["smpl", "smplx", "body"] = "smpl",
    fps: float | None = None,
) -> SystemResult:
    """Return a result of people whose root is in a world that is y up, seen by a camera in front of them."""
    paths = torch.cat([person.p_cam_root for person in people])
    low, high = paths.amin(0), paths.amax(0)
    p_world_cam = torch.cat([(low + high)[:2] / 2, high[2:] + _VIEWING_DISTANCE])
    R_cam_world = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=paths.dtype))
    t_cam_world = -R_cam_world @ p_world_cam
    seen = []
    for person in people:
        R = person.R_parent_joint.clone()
        R[:, 0] = R_cam_world @ R[:, 0]
        p = person.p_cam_root @ R_cam_world.T + t_cam_world
        cameras = R_cam_world.expand(len(p), 3, 3), t_cam_world.expand(len(p), 3)
        seen.append(
            ResultPerson(person.name, person.frame_index, person.betas, R, p, *cameras, person.fingers)
        )
    width, height = _VIEWING_SIZE
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    camera = ResultCamera(torch.full((2,), 1.2 * width).double(), middle, _VIEWING_SIZE, "none")
    return SystemResult(system, camera, seen, model, fps)


def rotation_to_y_up(R_file_root: Float[Tensor, "time 3 3"]) -> Float[Tensor, "3 3"]:
    """Return `R_yup_file`: the axis of the file's world along which the person stands on average becomes y."""
    up = R_file_root[:, :, 1].mean(0)
    axis = int(up.abs().argmax())
    R = torch.zeros(3, 3, dtype=R_file_root.dtype)
    R[0, 1 if axis == 0 else 0] = 1.0
    R[1, axis] = up[axis].sign()
    R[2] = torch.linalg.cross(R[0], R[1])
    return R
