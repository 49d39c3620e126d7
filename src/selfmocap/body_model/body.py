"""SMPL's equation (Loper et al. 2015; Tung et al. 2017, Eq. 1, with the skinning that the paper leaves out).

The stages are `BodyData` (arrays of a file), `Body` (the model), `ShapedBody` (betas applied) and `PosedBody`
(rotations applied). Internally, coordinates are stored with one row per axis (3, V), which is twice as fast as (V, 3)
on a CPU.
"""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.model_files import BodyData, read_body
from selfmocap.body_model.skeleton import JOINT_NAMES, KEYPOINT_SETS, keypoint_set
from selfmocap.body_model.skinning import forward_kinematics, linear_blend_skinning


@dataclass(frozen=True, eq=False)
class BodyParameters:
    """Shape and pose of a body. Leading axes broadcast: one `betas` serves a whole clip."""

    betas: Float[Tensor, "*#batch betas"]
    """Shape coefficients of the body; missing trailing coefficients are zero."""
    R_parent_joint: Float[Tensor, "*#batch joints 3 3"]
    """Rotation of each of the 24 joints (with fingers 54) in the frame of its parent; the parent of the root is the
    world."""
    p_world_root: Float[Tensor, "*#batch 3"]
    """Position of the pelvis joint, metres."""

    def __getitem__(self, frames: Any) -> "BodyParameters":
        """Return the parameters of some frames (the first axis); `betas` without a frame axis stay."""
        betas = self.betas if self.betas.ndim == 1 else self.betas[frames]
        return BodyParameters(betas, self.R_parent_joint[frames], self.p_world_root[frames])

    def to(self, *args: Any) -> "BodyParameters":
        """Return the parameters on another device or in another floating type."""
        return BodyParameters(*(getattr(self, field.name).to(*args) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class KeypointRegressor:
    """Keypoints as weighted sums of a few vertices (Tung et al. 2017, Eq. 2)."""

    vertices: Int[Tensor, " used"]
    weights: Float[Tensor, "keypoints used"]


@dataclass(frozen=True, eq=False)
class Body:
    """A body model in SMPL's form; `load` reads one."""

    identity: str
    """Name of the body and SHA-256 of its file."""
    faces: Int[Tensor, "faces 3"]
    """Counter-clockwise from outside."""
    vertex_joint: Int[Tensor, " vertices"]
    """The joint with the largest skinning weight of each vertex."""
    v_template: Float[Tensor, " 3*vertices"]
    J_template: Float[Tensor, "joints 3"]
    J_shapedirs: Float[Tensor, "betas 3*joints"]
    weights: Float[Tensor, "joints vertices"]
    posedirs_coefficients: Float[Tensor, "207 rank"]
    blendshapes: Float[Tensor, "betas+rank 3*vertices"]
    """Shape blendshapes, one per beta, then pose blendshapes; one product applies both."""
    regressors: dict[str, KeypointRegressor]
    """By keypoint set; a set is absent if this body lacks one of its landmarks."""
    mirror: Int[Tensor, " vertices"] | None
    """Index of the mirror image of each vertex; None if it is unknown."""
    proxy_vertices: Int[Tensor, " proxy"] | None
    """Vertices of a coarser closed mesh."""
    proxy_faces: Int[Tensor, "proxy_faces 3"] | None
    """Its triangles, as indices into proxy_vertices."""

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Body":
        """Read the embedded default body, or a user's SMPL, SMPL-H or SMPL-X model (`.npz`, `.pkl`).

        A user's model is reduced to SMPL's 24 joints. Code in a pickle is never run. Raises FileNotFoundError, or
        ValueError that names the problem."""
        return cls.from_data(read_body(path))

    @classmethod
    def from_data(cls, data: BodyData) -> "Body":
        """Build the model from the arrays of a file."""

        def by_axis(array: np.ndarray) -> Tensor:
            """Convert (..., V, 3) to (..., 3 V), axis by axis."""
            return torch.from_numpy(np.ascontiguousarray(np.swapaxes(array, -1, -2))).flatten(-2)

        def indices(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array.astype(np.int64))

        # Matrix products are faster if the inner size is a multiple of 16: zeros pad the pose blendshapes.
        fill = -(data.shapedirs.shape[2] + len(data.posedirs_basis)) % 16
        coefficients = np.pad(data.posedirs_coefficients, ((0, 0), (0, fill)))
        basis = np.pad(data.posedirs_basis, ((0, fill), (0, 0), (0, 0)))
        return cls(
            identity=f"{data.name} sha256:{data.sha256}",
            faces=torch.from_numpy(data.faces.astype(np.int64)),
            vertex_joint=torch.from_numpy(data.part.astype(np.int64)),
            v_template=by_axis(data.v_template),
            J_template=torch.from_numpy(data.J_template),
            J_shapedirs=torch.from_numpy(np.ascontiguousarray(np.moveaxis(data.J_shapedirs, 2, 0))).flatten(
                1
            ),
            weights=torch.from_numpy(np.ascontiguousarray(data.weights.T)),
            posedirs_coefficients=torch.from_numpy(coefficients),
            blendshapes=torch.cat([by_axis(np.moveaxis(data.shapedirs, 2, 0)), by_axis(basis)]),
            regressors=_regressors(data),
            mirror=indices(data.mirror),
            proxy_vertices=indices(data.proxy_vertices),
            proxy_faces=indices(data.proxy_faces),
        )

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return len(self.J_shapedirs)

    def to(self, target: torch.device | torch.dtype | str) -> "Body":
        """Return the model on another device, or in another floating type."""

        def move(tensor: Tensor) -> Tensor:
            floating = not isinstance(target, torch.dtype) or tensor.is_floating_point()
            return tensor.to(target) if floating else tensor

        moved = {f.name: move(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        regressors = {
            name: KeypointRegressor(move(regressor.vertices), move(regressor.weights))
            for name, regressor in self.regressors.items()
        }
        return replace(self, regressors=regressors, **moved)

    def rest_parameters(self, *batch: int) -> BodyParameters:
        """Return the mean shape in the rest pose at the origin, with the type and on the device of the body."""
        like = self.v_template
        return BodyParameters(
            betas=like.new_zeros(*batch, self.num_betas),
            R_parent_joint=torch.eye(3, dtype=like.dtype, device=like.device)
            .expand(*batch, len(self.J_template), 3, 3)
            .clone(),
            p_world_root=like.new_zeros(*batch, 3),
        )

    def shape(self, betas: Float[Tensor, "*batch betas"]) -> "ShapedBody":
        """Apply shape coefficients. Raises ValueError for more coefficients than the body has."""
        count = betas.shape[-1]
        if count > self.num_betas:
            raise ValueError(
                f"{count} shape coefficients given, {self.identity.split()[0]} has {self.num_betas}; give fewer"
            )
        padded = torch.cat([betas, betas.new_zeros(*betas.shape[:-1], self.num_betas - count)], dim=-1)
        joints = self.J_template + (padded @ self.J_shapedirs).unflatten(-1, (-1, 3))
        return ShapedBody(self, padded, joints)

    def pose(self, parameters: BodyParameters) -> "PosedBody":
        """Apply shape and pose."""
        return self.shape(parameters.betas).pose(parameters.R_parent_joint, parameters.p_world_root)

    def keypoints(
        self, vertices: Float[Tensor, "*batch vertices 3"], name: str
    ) -> Float[Tensor, "*batch keypoints 3"]:
        """Compute the keypoints of the set `name` (see `skeleton.KEYPOINT_SETS`) from posed vertices, metres.

        Tung et al. 2017, Eq. 2. Raises ValueError if the body has no regressor for the set."""
        if name not in self.regressors:
            lacks = "lacks some landmarks of it" if name in KEYPOINT_SETS else "and there is no such set"
            raise ValueError(f"no regressor for {name!r}: {self.identity.split()[0]} {lacks}")
        regressor = self.regressors[name]
        return regressor.weights @ vertices[..., regressor.vertices, :]

    def with_vertices(self, vertices: Int[Tensor, " kept"]) -> "Body":
        """Return the body with some of its vertices and without faces; posing it costs a fraction.

        Keypoint sets that need other vertices are dropped."""
        count = len(self.vertex_joint)
        columns = (torch.arange(3, device=vertices.device)[:, None] * count + vertices).flatten()
        index_of = torch.full((count,), -1, device=vertices.device)
        index_of[vertices] = torch.arange(len(vertices), device=vertices.device)
        return replace(
            self,
            faces=self.faces[:0],
            vertex_joint=self.vertex_joint[vertices],
            v_template=self.v_template[columns],
            weights=self.weights[:, vertices],
            blendshapes=self.blendshapes[:, columns],
            regressors={
                name: replace(regressor, vertices=index_of[regressor.vertices])
                for name, regressor in self.regressors.items()
                if (index_of[regressor.vertices] >= 0).all()
            },
            mirror=None,
            proxy_vertices=None,
            proxy_faces=None,
        )

    def keypoint_proxy(self, name: str) -> "Body":
        """Return a body with the same keypoints of the set `name` and few vertices.

        For each keypoint and joint, the vertices that the joint moves are replaced by one at their weighted mean. The
        keypoints are equal, since all is linear in vertices. Posing costs a fraction of that of a body with those
        vertices (`with_vertices`)."""
        used = self.regressors[name].vertices
        shares = self.regressors[name].weights.double()[:, None] * self.weights[:, used].double()
        signed = torch.stack([shares.clamp(min=0), shares.clamp(max=0)])  # A sum of both could vanish.
        masses = signed.sum(-1)
        sign, keypoint, joint = masses.nonzero(as_tuple=True)
        mass = masses[sign, keypoint, joint]
        means = (signed[sign, keypoint, joint] / mass[:, None]).T
        vertex = torch.arange(len(mass), device=mass.device)

        def mean(columns: Tensor) -> Tensor:
            by_axis = columns.double().unflatten(-1, (3, -1))[..., used] @ means
            return by_axis.flatten(-2).to(columns.dtype)

        weights = torch.zeros(len(shares), len(mass)).to(mass)
        weights[keypoint, vertex] = mass
        return replace(
            self.with_vertices(used[:0]),
            vertex_joint=joint,
            v_template=mean(self.v_template),
            weights=torch.eye(len(self.weights)).to(self.weights)[:, joint],
            blendshapes=mean(self.blendshapes),
            regressors={name: KeypointRegressor(vertex, weights.to(self.weights.dtype))},
        )


@dataclass(frozen=True, eq=False)
class ShapedBody:
    """A body of one shape in the rest pose, at the position that the file of the model gives it."""

    body: Body
    betas: Float[Tensor, "*batch betas"]
    joints: Float[Tensor, "*batch joints 3"]
    """Joints, metres."""

    @property
    def rest(self) -> Float[Tensor, "*batch 3 vertices"]:
        """Vertices in the rest pose, one row per axis, metres."""
        body = self.body
        return _add_blendshapes(body.v_template, self.betas, body.blendshapes[: body.num_betas]).unflatten(
            -1, (3, -1)
        )

    def pose(
        self, R_parent_joint: Float[Tensor, "*#batch joints 3 3"], p_world_root: Float[Tensor, "*#batch 3"]
    ) -> "PosedBody":
        """Apply a pose, with the pelvis joint at `p_world_root`."""
        body = self.body
        R_world_joint, p_world_joint = forward_kinematics(R_parent_joint, self.joints, p_world_root)
        feature = (R_parent_joint[..., 1 : len(JOINT_NAMES), :, :] - torch.eye(3).to(R_parent_joint)).flatten(
            -3
        )
        pose_offsets = feature @ body.posedirs_coefficients
        betas = self.betas.expand(*torch.broadcast_shapes(self.betas.shape[:-1], pose_offsets.shape[:-1]), -1)
        coefficients = torch.cat([betas, pose_offsets.expand(*betas.shape[:-1], -1)], dim=-1)
        rest = _add_blendshapes(body.v_template, coefficients, body.blendshapes).unflatten(-1, (3, -1))
        t = p_world_joint - (R_world_joint @ self.joints.unsqueeze(-1)).squeeze(-1)
        transforms = torch.cat([R_world_joint.mT, t.unsqueeze(-2)], dim=-2).flatten(-2)
        rest = rest.expand(*transforms.shape[:-2], -1, -1)
        vertices = linear_blend_skinning(
            transforms.reshape(-1, *transforms.shape[-2:]), body.weights, rest.reshape(-1, *rest.shape[-2:])
        )
        return PosedBody(vertices.view(rest.shape).mT, p_world_joint, R_world_joint)


def _add_blendshapes(
    start: Float[Tensor, " n"], coefficients: Float[Tensor, "*batch k"], basis: Float[Tensor, "k n"]
) -> Float[Tensor, "*batch n"]:
    """Compute start + coefficients @ basis in one pass over memory."""
    rows = coefficients.reshape(math.prod(coefficients.shape[:-1]), len(basis))
    return torch.addmm(start, rows, basis).view(*coefficients.shape[:-1], len(start))


@dataclass(frozen=True, eq=False)
class PosedBody:
    """A body in one pose."""

    vertices: Float[Tensor, "*batch vertices 3"]
    """World frame, metres."""
    joints: Float[Tensor, "*batch joints 3"]
    """World frame, metres: `p_world_joint`."""
    R_world_joint: Float[Tensor, "*batch joints 3 3"]


def _regressors(data: BodyData) -> dict[str, KeypointRegressor]:
    regressors = {}
    for name in KEYPOINT_SETS:
        landmarks = keypoint_set(name).landmarks
        if all(part in data.landmarks for parts in landmarks for part in parts):
            matrix = np.zeros((len(landmarks), len(data.v_template)), np.float32)
            for row, parts in zip(matrix, landmarks, strict=True):
                for part in parts:
                    vertices, weights = data.landmarks[part]
                    np.add.at(row, vertices, weights / len(parts))
            used = np.flatnonzero(matrix.any(0))
            regressors[name] = KeypointRegressor(
                torch.from_numpy(used), torch.from_numpy(matrix[:, used].copy())
            )
    return regressors
