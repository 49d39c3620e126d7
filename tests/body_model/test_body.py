from dataclasses import replace
from pathlib import Path

import pytest
import roma
import smplx
import torch
from torch.autograd import gradcheck

from selfmocap.body_model.body import Body, BodyParameters, KeypointRegressor
from selfmocap.body_model.model_files import read_body
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.body_model.skeleton import JOINT, JOINT_MIRROR, KEYPOINT_SETS
from tests.conftest import random_parameters
from tests.helpers.smpl_files import smpl_arrays, write_smpl_npz

BATCHES = [(), (1,), (3, 2)]


def test_equals_smplx_in_vertices_joints_and_gradients(smpl_path: Path) -> None:
    ours = Body.load(smpl_path)
    theirs = smplx.SMPL(str(smpl_path), batch_size=4)
    betas, place = torch.randn(4, 10), torch.randn(4, 3)
    rotvec = (torch.randn(4, 24, 3) * 0.5).requires_grad_()
    betas.requires_grad_()
    pull = torch.randn(4, 6890, 3)

    expected = theirs(
        betas=betas, global_orient=rotvec[:, 0], body_pose=rotvec[:, 1:].flatten(1), transl=place
    )
    expected_gradients = torch.autograd.grad((expected.vertices * pull).sum(), [rotvec, betas])
    root = ours.shape(betas).joints[:, 0] + place
    found = ours.pose(BodyParameters(betas, roma.rotvec_to_rotmat(rotvec), root))
    gradients = torch.autograd.grad((found.vertices * pull).sum(), [rotvec, betas])

    assert (found.vertices - expected.vertices).abs().max() < 1e-5
    assert (found.joints - expected.joints[:, :24]).abs().max() < 1e-5
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert (gradient - expected_gradient).norm() < 1e-4 * expected_gradient.norm()


@pytest.mark.parametrize(("joints", "head_and_hands"), [(52, (22, 37)), (55, (25, 40))])
def test_smplh_and_smplx_files_are_reduced_to_24_joints(
    tmp_path: Path, joints: int, head_and_hands: tuple
) -> None:
    path = write_smpl_npz(tmp_path / "body.npz", vertices=400, joints=joints, betas=16)
    full, data = smpl_arrays(vertices=400, joints=joints, betas=16), read_body(path)
    left, right = head_and_hands
    assert torch.allclose(torch.from_numpy(data.weights.sum(1)), torch.ones(400))
    for hand, start in (("left_hand", left), ("right_hand", right)):
        assert data.weights[:, JOINT[hand]] == pytest.approx(
            full["weights"][:, start : start + 15].sum(1), abs=1e-6
        )
        knuckles = full["J_regressor"][[start, start + 3, start + 6, start + 9]].mean(0) @ full["v_template"]
        assert data.J_template[JOINT[hand]] == pytest.approx(knuckles, abs=1e-5)
    head = [15, *range(22, left)]
    assert data.weights[:, JOINT["head"]] == pytest.approx(full["weights"][:, head].sum(1), abs=1e-6)
    Body.load(path).pose(random_parameters(Body.load(path), 2))


