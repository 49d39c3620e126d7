"""3DPW's files: `sequenceFiles/test/NAME.pkl` and `imageFiles/NAME/image_00000.jpg`. People have the mean shape of the
default body, whose pelvis is put where SMPL's is; keypoints are true ones, with score 1 where visible."""

import pickle
from pathlib import Path

import numpy as np
import roma
import torch

from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS
from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.three_dpw import OPENPOSE_18, THREE_DPW_FPS
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import true_keypoints, true_motion, true_pixels
from selfmocap.synthetic.layouts.material import LayoutMaterial, write_pictures

_CAMERAS = CameraConfig(size=(640, 360))
_BODY_25 = KEYPOINT_SETS["body-25"]
_BETAS = 10


def three_dpw_paths(index: int) -> tuple[str, ...]:
    """Return the paths of a clip's files, in the order in which they appear."""
    name = f"clip_{index:05d}"
    return f"imageFiles/{name}", f"sequenceFiles/test/{name}.pkl"


def write_three_dpw(material: LayoutMaterial, index: int, out: Path) -> None:
    """Write the files of a clip below `out`."""
    images, sequence = (out / path for path in three_dpw_paths(index))
    clip = material.clip(index, _CAMERAS, THREE_DPW_FPS, 0)
    motion = true_motion(clip, material.body, f"{material.seed}/{index}")
    keypoints = true_keypoints(clip, material.body, true_pixels(clip, material.body)["depth"])
    points = np.concatenate(
        [keypoints[_BODY_25.name], keypoints[f"{_BODY_25.name} visible"][..., None]], axis=-1
    )
    parameters, camera, frames = motion.parameters, motion.camera, len(motion)
    extrinsics = torch.eye(4).repeat(frames, 1, 1)
    extrinsics[:, :3, :3], extrinsics[:, :3, 3] = camera.R_cam_world, camera.t_cam_world
    K = torch.diag(torch.cat([camera.focal, torch.ones(1)]))
    K[:2, 2] = camera.center
    data = {
        "sequence": sequence.stem,
        "poses": [roma.rotmat_to_rotvec(parameters.R_parent_joint.double()).flatten(1).numpy()],
        "trans": [(parameters.p_world_root.double() - torch.tensor(SMPL_MEAN_PELVIS).double()).numpy()],
        "betas": [np.zeros(_BETAS)],
        "genders": ["f"],
        "cam_poses": extrinsics.double().numpy(),
        "cam_intrinsics": K.double().numpy(),
        "campose_valid": [np.ones(frames, np.int64)],
        "img_frame_ids": np.arange(frames),
        "jointPositions": [camera.to_world(motion.joints_cam).flatten(1).double().numpy()],
        "poses2d": [points[:, [_BODY_25.index(name) for name in OPENPOSE_18]].swapaxes(1, 2)],
    }
    write_pictures(images, clip.images, "image_{:05d}.jpg", first=0)
    sequence.parent.mkdir(parents=True)
    sequence.write_bytes(pickle.dumps(data, protocol=2))
