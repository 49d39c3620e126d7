"""Report on a finished file: symmetry, mesh, and errors against anny on people and poses outside the training set."""

from typing import Any

import numpy as np

from .decimation import mesh_defects, volume
from .landmarks import Row, unpacked_rows
from .packed import Arrays, pose, without_pose_blendshapes
from .poses import FAMILIES
from .rig import JOINT_MIRROR, JOINT_NAMES, world_rotations
from .shape_space import ShapeSpace
from .source import Source
from .symmetry import MIRROR, feature_mirror

BATCH = 40
WATER = 1000.0
"""Assumed density of the body, kg/m^3."""


def _summary(error: np.ndarray) -> dict[str, float]:
    """Compute the mean, 95th percentile and maximum of distances in metres, as millimetres."""
    return {
        "mean_mm": round(float(error.mean()) * 1e3, 2),
        "p95_mm": round(float(np.quantile(error, 0.95)) * 1e3, 2),
        "max_mm": round(float(error.max()) * 1e3, 1),
    }


def mesh_report(arrays: Arrays) -> dict[str, Any]:
    """Report closedness, winding and symmetry of the mesh and of its proxy."""
    vertices, mirror = arrays["v_template"], arrays["mirror"]
    proxy = arrays["proxy_vertices"]
    twin_rows = np.searchsorted(proxy, mirror[proxy])
    return {
        "vertices": len(vertices),
        "faces": len(arrays["faces"]),
        "volume_m3": round(volume(vertices, arrays["faces"]), 5),
        **mesh_defects(arrays["faces"], len(vertices)),
        "share_of_faces_mirrored": _mirrored_fraction(arrays["faces"], mirror),
        "proxy": {
            "vertices": len(proxy),
            "faces": len(arrays["proxy_faces"]),
            "volume_m3": round(volume(vertices[proxy], arrays["proxy_faces"]), 5),
            **mesh_defects(arrays["proxy_faces"], len(proxy)),
            "share_of_faces_mirrored": _mirrored_fraction(arrays["proxy_faces"], twin_rows),
        },
        "largest_asymmetry": _asymmetry(arrays),
    }


def _mirrored_fraction(faces: np.ndarray, mirror: np.ndarray) -> float:
    """Compute the fraction of faces whose reflection, with its winding reversed, is a face."""

    def rolled(triangles: np.ndarray) -> set[tuple[int, ...]]:
        return {tuple(np.roll(face, -int(face.argmin()))) for face in triangles}

    windings = rolled(faces)
    return len(windings & rolled(mirror[faces][:, ::-1])) / len(windings)


def _asymmetry(arrays: Arrays) -> dict[str, float]:
    """Compute the largest absolute difference of each array from its reflection: 0 where the symmetry is exact."""
    mirror = arrays["mirror"]
    permutation, sign = feature_mirror()
    twin_rows = np.searchsorted(arrays["posedirs_vertices"], mirror[arrays["posedirs_vertices"]])
    basis = arrays["posedirs_basis"].astype(np.float64)
    coefficients = arrays["posedirs_coefficients"]
    twin = basis[:, twin_rows] * MIRROR
    parity = np.where(np.abs(twin - basis).max((1, 2)) <= np.abs(twin + basis).max((1, 2)), 1, -1)
    dense = np.zeros((len(mirror), len(JOINT_NAMES)))
    np.add.at(dense, (np.arange(len(mirror))[:, None], arrays["weights_joint"]), arrays["weights"])
    shapedirs = arrays["shapedirs"].astype(np.float64)
    differences = {
        "mirror": mirror[mirror] - np.arange(len(mirror)),
        "v_template": arrays["v_template"][mirror] * MIRROR - arrays["v_template"],
        "shapedirs": shapedirs[mirror] * MIRROR[:, None] - shapedirs,
        "J_template": arrays["J_template"][JOINT_MIRROR] * MIRROR - arrays["J_template"],
        "J_shapedirs": arrays["J_shapedirs"][JOINT_MIRROR] * MIRROR[:, None] - arrays["J_shapedirs"],
        "weights": dense[mirror][:, JOINT_MIRROR] - dense,
        "posedirs_basis": twin * parity[:, None, None] - basis,
        "posedirs_coefficients": coefficients[permutation] * sign[:, None] * parity - coefficients,
        "part": JOINT_MIRROR[arrays["part"]][mirror].astype(int) - arrays["part"],
    }
    return {name: float(np.abs(difference).max()) for name, difference in differences.items()}