def test_the_error_for_a_foreign_file_names_the_missing_keys(tmp_path: Path) -> None:
    import numpy as np

    arrays = smpl_arrays(vertices=50)
    del arrays["posedirs"]
    np.savez(tmp_path / "no.npz", **arrays)
    with pytest.raises(ValueError, match="lacks posedirs"):
        Body.load(tmp_path / "no.npz")
    arrays = smpl_arrays(vertices=50) | {"weights": np.ones((49, 24))}
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ValueError, match=r"weights has shape \(49, 24\), expected \(50, 24\)"):
        Body.load(tmp_path / "odd.npz")
    np.savez(tmp_path / "text.npz", **smpl_arrays(vertices=50) | {"v_template": np.array("text")})
    with pytest.raises(ValueError, match="text.npz: expected numbers in v_template"):
        Body.load(tmp_path / "text.npz")
    arrays = smpl_arrays(vertices=50)
    arrays["kintree_table"][0, 5] = 0
    np.savez(tmp_path / "tree.npz", **arrays)
    with pytest.raises(ValueError, match="SMPL's order"):
        Body.load(tmp_path / "tree.npz")
    (tmp_path / "body.txt").write_text("hello")
    with pytest.raises(ValueError, match="as .npz or .pkl, found .txt"):
        Body.load(tmp_path / "body.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Body.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("batch", BATCHES)
def test_any_batch_shape(body: Body, batch: tuple[int, ...]) -> None:
    parameters = random_parameters(body, *batch)
    posed = body.pose(parameters)
    keypoints = body.keypoints(posed.vertices, "coco-23")
    one_by_one = [
        body.keypoints(body.pose(BodyParameters(*each)).vertices, "coco-23")
        for each in zip(
            parameters.betas.reshape(-1, body.num_betas),
            parameters.R_parent_joint.reshape(-1, 24, 3, 3),
            parameters.p_world_root.reshape(-1, 3),
            strict=True,
        )
    ]
    assert keypoints.shape == (*batch, 23, 3)
    assert torch.allclose(keypoints.reshape(-1, 23, 3), torch.stack(one_by_one), atol=1e-5)


def test_one_shape_serves_a_clip(body: Body) -> None:
    parameters = random_parameters(body, 3)
    shared = BodyParameters(parameters.betas[0], parameters.R_parent_joint, parameters.p_world_root)
    repeated = BodyParameters(
        parameters.betas[:1].expand(3, -1), parameters.R_parent_joint, parameters.p_world_root
    )
    assert torch.allclose(body.pose(shared).vertices, body.pose(repeated).vertices, atol=1e-6)


def test_rest_pose_is_the_template_with_its_pelvis_at_the_root(body: Body) -> None:
    shaped = body.shape(torch.zeros(body.num_betas))
    posed = body.pose(body.rest_parameters())
    assert torch.allclose(posed.vertices, shaped.rest.mT - shaped.joints[0], atol=1e-6)
    assert torch.equal(posed.joints[0], torch.zeros(3))


def test_turning_the_root_turns_the_whole_body_about_the_pelvis(body: Body) -> None:
    parameters = random_parameters(body)
    turn = roma.random_rotmat()
    turned = BodyParameters(
        parameters.betas,
        torch.cat([turn @ parameters.R_parent_joint[:1], parameters.R_parent_joint[1:]]),
        parameters.p_world_root,
    )
    about_root = body.pose(parameters).vertices - parameters.p_world_root
    assert torch.allclose(
        body.pose(turned).vertices, about_root @ turn.mT + parameters.p_world_root, atol=1e-5
    )


def test_gradients_are_exact(small_body: Body) -> None:
    parameters = random_parameters(small_body, 2)
    inputs = [value.clone().requires_grad_() for value in vars(parameters).values()]

    def keypoints(*values: torch.Tensor) -> torch.Tensor:
        posed = small_body.pose(BodyParameters(*values))
        return torch.cat([small_body.keypoints(posed.vertices, "lsp-14"), posed.joints], dim=-2)

    assert gradcheck(keypoints, inputs)


def test_gradient_is_alive_at_the_identity_pose(body: Body) -> None:
    rest = body.rest_parameters(2)
    rotvec = torch.zeros(2, 24, 3, requires_grad=True)
    betas, root = rest.betas.requires_grad_(), rest.p_world_root.requires_grad_()
    posed = body.pose(BodyParameters(betas, roma.rotvec_to_rotmat(rotvec), root))
    gradients = torch.autograd.grad(
        (posed.vertices * torch.randn_like(posed.vertices)).sum(), [rotvec, betas, root]
    )
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert (gradient.abs().sum(-1) > 0).all()


def test_default_body_is_its_own_mirror_image(body: Body) -> None:
    """A mirrored pose gives the mirrored body: template, shapes, weights and pose blendshapes are symmetric."""
    assert body.mirror is not None
    assert torch.equal(body.mirror[body.mirror], torch.arange(len(body.mirror)))
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    parameters = random_parameters(body)
    mirrored = BodyParameters(
        parameters.betas,
        flip @ parameters.R_parent_joint[list(JOINT_MIRROR)] @ flip,
        parameters.p_world_root @ flip,
    )
    expected = body.pose(parameters).vertices[body.mirror] @ flip
    assert torch.allclose(body.pose(mirrored).vertices, expected, atol=2e-6)
    template = body.v_template.view(3, -1)
    assert torch.equal(template[:, body.mirror], flip @ template)


def test_default_body_is_closed_and_of_human_size(body: Body) -> None:
    import trimesh

    vertices = body.pose(body.rest_parameters()).vertices
    for points, faces in (
        (vertices, body.faces),
        (vertices[body.proxy_vertices], body.proxy_faces),
    ):
        mesh = trimesh.Trimesh(points.numpy(), faces.numpy(), process=False)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.euler_number == 2
        assert 0.055 < mesh.volume < 0.085
    assert len(body.vertex_joint) not in (6890, 10475)
    assert 1.6 < float(vertices[:, 1].max() - vertices[:, 1].min()) < 1.8


@pytest.mark.parametrize("name", NAMED_POSES)
def test_joint_regressors_follow_forward_kinematics(body: Body, name: str) -> None:
    posed = body.pose(BodyParameters(torch.zeros(3), named_pose(name), torch.zeros(3)))
    error = (body.keypoints(posed.vertices, "smpl-24") - posed.joints).norm(dim=-1)
    assert error.mean() < 0.008
    assert error.max() < 0.035


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_every_keypoint_set_has_rows_that_sum_to_one(body: Body, name: str) -> None:
    weights = body.regressors[name].weights
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)


