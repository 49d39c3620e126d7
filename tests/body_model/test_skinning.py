from collections.abc import Callable

import pytest
import roma
import torch
from torch import Tensor
from torch.autograd import gradcheck

from selfmocap.body_model import skinning
from selfmocap.body_model.skinning import (
    forward_kinematics,
    forward_kinematics_by_joint,
    linear_blend_skinning,
    linear_blend_skinning_by_axis,
)


def _chains(*batch: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Return rotations, rest joints and root positions."""
    R = roma.rotvec_to_rotmat(torch.randn(*batch, 24, 3, dtype=dtype))
    return R, torch.randn(*batch, 24, 3, dtype=dtype), torch.randn(*batch, 3, dtype=dtype)


def _skins(
    batch: int, vertices: int, joints_a_vertex: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Return transforms, weights and rest vertices; each joint moves a run of vertices, as in a body's mesh."""
    distance = (torch.arange(24)[:, None] - torch.arange(vertices) * 24 // max(vertices, 1)).abs()
    weights = torch.rand(24, vertices, dtype=dtype) * (distance < joints_a_vertex)
    transforms, rest = torch.randn(batch, 24, 12, dtype=dtype), torch.randn(batch, 3, vertices, dtype=dtype)
    return transforms, weights / weights.sum(0), rest


def _gradients(function: Callable, inputs: tuple[Tensor, ...], pulls: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    found = function(*leaves)
    outputs = found if isinstance(found, tuple) else (found,)
    return list(torch.autograd.grad(outputs, leaves, pulls))


@pytest.mark.parametrize("batch", [(), (1,), (3, 2), (300,)])
def test_the_chain_equals_its_twin_with_gradients(batch: tuple[int, ...]) -> None:
    inputs = _chains(*batch)
    expected = forward_kinematics_by_joint(*inputs)
    torch.testing.assert_close(forward_kinematics(*inputs), expected)
    pulls = torch.randn_like(expected[0]), torch.randn_like(expected[1])
    torch.testing.assert_close(
        _gradients(forward_kinematics, inputs, pulls),
        _gradients(forward_kinematics_by_joint, inputs, pulls),
    )


def test_one_body_is_broadcast_over_poses_and_sums_their_gradients() -> None:
    (R, _, p), (_, joints, _) = _chains(5), _chains()
    pulls = torch.randn_like(R), torch.randn(5, 24, 3, dtype=R.dtype)
    found, expected = (
        _gradients(f, (R, joints, p), pulls) for f in (forward_kinematics, forward_kinematics_by_joint)
    )
    assert found[1].shape == (24, 3)
    torch.testing.assert_close(found, expected)


def test_gradients_of_joint_positions_alone() -> None:
    R, joints, p = _chains(2)
    place = joints.clone().requires_grad_()
    forward_kinematics(R, place, p)[1].sum().backward()
    expected = joints.clone().requires_grad_()
    forward_kinematics_by_joint(R, expected, p)[1].sum().backward()
    torch.testing.assert_close(place.grad, expected.grad)


@pytest.mark.parametrize("joints_a_vertex", [1, 3, 24])
@pytest.mark.parametrize(("batch", "vertices"), [(1, 1), (2, 255), (3, 256), (40, 1000), (0, 7), (2, 0)])
def test_skinning_equals_its_twin_with_gradients(batch: int, vertices: int, joints_a_vertex: int) -> None:
    transforms, weights, rest = _skins(batch, vertices, joints_a_vertex)
    torch.testing.assert_close(
        linear_blend_skinning(transforms, weights, rest),
        linear_blend_skinning_by_axis(transforms, weights, rest),
    )
    by_axis = torch.randn_like(rest)
    for pull in (by_axis, by_axis.mT.contiguous().mT, torch.ones(1, 1, 1, dtype=rest.dtype).expand_as(rest)):
        torch.testing.assert_close(
            _gradients(lambda m, r: linear_blend_skinning(m, weights, r), (transforms, rest), (pull,)),
            _gradients(
                lambda m, r: linear_blend_skinning_by_axis(m, weights, r), (transforms, rest), (pull,)
            ),
        )


def test_gradients_are_exact() -> None:
    assert gradcheck(forward_kinematics, [x.requires_grad_() for x in _chains(2)])
    transforms, weights, rest = _skins(2, 9, 3)
    assert gradcheck(
        lambda m, r: linear_blend_skinning(m, weights, r),
        [transforms.requires_grad_(), rest.requires_grad_()],
    )


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skinning, "_MIN_CHAINS", 1)
    monkeypatch.setattr(skinning, "_MIN_VERTICES", 1)
    transforms, weights, rest = _skins(40, 600, 3, torch.float32)
    chains = _chains(40, dtype=torch.float32)
    pulls = torch.randn(40, 24, 3, 3), torch.randn(40, 24, 3)

    def everything() -> list[Tensor]:
        return [
            linear_blend_skinning(transforms, weights, rest),
            *_gradients(lambda m, r: linear_blend_skinning(m, weights, r), (transforms, rest), (rest,)),
            *forward_kinematics(*chains),
            *_gradients(forward_kinematics, chains, pulls),
        ]

    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(everything())
    finally:
        torch.set_num_threads(before)
    assert all(
        torch.equal(one, other) for others in found[1:] for one, other in zip(found[0], others, strict=True)
    )


def test_a_second_derivative_is_refused() -> None:
    transforms, weights, rest = _skins(1, 5, 3)
    transforms.requires_grad_()
    (gradient,) = torch.autograd.grad(
        linear_blend_skinning(transforms, weights, rest).square().sum(), transforms, create_graph=True
    )
    with pytest.raises(RuntimeError, match="at most first derivatives"):
        gradient.sum().backward()


def test_operators_pass_opcheck() -> None:
    transforms, weights, rest = _skins(2, 6, 3)
    R, joints, p = _chains(2)
    torch.library.opcheck(
        torch.ops.selfmocap.skin, (transforms.requires_grad_(), weights, rest.requires_grad_())
    )
    torch.library.opcheck(torch.ops.selfmocap.chain, tuple(x.requires_grad_() for x in (R, joints, p)))
