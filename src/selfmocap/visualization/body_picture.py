"""Write one pose of the body as an image or a mesh."""

import json
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import named_pose, pose_from_degrees
from selfmocap.export.mesh import MESH_SUFFIXES, write_mesh
from selfmocap.io.files import existing_file
from selfmocap.visualization.render import write_render


def write_posed_body(
    out: Path, pose: str, betas: tuple[float, ...], model: Path | None, yaw_deg: float
) -> None:
    """Write the body in a pose to an image (`.png`) of the body rotated by `yaw_deg`, or to a mesh.

    `pose` is a name, a `motion.npz`, or a JSON file of rotation vectors in degrees. Raises ValueError or
    FileNotFoundError that names the problem."""
    if out.suffix not in (".png", *MESH_SUFFIXES):
        raise ValueError(
            f"{out}: expected {', '.join(('.png', *MESH_SUFFIXES))}, found {out.suffix or 'no suffix'}"
        )
    body = Body.load(model)
    parameters = BodyParameters(torch.tensor(betas), read_pose(pose), torch.zeros(3))
    posed = body.pose(parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".png":
        R_world_body = roma.rotvec_to_rotmat(torch.tensor([0.0, yaw_deg * torch.pi / 180, 0.0]))
        write_render(out, posed.vertices @ R_world_body.mT, body.faces)
    else:
        write_mesh(out, posed.vertices, body.faces)


def read_pose(pose: str) -> Float[Tensor, "24 3 3"]:
    """Read `R_parent_joint` of a named pose, of the first frame of a motion, or of a JSON file."""
    if pose.endswith(".npz"):
        return Motion.load(pose).parameters.R_parent_joint[0]
    if not pose.endswith(".json"):
        return named_pose(pose)
    try:
        degrees = json.loads(existing_file(pose).read_text())
        return pose_from_degrees(
            {joint: (float(x), float(y), float(z)) for joint, (x, y, z) in degrees.items()}
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f'{pose}: expected {{"joint": [x, y, z], ...}} in degrees; {error}') from error
