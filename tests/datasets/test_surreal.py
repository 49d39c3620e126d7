from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import scipy.io
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.surreal import read_surreal, read_surreal_parts, to_surreal
from selfmocap.geometry.camera import Camera
from tests.helpers.recordings import joints, random_motion, write_surreal


def surreal_camera(frames: int) -> Camera:
    """Looks down at the person, rolled, moving."""
    R = roma.euler_to_rotmat("XZ", torch.tensor([0.3, 0.1])) @ torch.diag(torch.tensor([1.0, -1, -1]))
    t = torch.tensor([0.1, 0.3, 5.0]) + torch.linspace(0, 0.2, frames)[:, None]
    return Camera(torch.tensor([600.0, 600.0]), torch.tensor([159.5, 119.5]), R, t)


@pytest.mark.parametrize("frames", [1, 4])
def test_surreal_returns_joints_and_their_projections(tmp_path: Path, body: Body, frames: int) -> None:
    written = random_motion(frames).to(torch.float32)
    camera = surreal_camera(frames)
    truth = joints(written, body).float()
    fields = to_surreal(written, truth, camera, "male", distance=6.5)
    if frames == 1:
        fields = {key: np.squeeze(array) for key, array in fields.items()}
    clip = read_surreal(write_surreal(tmp_path / "01_01_c0001_info.mat", fields))
    assert (clip.name, clip.gender, len(clip)) == ("01_01_c0001", "male", frames)
    again = joints(clip.parameters, body).float()
    assert (again - clip.joints_world).norm(dim=-1).max() < 1e-3
    assert (clip.camera.to_camera(again) - camera.to_camera(truth)).norm(dim=-1).max() < 1e-3
    assert (clip.camera.project(again) - clip.joints_2d).abs().max() < 0.5
    assert (camera.project(truth) - clip.joints_2d).abs().max() < 0.01


def test_surreal_files_are_mirrored_and_y_down(body: Body) -> None:
    """A person who stands upright before the camera, facing it: in the file's own pixels, as everyone who reads
    SURREAL knows them, the left hand is on the left of the image, and the head has the smallest y."""
    facing = body.rest_parameters(1)
    facing = replace(
        facing, R_parent_joint=facing.R_parent_joint.clone(), p_world_root=torch.tensor([[0.0, 1, -5]])
    )
    camera = Camera.looking_along_z(600.0, 320, 240)
    fields = to_surreal(facing, joints(facing, body).float(), camera, "female", distance=7.0)
    left_hand, head, foot = (fields["joints2D"][:, k, 0] for k in (22, 15, 10))
    assert left_hand[0] < 160
    assert head[1] < foot[1]
    assert fields["joints3D"][1, 15, 0] < fields["joints3D"][1, 10, 0]
    assert fields["gender"][0, 0] == 0


def test_surreal_parts_are_flipped_as_images_are(tmp_path: Path) -> None:
    parts = np.zeros((240, 320), np.uint8)
    parts[100, 0] = 7
    scipy.io.savemat(tmp_path / "a_segm.mat", {"segm_1": parts, "segm_2": parts})
    read = read_surreal_parts(tmp_path / "a_segm.mat", 2)
    assert read.shape == (2, 240, 320) and read[1, 100, 319] == 7 and read.sum() == 14
    with pytest.raises(ValueError, match="segm_3"):
        read_surreal_parts(tmp_path / "a_segm.mat", 3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose", None, "lacks pose"),
        ("pose", np.zeros((71, 4)), "pose is float64 of shape"),
        ("joints3D", np.zeros((3, 24, 3)), "joints3D"),
        ("zrot", np.array([["a"]], dtype=object), "zrot"),
        ("shape", np.full((10, 4), np.inf), "shape"),
    ],
)
def test_a_malformed_surreal_file_names_the_key(
    tmp_path: Path, body: Body, key: str, value: np.ndarray | None, message: str
) -> None:
    written = random_motion(4).to(torch.float32)
    fields = to_surreal(written, joints(written, body).float(), surreal_camera(4), "male", 6.5) | {key: value}
    path = write_surreal(tmp_path / "bad_info.mat", {name: a for name, a in fields.items() if a is not None})
    with pytest.raises(ValueError, match=rf"bad_info\.mat.*{message}"):
        read_surreal(path)


def test_surreal_refuses_another_camera(body: Body) -> None:
    written = random_motion(2).to(torch.float32)
    camera = replace(surreal_camera(2), focal=torch.tensor([500.0, 600.0]))
    with pytest.raises(ValueError, match="500"):
        to_surreal(written, joints(written, body).float(), camera, "male", 6.0)
