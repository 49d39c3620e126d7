"""Recordings as parameters of SMPL, as AMASS and 3DPW publish them."""

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.joint_limits import repair_rotations
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS
from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.datasets.retargeting.ground import lowest_height, put_on_ground
from selfmocap.datasets.retargeting.skeletons import resample_motion


@dataclass(frozen=True, eq=False)
class SmplMotion:
    """SMPL parameters over time. `betas` and `transl` refer to the SMPL model that they were fitted with; on the
    embedded body only the rotations and the path are used."""

    name: str
    subject: str
    gender: str
    """SMPL's model: `female`, `male` or `neutral`."""
    fps: float
    betas: Float[Tensor, " betas"]
    R_parent_joint: Float[Tensor, "time 24 3 3"]
    """The root's parent is the world, which is y up."""
    transl: Float[Tensor, "time 3"]
    """SMPL's translation in the file's world, metres: the pelvis is at its rest position for `betas` plus this."""
    R_world_file: Float[Tensor, "3 3"]
    """From the file's world to the world of this project, which is y up."""
    model: str = "smpl"
    """The kind of the model that `betas` belong to: `smpl`, `smplh` or `smplx`."""
    R_straight_finger: Float[Tensor, "time 30 3 3"] | None = None
    """Rotations of FINGER_JOINT_NAMES from straight fingers, SMPL-H's; None if the file has none."""

    def __len__(self) -> int:
        return len(self.transl)

    def resampled(self, fps: float) -> "SmplMotion":
        """Return the motion at another frame rate."""
        R, transl = resample_motion(self.R_parent_joint, self.transl, self.fps, fps)
        return replace(self, fps=fps, R_parent_joint=R, transl=transl, R_straight_finger=None)

    def parameters(self, smpl: Body) -> BodyParameters:
        """Return the parameters for the SMPL model (of the same gender) that they were fitted with."""
        rest_pelvis = smpl.shape(self.betas.to(smpl.v_template)).joints[JOINT["pelvis"]]
        return self._placed(self.betas, rest_pelvis).to(smpl.v_template.dtype)

    def on_mean_shape(self, body: Body) -> BodyParameters:
        """Return the rotations on a body in its mean shape, with the pelvis where SMPL's mean body has it."""
        pelvis = torch.tensor(SMPL_MEAN_PELVIS)
        return self._placed(torch.zeros_like(self.betas), pelvis).to(body.v_template.dtype)

    def on_body(self, body: Body) -> BodyParameters:
        """Return the rotations and the path on a body of mean shape, whose rest pose is the same T, with its feet on y
        = 0."""
        mean = torch.zeros_like(self.betas)
        repaired = replace(self, R_parent_joint=repair_rotations(self.R_parent_joint))
        parameters = repaired._placed(mean, body.J_template[JOINT["pelvis"]]).to(body.v_template.dtype)
        return put_on_ground(parameters, lowest_height(body, parameters))

    def _placed(self, betas: Float[Tensor, " betas"], rest_pelvis: Float[Tensor, "3"]) -> BodyParameters:
        p_world_root = (self.transl + rest_pelvis.to(self.transl)) @ self.R_world_file.T
        return BodyParameters(betas, self.R_parent_joint, p_world_root)


def smpl_rotations(poses: np.ndarray) -> Float[Tensor, "time 24 3 3"]:
    """Compute `R_parent_joint` from axis-angle vectors (time, 3 joints) of SMPL, SMPL-H or SMPL-X. The first 22 joints
    are the same; hands of the last two, which have fingers, stay straight."""
    joints = len(JOINT_NAMES) if poses.shape[1] == 3 * len(JOINT_NAMES) else JOINT["left_hand"]
    rotvec = torch.zeros(len(poses), len(JOINT_NAMES), 3, dtype=torch.float64)
    rotvec[:, :joints] = torch.from_numpy(poses[:, : 3 * joints].astype(np.float64)).unflatten(1, (joints, 3))
    return roma.rotvec_to_rotmat(rotvec)
