"""Writes small recordings in the field's formats, from the body's own parameters."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import scipy.io
import torch
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.skeleton import JOINT_NAMES, JOINT_PARENTS
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from tests.conftest import SHARED_DATA

DATA = SHARED_DATA / "motion"
R_ZUP_YUP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def random_motion(frames: int, seed: int = 0, spread: float = 0.5) -> BodyParameters:
    """A smooth motion with all joints turning, float64."""
    generator = torch.Generator().manual_seed(seed)
    ends = spread * torch.randn(2, 24, 3, generator=generator, dtype=torch.float64)
    share = torch.linspace(0, 1, frames, dtype=torch.float64)
    R = roma.rotvec_to_rotmat(ends[0] + share[:, None, None] * (ends[1] - ends[0]))
    p = torch.tensor([0.3, 1.0, -0.5]) + share[:, None] * torch.tensor([1.0, 0.05, 0.4], dtype=torch.float64)
    betas = 0.5 * torch.randn(10, generator=generator, dtype=torch.float64)
    return BodyParameters(betas, R, p)


def joints(parameters: BodyParameters, body: Body) -> torch.Tensor:
    """(time, 24, 3) m."""
    rest = body.to(torch.float64).shape(parameters.betas.double()).joints
    return forward_kinematics(parameters.R_parent_joint.double(), rest, parameters.p_world_root.double())[1]


def bvh_text(
    parameters: BodyParameters, body: Body, unit: float = 0.01, order: str = "ZXY", fps: float = 120.0
) -> str:
    """A BVH with SMPL's joint names; offsets in `unit` metres."""
    rest = body.to(torch.float64).shape(parameters.betas).joints.numpy() / unit
    lines: list[str] = ["HIERARCHY"]
    sequence: list[int] = []

    def add(joint: int, depth: int) -> None:
        pad = "\t" * depth
        offset = rest[joint] - rest[JOINT_PARENTS[joint]] if joint else np.zeros(3)
        turns = " ".join(f"{axis}rotation" for axis in order)
        channels = f"6 Xposition Yposition Zposition {turns}" if joint == 0 else f"3 {turns}"
        lines.extend([f"{pad}{'JOINT' if joint else 'ROOT'} {JOINT_NAMES[joint]}", f"{pad}{{"])
        lines.extend([f"{pad}\tOFFSET {' '.join(f'{x:.6f}' for x in offset)}", f"{pad}\tCHANNELS {channels}"])
        sequence.append(joint)
        children = [child for child, parent in enumerate(JOINT_PARENTS) if parent == joint]
        for child in children:
            add(child, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET 0 1 0", f"{pad}\t}}"])
        lines.append(f"{pad}}}")

    add(0, 0)
    frames = len(parameters.p_world_root)
    R = Rotation.from_matrix(parameters.R_parent_joint.numpy().reshape(-1, 3, 3))
    angles = R.as_euler(order, degrees=True).reshape(frames, 24, 3)[:, sequence].reshape(frames, -1)
    table = np.concatenate([parameters.p_world_root.numpy() / unit, angles], axis=1)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.7f}"]
    return "\n".join(lines + [" ".join(f"{x:.6f}" for x in row) for row in table]) + "\n"


