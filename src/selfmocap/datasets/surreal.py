"""Read and write SURREAL (`*_info.mat`, `*_segm.mat`, `*.mp4`): rendered SMPL bodies in front of a fixed, mirrored
camera.

SURREAL's world is metric with y DOWN; its camera is at `camLoc` and looks along -x. The images are mirrored: in the
file's pixels left is right. Reading mirrors them back (frames must be flipped left to right), which makes the camera a
proper one, and rotates the world to y up. The body is not mirrored: left joints, left parts and left angles are the
person's left."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import BodyParameters
from selfmocap.datasets.matlab import read_mat
from selfmocap.geometry.camera import Camera
from selfmocap.io.text import MAX_RECORDING_FRAMES

SURREAL_WIDTH, SURREAL_HEIGHT = 320, 240
SURREAL_FOCAL = 600.0
"""px: a lens of 60 mm in front of a sensor 32 mm wide."""
SURREAL_GENDERS = ("female", "male")
MAX_INFO_BYTES = 1 << 26
MAX_PARTS_BYTES = 1 << 30

_SHAPES = {
    "pose": (72,), "shape": (10,), "joints2D": (2, 24), "joints3D": (3, 24), "zrot": (), "gender": (), "camLoc": (3,),
}  # fmt: skip
"""Shapes without the last axis, time, which `camLoc` does not have and a clip of one frame may lack."""

_R_YUP_SURREAL = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
_R_FLIPCAM_SURREAL = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
"""From SURREAL's world to the camera whose image is the file's, flipped."""


@dataclass(frozen=True, eq=False)
class SurrealClip:
    """A clip of SURREAL with its images flipped left to right."""

    name: str
    gender: str
    """The SMPL model of `parameters`, `female` or `male`."""
    parameters: BodyParameters
    """World: y up, metres."""
    camera: Camera
    joints_2d: Float[Tensor, "time 24 2"]
    """px in the flipped image (the centre of the top left pixel is (0, 0)); those of the original files are rounded."""
    joints_world: Float[Tensor, "time 24 3"]
    """Metres."""

    def __len__(self) -> int:
        return len(self.joints_2d)


def read_surreal(path: Path | str) -> SurrealClip:
    """Read the clip whose `*_info.mat` is at `path`.

    Raises ValueError that names the file, the key and the expected content."""
    path = Path(path)
    arrays = read_mat(path, _SHAPES, MAX_INFO_BYTES)
    if missing := sorted(_SHAPES.keys() - arrays.keys()):
        raise ValueError(f"{path}: lacks {', '.join(missing)}; expected a SURREAL *_info.mat")
    frames = arrays["pose"].size // 72
    if not 0 < frames <= MAX_RECORDING_FRAMES:
        raise ValueError(f"{path}: pose has shape {arrays['pose'].shape}; expected 72 numbers a frame")
    fields = {}
    for key, shape in _SHAPES.items():
        full = shape if key == "camLoc" else (*shape, frames)
        array = arrays[key]
        if array.size != np.prod(full) or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(
                f"{path}: {key} is {array.dtype} of shape {array.shape}; expected numbers of shape {full}"
            )
        fields[key] = array.reshape(full).astype(np.float64)
    return from_surreal(fields, path.name.removesuffix("_info.mat"))


def read_surreal_parts(path: Path | str, frames: int) -> np.ndarray:
    """Read (frames, 240, 320) uint8 from a `*_segm.mat`, flipped as the images are: 0 is the background, k the part
    that moves with joint k - 1. Raises ValueError."""
    names = [f"segm_{k}" for k in range(1, frames + 1)]
    arrays = read_mat(path, names, MAX_PARTS_BYTES)
    for name in names:
        if (
            name not in arrays
            or arrays[name].shape != (SURREAL_HEIGHT, SURREAL_WIDTH)
            or arrays[name].max() > 24
        ):
            raise ValueError(
                f"{path}: {name}: expected {SURREAL_HEIGHT} x {SURREAL_WIDTH} part numbers from 0 to 24"
            )
    return np.stack([arrays[name][:, ::-1] for name in names]).astype(np.uint8)


def from_surreal(fields: dict[str, Float[np.ndarray, "..."]], name: str) -> SurrealClip:
    """Convert the arrays of an `_info.mat` to a clip; time is the last axis of each array except `camLoc`."""
    tensors = {
        key: torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 0))) for key, a in fields.items()
    }
    joints_world = tensors["joints3D"].mT @ _R_YUP_SURREAL.T
    R = roma.rotvec_to_rotmat(tensors["pose"].unflatten(1, (24, 3)))
    R[:, 0] = _R_YUP_SURREAL @ _R_surreal_body(tensors["zrot"]) @ R[:, 0]
    corner = torch.tensor([SURREAL_WIDTH, 0.0], dtype=torch.float64)
    joints_2d = corner + tensors["joints2D"].mT * torch.tensor([-1.0, 1.0]) - 0.5
    camera = Camera(
        focal=torch.tensor([SURREAL_FOCAL, SURREAL_FOCAL], dtype=torch.float64),
        center=torch.tensor([(SURREAL_WIDTH - 1) / 2, (SURREAL_HEIGHT - 1) / 2], dtype=torch.float64),
        R_cam_world=_R_FLIPCAM_SURREAL @ _R_YUP_SURREAL.T,
        t_cam_world=-_R_FLIPCAM_SURREAL @ tensors["camLoc"],
    )
    betas = tensors["shape"]
    parameters = BodyParameters(betas[0] if (betas == betas[0]).all() else betas, R, joints_world[:, 0])
    return SurrealClip(
        name=name,
        gender=SURREAL_GENDERS[int(fields["gender"].flat[0])],
        parameters=parameters.to(torch.float32),
        camera=camera.to(torch.float32),
        joints_2d=joints_2d.float(),
        joints_world=joints_world.float(),
    )


def to_surreal(
    parameters: BodyParameters,
    joints_world: Float[Tensor, "time 24 3"],
    camera: Camera,
    gender: str,
    distance: float,
) -> dict[str, np.ndarray]:
    """Compute the arrays of an `_info.mat` for a body seen by `camera`: the inverse of `from_surreal`, up to the world.

    The camera has SURREAL's focal length and image size and may be anywhere, or move: SURREAL's world is placed so that
    its fixed camera is this one, `distance` metres from its origin. Frames of the video and the masks must be flipped
    left to right. Raises ValueError for a camera of another focal length or centre."""
    expected = torch.tensor([SURREAL_FOCAL, SURREAL_FOCAL, (SURREAL_WIDTH - 1) / 2, (SURREAL_HEIGHT - 1) / 2])
    found = torch.cat([camera.focal, camera.center], dim=-1).float()
    if not torch.allclose(found, expected.expand_as(found), atol=1e-3):
        raise ValueError(
            f"SURREAL's camera has focal lengths and centre {expected.tolist()} px; found {found.tolist()}"
        )
    camera, parameters = camera.to(torch.float64), parameters.to(torch.float64)
    frames = len(joints_world)
    location = torch.tensor([distance, -1.0, 0.0], dtype=torch.float64)
    p_cam = camera.to_camera(joints_world.double())
    joints3D = p_cam @ _R_FLIPCAM_SURREAL + location
    R_surreal_cam = _R_FLIPCAM_SURREAL.T
    R = parameters.R_parent_joint.clone()
    no_turn = torch.zeros(frames, dtype=torch.float64)
    R[:, 0] = _R_surreal_body(no_turn).mT @ R_surreal_cam @ camera.R_cam_world @ R[:, 0]
    pixels = camera.project(joints_world.double())
    joints2D = torch.stack([SURREAL_WIDTH - (pixels[..., 0] + 0.5), pixels[..., 1] + 0.5], dim=-1)
    betas = parameters.betas.expand(frames, -1)[:, :10]
    by_time_last = {
        "pose": roma.rotmat_to_rotvec(R).flatten(1), "shape": torch.nn.functional.pad(betas, (0, 10 - betas.shape[1])),
        "joints2D": joints2D.mT, "joints3D": joints3D.mT,
    }  # fmt: skip
    return {
        **{
            key: np.moveaxis(tensor.numpy(), 0, -1).astype(np.float32) for key, tensor in by_time_last.items()
        },
        "zrot": np.zeros((frames, 1), np.float32),
        "gender": np.full((frames, 1), SURREAL_GENDERS.index(gender), np.uint8),
        "camLoc": location[:, None].numpy().astype(np.float32),
        "camDist": np.array([[distance]], np.float32),
    }


def _R_surreal_body(zrot: Float[Tensor, " time"]) -> Float[Tensor, "time 3 3"]:
    """Compute the rotation from a body that stands along its own z to SURREAL's world: Rx(90 degrees) Rz(zrot)."""
    quarter = torch.full_like(zrot, torch.pi / 2)
    return roma.euler_to_rotmat("XZ", torch.stack([quarter, zrot], dim=1))
