"""The joints of the legs."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import forward_kinematics
from selfmocap.body_model.skeleton import JOINT


@dataclass(frozen=True)
class Leg:
    """The joints of one leg."""

    hip: int
    knee: int
    ankle: int


LEGS = tuple(
    Leg(*(JOINT[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))) for side in ("left", "right")
)


def world_rotation(
    rest_joints: Float[Tensor, "24 3"],
    joint: int,
    R_parent_joint: Float[Tensor, "time 24 3 3"],
    p_world_root: Float[Tensor, "time 3"],
) -> Float[Tensor, "time 3 3"]:
    """Compute a joint's rotation in the world."""
    return forward_kinematics(R_parent_joint.to(p_world_root), rest_joints, p_world_root)[0][:, joint]