def asf_amc_text(parameters: BodyParameters, body: Body, length: float = 0.45) -> tuple[str, str]:
    """An Acclaim skeleton and motion. Each joint is a bone without length that turns, about axes of its own; fixed
    bones join them."""
    unit = 0.0254 / length
    rest = body.to(torch.float64).shape(parameters.betas).joints.numpy() / unit
    R = parameters.R_parent_joint.numpy()
    axes = np.random.default_rng(1).uniform(-90, 90, (24, 3))
    asf = [":version 1.10", ":units", " mass 1", f" length {length}", " angle deg", ":root"]
    asf += [" order TX TY TZ RX RY RZ", " axis XYZ", " position 0 0 0", " orientation 0 0 0", ":bonedata"]
    hierarchy = []
    turn = {0: "root"} | {joint: JOINT_NAMES[joint] for joint in range(1, 24)}
    for joint in range(1, 24):
        offset = rest[joint] - rest[JOINT_PARENTS[joint]]
        size = np.linalg.norm(offset)
        direction = " ".join(f"{x:.9f}" for x in offset / size)
        asf += ["begin", f"name to_{turn[joint]}", f"direction {direction}", f"length {size:.7f}"]
        asf += ["axis 0 0 0 XYZ", "end", "begin", f"name {turn[joint]}", "direction 0 1 0", "length 0"]
        axis = " ".join(f"{x:.9f}" for x in axes[joint])
        asf += [f"axis {axis} XYZ", "dof rx ry rz", "end"]
        hierarchy += [f"{turn[JOINT_PARENTS[joint]]} to_{turn[joint]}", f"to_{turn[joint]} {turn[joint]}"]
    asf += [":hierarchy", "begin", *hierarchy, "end"]
    C = Rotation.from_euler("xyz", axes, degrees=True).as_matrix()
    C[0] = np.eye(3)
    angles = Rotation.from_matrix((C.transpose(0, 2, 1) @ R @ C).reshape(-1, 3, 3)).as_euler(
        "xyz", degrees=True
    )
    angles = angles.reshape(len(R), 24, 3)
    amc = [":FULLY-SPECIFIED", ":DEGREES"]
    for frame, root in enumerate(parameters.p_world_root.numpy() / unit):
        amc.append(str(frame + 1))
        for joint in range(24):
            values = [*root, *angles[frame, 0]] if joint == 0 else angles[frame, joint]
            amc.append(" ".join([turn[joint], *(f"{x:.7g}" for x in values)]))
    return "\n".join(asf) + "\n", "\n".join(amc) + "\n"


def smpl_translation(parameters: BodyParameters, body: Body) -> np.ndarray:
    """SMPL's `transl`: where the pelvis is, from where the model's file has it."""
    pelvis = body.to(torch.float64).shape(parameters.betas).joints[0]
    return (parameters.p_world_root - pelvis).numpy()


def write_surreal(path: Path, fields: dict[str, np.ndarray]) -> Path:
    """As SURREAL's `*_info.mat` comes."""
    scipy.io.savemat(path, fields, do_compression=True)
    return path


def amass_arrays(written: BodyParameters, body: Body) -> dict[str, np.ndarray]:
    """As AMASS has it: SMPL-H's 52 joints, z up."""
    poses = np.zeros((len(written.p_world_root), 156))
    R = written.R_parent_joint.clone()
    R[:, 0] = torch.from_numpy(R_ZUP_YUP) @ R[:, 0]
    poses[:, :66] = roma.rotmat_to_rotvec(R).flatten(1)[:, :66]
    pelvis = (written.p_world_root.numpy() - smpl_translation(written, body))[0]
    trans = written.p_world_root.numpy() @ R_ZUP_YUP.T - pelvis
    betas = np.pad(written.betas.numpy(), (0, 6))
    return {
        "poses": poses,
        "trans": trans,
        "betas": betas,
        "gender": np.array("male"),
        "mocap_framerate": 120.0,
    }


def straight_hands(motion: BodyParameters) -> BodyParameters:
    """The motion without the hands' rotations, which SMPL-H and SMPL-X do not have."""
    R = motion.R_parent_joint.clone()
    R[:, 22:] = torch.eye(3, dtype=R.dtype)
    return replace(motion, R_parent_joint=R)


def threedpw_data(people: list[BodyParameters], body: Body) -> dict[str, object]:
    """As 3DPW has them."""
    frames = len(people[0].p_world_root)
    extrinsics = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
    extrinsics[:, 2, 3] = np.linspace(4, 5, frames)
    return {
        "sequence": "courtyard",
        "poses": [roma.rotmat_to_rotvec(p.R_parent_joint).flatten(1).numpy() for p in people],
        "trans": [smpl_translation(p, body) for p in people],
        "betas": [p.betas.numpy() for p in people],
        "genders": ["m", "f"][: len(people)],
        "cam_poses": extrinsics,
        "cam_intrinsics": np.array([[1900.0, 0, 540], [0, 1910, 960], [0, 0, 1]]),
        "campose_valid": [np.arange(frames) > 1 for _ in people],
    }


class Evil:
    """A pickled object that runs code."""

    def __reduce__(self):
        return (print, ("run",))


def by_name(motion: SkeletonMotion, names: Sequence[str]) -> torch.Tensor:
    """(time, names, 3) m."""
    return motion.world()[1][:, [motion.joint_names.index(name) for name in names]]
