"""SMPL's equation (Loper et al. 2015; Tung et al. 2017, Eq. 1, with the skinning that the paper leaves out).

The stages: `BodyData` (arrays of a file), `Body` (the model), `ShapedBody` (betas applied), `PosedBody` (rotations
applied). Inside, coordinates are kept as one row per axis (3, V): twice as fast as (V, 3) on a CPU.
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
from selfmocap.body_model.skeleton import KEYPOINT_SETS, keypoint_set
from selfmocap.body_model.skinning import forward_kinematics, skin


@dataclass(frozen=True, eq=False)
class BodyParameters:
    """What poses a body. Leading axes broadcast: one `betas` serves a whole clip."""

    betas: Float[Tensor, "*#batch betas"]
    """Shape coefficients of the body that the parameters belong to; fewer than it has mean zeros."""
    R_parent_joint: Float[Tensor, "*#batch 24 3 3"]
    """Rotation of each joint in its parent's frame; the root's parent is the world."""
    p_world_root: Float[Tensor, "*#batch 3"]
    """Where the pelvis joint is, metres."""

    def __getitem__(self, frames: Any) -> "BodyParameters":
        """The parameters of some frames (the first axis); one shape for all of them stays as it is."""
        betas = self.betas if self.betas.ndim == 1 else self.betas[frames]
        return BodyParameters(betas, self.R_parent_joint[frames], self.p_world_root[frames])

    def to(self, *args: Any) -> "BodyParameters":
        """The same parameters on another device or in another floating type."""
        return BodyParameters(*(getattr(self, field.name).to(*args) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Regressor:
    """Keypoints as weighted sums of a few vertices (Tung et al. 2017, Eq. 2)."""

    vertices: Int[Tensor, " used"]
    weights: Float[Tensor, "keypoints used"]


@dataclass(frozen=True, eq=False)
class Body:
    """A body model; see `load`."""

    identity: str
    """Its name and the SHA-256 of its file."""
    faces: Int[Tensor, "faces 3"]
    """Counter-clockwise from outside."""
    parts: Int[Tensor, " vertices"]
    """For each vertex the joint that moves it most."""
    v_template: Float[Tensor, " 3*vertices"]
    J_template: Float[Tensor, "24 3"]
    J_shapedirs: Float[Tensor, "betas 72"]
    weights: Float[Tensor, "24 vertices"]
    posedirs_coefficients: Float[Tensor, "207 rank"]
    directions: Float[Tensor, "betas+rank 3*vertices"]
    """Blendshapes: of shape, one a beta, then of pose. One product applies both."""
    regressors: dict[str, Regressor]
    """By keypoint set; a set of which this body lacks a landmark is absent."""
    mirror: Int[Tensor, " vertices"] | None
    """Each vertex' twin on the other side; None where none is known."""
    proxy_vertices: Int[Tensor, " proxy"] | None
    """Vertices of a coarser closed mesh."""
    proxy_faces: Int[Tensor, "proxy_faces 3"] | None
    """Its triangles, as indices into proxy_vertices."""

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Body":
        """The embedded default body, or a user's SMPL, SMPL-H or SMPL-X model (`.npz`, `.pkl`) reduced to SMPL's
        24 joints. A pickle's code is never run. Raises FileNotFoundError, or ValueError naming what is wrong."""
        return cls.from_data(read_body(path))

    @classmethod
    def from_data(cls, data: BodyData) -> "Body":
        """The model that a file's arrays describe."""

        def by_axis(array: np.ndarray) -> Tensor:
            """(..., V, 3) to (..., 3 V), axis by axis."""
            return torch.from_numpy(np.ascontiguousarray(np.swapaxes(array, -1, -2))).flatten(-2)

        def indices(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array.astype(np.int64))

        # A product of matrices is faster where its inner size is a multiple of 16: zeros fill the pose blendshapes up.
        fill = -(data.shapedirs.shape[2] + len(data.posedirs_basis)) % 16
        coefficients = np.pad(data.posedirs_coefficients, ((0, 0), (0, fill)))
        basis = np.pad(data.posedirs_basis, ((0, fill), (0, 0), (0, 0)))
        return cls(
            identity=f"{data.name} sha256:{data.sha256}",
            faces=torch.from_numpy(data.faces.astype(np.int64)),
            parts=torch.from_numpy(data.part.astype(np.int64)),
            v_template=by_axis(data.v_template),
            J_template=torch.from_numpy(data.J_template),
            J_shapedirs=torch.from_numpy(np.ascontiguousarray(np.moveaxis(data.J_shapedirs, 2, 0))).flatten(
                1
            ),
            weights=torch.from_numpy(np.ascontiguousarray(data.weights.T)),
            posedirs_coefficients=torch.from_numpy(coefficients),
            directions=torch.cat([by_axis(np.moveaxis(data.shapedirs, 2, 0)), by_axis(basis)]),
            regressors=_regressors(data),
            mirror=indices(data.mirror),
            proxy_vertices=indices(data.proxy_vertices),
            proxy_faces=indices(data.proxy_faces),
        )

    @property
    def num_betas(self) -> int:
        """How many shape coefficients there are."""
        return len(self.J_shapedirs)

    def to(self, target: torch.device | torch.dtype | str) -> "Body":
        """The same model on another device, or in another floating type."""

        def move(tensor: Tensor) -> Tensor:
            floating = not isinstance(target, torch.dtype) or tensor.is_floating_point()
            return tensor.to(target) if floating else tensor

        moved = {f.name: move(v) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        regressors = {
            name: Regressor(move(regressor.vertices), move(regressor.weights))
            for name, regressor in self.regressors.items()
        }
        return replace(self, regressors=regressors, **moved)

    def rest_parameters(self, *batch: int) -> BodyParameters:
        """The mean shape in the rest pose at the origin, in our float type and on our device."""
        like = self.v_template
        return BodyParameters(
            betas=like.new_zeros(*batch, self.num_betas),
            R_parent_joint=torch.eye(3, dtype=like.dtype, device=like.device)
            .expand(*batch, 24, 3, 3)
            .clone(),
            p_world_root=like.new_zeros(*batch, 3),
        )

    def shape(self, betas: Float[Tensor, "*batch betas"]) -> "ShapedBody":
        """The body of that shape in the rest pose."""
        count = betas.shape[-1]
        if count > self.num_betas:
            raise ValueError(
                f"{count} shape coefficients given, {self.identity.split()[0]} has {self.num_betas}"
            )
        whole = torch.cat([betas, betas.new_zeros(*betas.shape[:-1], self.num_betas - count)], dim=-1)
        joints = self.J_template + (whole @ self.J_shapedirs).unflatten(-1, (24, 3))
        return ShapedBody(self, whole, joints)

    def pose(self, parameters: BodyParameters) -> "PosedBody":
        """The body of that shape in that pose."""
        return self.shape(parameters.betas).pose(parameters.R_parent_joint, parameters.p_world_root)

    def keypoints(
        self, vertices: Float[Tensor, "*batch vertices 3"], name: str
    ) -> Float[Tensor, "*batch keypoints 3"]:
        """The keypoints of the set `name` (see `skeleton.KEYPOINT_SETS`) from posed vertices, metres
        (Tung et al. 2017, Eq. 2)."""
        if name not in self.regressors:
            lacks = "lacks some landmarks of it" if name in KEYPOINT_SETS else "and there is no such set"
            raise ValueError(f"no regressor for {name!r}: {self.identity.split()[0]} {lacks}")
        regressor = self.regressors[name]
        return regressor.weights @ vertices[..., regressor.vertices, :]

    def restricted(self, vertices: Int[Tensor, " kept"]) -> "Body":
        """The same body with only some of its vertices, without faces: where only those are needed, posing costs a
        fraction. Keypoint sets that need other vertices are dropped."""
        count = len(self.parts)
        columns = (torch.arange(3, device=vertices.device)[:, None] * count + vertices).flatten()
        place = torch.full((count,), -1, device=vertices.device)
        place[vertices] = torch.arange(len(vertices), device=vertices.device)
        return replace(
            self,
            faces=self.faces[:0],
            parts=self.parts[vertices],
            v_template=self.v_template[columns],
            weights=self.weights[:, vertices],
            directions=self.directions[:, columns],
            regressors={
                name: replace(regressor, vertices=place[regressor.vertices])
                for name, regressor in self.regressors.items()
                if (place[regressor.vertices] >= 0).all()
            },
            mirror=None,
            proxy_vertices=None,
            proxy_faces=None,
        )

    def condensed(self, name: str) -> "Body":
        """The same body with only the keypoints of the set `name`: what each joint moves of a keypoint's vertices is
        one vertex, at their weighted mean. Its keypoints are the same, since all is linear in vertices, and posing it
        costs a fraction of a `restricted` body."""
        used = self.regressors[name].vertices
        shares = self.regressors[name].weights.double()[:, None] * self.weights[:, used].double()
        parts = torch.stack([shares.clamp(min=0), shares.clamp(max=0)])  # A sum of both might vanish.
        masses = parts.sum(-1)
        sign, keypoint, joint = masses.nonzero(as_tuple=True)
        mass = masses[sign, keypoint, joint]
        means = (parts[sign, keypoint, joint] / mass[:, None]).T
        one = torch.arange(len(mass), device=mass.device)

        def mean(columns: Tensor) -> Tensor:
            by_axis = columns.double().unflatten(-1, (3, -1))[..., used] @ means
            return by_axis.flatten(-2).to(columns.dtype)

        weights = torch.zeros(len(shares), len(mass)).to(mass)
        weights[keypoint, one] = mass
        return replace(
            self.restricted(used[:0]),
            parts=joint,
            v_template=mean(self.v_template),
            weights=torch.eye(len(self.weights)).to(self.weights)[:, joint],
            directions=mean(self.directions),
            regressors={name: Regressor(one, weights.to(self.weights.dtype))},
        )


@dataclass(frozen=True, eq=False)
class ShapedBody:
    """A body of one shape in the rest pose, where the model's file puts it."""

    body: Body
    betas: Float[Tensor, "*batch betas"]
    joints: Float[Tensor, "*batch 24 3"]
    """Joints, metres."""

    @property
    def rest(self) -> Float[Tensor, "*batch 3 vertices"]:
        """Vertices in the rest pose, one row per axis, metres."""
        body = self.body
        return _sum(body.v_template, self.betas, body.directions[: body.num_betas]).unflatten(-1, (3, -1))

    def pose(
        self, R_parent_joint: Float[Tensor, "*#batch 24 3 3"], p_world_root: Float[Tensor, "*#batch 3"]
    ) -> "PosedBody":
        """The body in that pose, with its pelvis joint at `p_world_root`."""
        body = self.body
        R_world_joint, p_world_joint = forward_kinematics(R_parent_joint, self.joints, p_world_root)
        feature = (R_parent_joint[..., 1:, :, :] - torch.eye(3).to(R_parent_joint)).flatten(-3)
        bulges = feature @ body.posedirs_coefficients
        betas = self.betas.expand(*torch.broadcast_shapes(self.betas.shape[:-1], bulges.shape[:-1]), -1)
        steps = torch.cat([betas, bulges.expand(*betas.shape[:-1], -1)], dim=-1)
        rest = _sum(body.v_template, steps, body.directions).unflatten(-1, (3, -1))
        t = p_world_joint - (R_world_joint @ self.joints.unsqueeze(-1)).squeeze(-1)
        maps = torch.cat([R_world_joint.mT, t.unsqueeze(-2)], dim=-2).flatten(-2)
        rest = rest.expand(*maps.shape[:-2], -1, -1)
        vertices = skin(maps.reshape(-1, 24, 12), body.weights, rest.reshape(-1, *rest.shape[-2:]))
        return PosedBody(vertices.view(rest.shape).mT, p_world_joint, R_world_joint)


def _sum(
    start: Float[Tensor, " n"], coefficients: Float[Tensor, "*batch k"], basis: Float[Tensor, "k n"]
) -> Float[Tensor, "*batch n"]:
    """start + coefficients @ basis, in one pass over memory."""
    rows = coefficients.reshape(math.prod(coefficients.shape[:-1]), len(basis))
    return torch.addmm(start, rows, basis).view(*coefficients.shape[:-1], len(start))


@dataclass(frozen=True, eq=False)
class PosedBody:
    """A body in one pose."""

    vertices: Float[Tensor, "*batch vertices 3"]
    """World frame, metres."""
    joints: Float[Tensor, "*batch 24 3"]
    """World frame, metres: `p_world_joint`."""
    R_world_joint: Float[Tensor, "*batch 24 3 3"]


def _regressors(data: BodyData) -> dict[str, Regressor]:
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
            regressors[name] = Regressor(torch.from_numpy(used), torch.from_numpy(matrix[:, used].copy()))
    return regressors