def test_a_body_with_some_vertices_poses_them_equally(body: Body) -> None:
    used = body.regressors["coco-23"].vertices
    small, parameters = body.with_vertices(used), random_parameters(body, 2)
    whole = body.pose(parameters).vertices
    assert torch.allclose(small.pose(parameters).vertices, whole[:, used], atol=1e-6)
    assert torch.allclose(
        small.keypoints(small.pose(parameters).vertices, "coco-23"),
        body.keypoints(whole, "coco-23"),
        atol=1e-6,
    )
    assert "mediapipe-33" not in small.regressors


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_a_keypoint_proxy_has_equal_keypoints_and_gradients(body: Body, name: str) -> None:
    small, parameters = body.keypoint_proxy(name), random_parameters(body, 2)
    found = []
    for one in (body, small):
        pose, betas = (x.clone().requires_grad_() for x in (parameters.R_parent_joint, parameters.betas))
        posed = one.pose(BodyParameters(betas, pose, parameters.p_world_root))
        keypoints = one.keypoints(posed.vertices, name)
        found.append((keypoints, *torch.autograd.grad(keypoints.square().sum(), (pose, betas))))
    for whole, condensed in zip(*found, strict=True):
        assert torch.allclose(whole, condensed, atol=1e-5, rtol=1e-4)
    assert 2 * len(small.vertex_joint) < len(body.regressors[name].vertices)
    assert set(small.regressors) == {name}


def test_keypoint_weights_that_cancel_are_kept_by_the_proxy(body: Body) -> None:
    """The difference of two vertices of one joint: their weights sum to zero, the keypoint is not zero."""
    far, near = (body.weights[JOINT["head"]] > 0.999).nonzero().squeeze(1)[[0, -1]].tolist()
    regressor = KeypointRegressor(torch.tensor([far, near]), torch.tensor([[1.0, -1.0]]))
    odd, parameters = replace(body, regressors={"coco-23": regressor}), random_parameters(body, 2)
    expected = odd.keypoints(odd.pose(parameters).vertices, "coco-23")
    small = odd.keypoint_proxy("coco-23")
    assert expected.norm() > 0.01
    assert torch.allclose(small.keypoints(small.pose(parameters).vertices, "coco-23"), expected, atol=1e-5)


def test_no_betas_are_the_mean_shape(body: Body) -> None:
    assert torch.equal(body.shape(torch.zeros(2, 0)).rest, body.shape(torch.zeros(2, 16)).rest)


def test_too_many_betas_and_unknown_keypoints_are_named(body: Body, small_body: Body) -> None:
    with pytest.raises(ValueError, match="17 shape coefficients given, selfmocap-default-1 has 16"):
        body.shape(torch.zeros(17))
    vertices = small_body.pose(small_body.rest_parameters()).vertices
    with pytest.raises(ValueError, match="lacks some landmarks"):
        small_body.keypoints(vertices, "coco-23")
    with pytest.raises(ValueError, match="no such set"):
        small_body.keypoints(vertices, "coco-99")