def shape_report(
    arrays: Arrays, space: ShapeSpace, source: Source, coefficients: np.ndarray
) -> dict[str, Any]:
    """Report errors in the T-pose on people (N, K) outside the training set, and the effects of the betas."""
    vertices, heads = source.t_pose(coefficients)
    betas = space.betas(vertices + arrays["J_template"][0])
    rest, joints = pose(arrays, betas, np.broadcast_to(np.eye(3, dtype=np.float32), (len(betas), 24, 3, 3)))
    stature = np.ptp(vertices[..., 1], axis=1)
    volumes = np.array([volume(body.astype(np.float64), arrays["faces"]) for body in vertices])
    index = WATER * volumes / stature**2
    return {
        "bodies": len(coefficients),
        "stature_mean_m": round(float(stature.mean()), 3),
        "stature_deviation_m": round(float(stature.std()), 3),
        "body_mass_index_percentiles_5_50_95": np.quantile(index, [0.05, 0.5, 0.95]).round(1).tolist(),
        "betas_deviation": [round(float(value), 2) for value in betas.std(0)],
        "largest_beta": round(float(np.abs(betas).max()), 2),
        "vertices": _summary(np.linalg.norm(rest - vertices, axis=-1)),
        "joints": _summary(np.linalg.norm(joints - source.joints(heads), axis=-1)),
    }


def pose_report(
    arrays: Arrays, space: ShapeSpace, source: Source, coefficients: np.ndarray, seed: int
) -> dict[str, Any]:
    """Report vertex errors against anny on people (N, K) outside the training set, in a random pose of each family."""
    betas = space.betas(source.t_pose(coefficients)[0] + arrays["J_template"][0])
    bodies = {"packed": arrays, "pose_blendshapes_zero": without_pose_blendshapes(arrays)}
    report: dict[str, Any] = {}
    for index, (family, generate) in enumerate(FAMILIES.items()):
        R_parent_joint = generate(len(coefficients), np.random.default_rng([seed, index]))
        truth = _truth(source, coefficients, R_parent_joint)
        errors = {
            name: np.linalg.norm(pose(body, betas, R_parent_joint)[0] - truth, axis=-1)
            for name, body in bodies.items()
        }
        report[family] = {name: _summary(error) for name, error in errors.items()}
        by_part = [
            errors["packed"][:, arrays["part"] == joint].mean() * 1e3 for joint in range(len(JOINT_NAMES))
        ]
        worst = np.argsort(by_part)[::-1][:4]
        report[family]["worst_parts_mean_mm"] = {JOINT_NAMES[j]: round(float(by_part[j]), 2) for j in worst}
    return report


def _truth(source: Source, coefficients: np.ndarray, R_parent_joint: np.ndarray) -> np.ndarray:
    R_world_joint = world_rotations(R_parent_joint)
    batches = [slice(start, start + BATCH) for start in range(0, len(coefficients), BATCH)]
    return np.concatenate([source.posed(coefficients[b], R_world_joint[b])[0] for b in batches])


def landmark_report(
    arrays: Arrays, samples: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Report each landmark's error on samples outside the training set (name: (bodies (N, V, 3), targets (N, 3)))."""
    rows: dict[str, Row] = unpacked_rows(arrays)
    report = {}
    for name, (bodies, targets) in samples.items():
        row = rows[name]
        report[name] = {
            **_summary(np.linalg.norm(row.of(bodies) - targets, axis=-1)),
            "vertices": len(row.vertices),
            "absolute_sum": round(float(np.abs(row.weights).sum()), 2),
        }
    return report
