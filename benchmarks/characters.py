"""Retarget motions onto characters, and measure directions of limbs, soles, slides and knees. The peer copies the
rotations alone, with scaled hips, as most retargeters do. The characters are bodies of other shapes in the skeletons of
Mixamo and Unreal, written as GLB and read again.

    python benchmarks/characters.py MOTIONS [--names cmu_02_04] [--captured motion.npz] [--seconds 4] [--json]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import HAND_SIDES, JOINT
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.export.characters.character import Character, rest_soles
from selfmocap.export.characters.feet import plant_feet
from selfmocap.export.characters.gltf import read_gltf
from selfmocap.export.characters.gltf_character import gltf_character
from selfmocap.export.characters.pose_transfer import (
    PosedCharacter,
    fit_rest_pose,
    pose_character,
    root_path,
    transfer_rotations,
)
from selfmocap.export.characters.source import SourceMotion, source_motion
from selfmocap.export.glb import write_glb
from selfmocap.export.options import ExportOptions
from selfmocap.export.presets import Skeleton
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.segments import Segment, concat_segments, split_into_segments

CHARACTERS: dict[str, tuple[Skeleton, float]] = {
    "small, mixamo": ("mixamo", -2.0),
    "tall, unreal": ("unreal", 2.0),
}
"""Skeleton, and the first shape coefficient of the body."""
BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


def character(segment: Segment, body: Body, skeleton: Skeleton, beta: float, folder: Path) -> Character:
    """Return the body of another shape as a character that was written and read."""
    betas = torch.zeros(body.num_betas, dtype=torch.float64)
    betas[0] = beta
    shaped = Segment(
        BodyParameters(betas, segment.parameters.R_parent_joint[:1], segment.parameters.p_world_root[:1]),
        segment.times[:1], segment.fps, segment.confidence[:1], segment.filled[:1],
    )  # fmt: skip
    write_glb(folder / "character.glb", shaped, body, ExportOptions(rig=RigOptions(skeleton)))
    return gltf_character(read_gltf(folder / "character.glb"), {})


def scores(source: SourceMotion, rig: Character, posed: PosedCharacter) -> dict[str, float]:
    """Compare a posed character with the body's motion."""
    p = {name: posed.p_world[node] for name, node in rig.bones.joints.items()}
    angles, bends = [], []
    for side in HAND_SIDES:
        flexions = []
        for points in (p, {name: source.p_world_joint[:, index] for name, index in JOINT.items()}):
            bones = [points[f"{side}_{b}"] - points[f"{side}_{a}"] for a, b in BONES]
            angles.append([bone / np.linalg.norm(bone, axis=1, keepdims=True) for bone in bones])
            flexions.append(np.degrees(np.arccos((angles[-1][2] * angles[-1][3]).sum(1).clip(-1, 1))))
        bends.append([np.abs(np.diff(flexion, 2)).max(initial=0) for flexion in flexions])
    pairs = zip(angles[::2], angles[1::2], strict=True)
    error = np.degrees(np.arccos(np.clip([(np.stack(a) * np.stack(b)).sum(2) for a, b in pairs], -1, 1)))
    heights, slides = [], []
    for k, side in enumerate(HAND_SIDES):
        parts = [
            posed.p_world[n][:, None] + np.einsum("tab,pb->tpa", posed.R_world[n], q)
            for n, q in rig.soles[side]
        ]
        sole, planted = np.concatenate(parts, axis=1), source.planted[:, k]
        heights.append(sole[..., 1].min(1)[planted.any(1)])
        along = rest_soles(rig, side)[:, 2]
        ends = np.stack(
            [sole[:, along < along.min() + 0.03].mean(1), sole[:, along > along.max() - 0.03].mean(1)], 1
        )
        step = np.linalg.norm(np.diff(ends[..., [0, 2]], axis=0), axis=-1)
        step = np.where(planted[1:] & planted[:-1], step, np.inf).min(1)
        slides.append(step[np.isfinite(step)])
    height, slide = np.concatenate(heights), np.concatenate(slides)
    return {
        "arms_deg": float(error[:, :2].mean()), "legs_deg": float(error[:, 2:].mean()),
        "legs_max_deg": float(error[:, 2:].max()), "sole_cm": float(100 * np.abs(height).max(initial=0)),
        "slide_mm": float(1000 * slide.mean()) if len(slide) else 0.0,
        "slide_p95_mm": float(1000 * np.quantile(slide, 0.95)) if len(slide) else 0.0,
        "knee_deg_per_frame2": float(max(b[0] for b in bends)),
        "knee_of_source": float(max(b[1] for b in bends)),
    }  # fmt: skip


def measure(segment: Segment, body: Body) -> dict[str, dict[str, float]]:
    """Score both methods on each character."""
    source, rows = source_motion(segment, body), {}
    for name, (skeleton, beta) in CHARACTERS.items():
        with tempfile.TemporaryDirectory() as folder:
            rig = character(segment, body, skeleton, beta, Path(folder))
        fit = fit_rest_pose(rig, source.rest)
        turned = transfer_rotations(source, rig, fit)
        root = root_path(source, rig, fit, turned)
        rows[f"{name}, rotations alone"] = scores(source, rig, pose_character(rig, turned, root))
        rows[f"{name}, retarget"] = scores(
            source, rig, pose_character(rig, *plant_feet(source, rig, fit, turned, root))
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--names", nargs="*", help="recordings; all without it")
    parser.add_argument("--captured", type=Path, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    body, results = Body.load(), dict[str, Any]()
    for path in arguments.captured:
        results[str(path)] = measure(concat_segments(split_into_segments(Motion.load(path))), body)
    for recording in load_motions(arguments.motions, body):
        if arguments.names is None or recording.name in arguments.names:
            frames = min(len(recording.parameters.p_world_root), round(arguments.seconds * recording.fps))
            parameters, times = recording.parameters[:frames].to(torch.float64), torch.arange(frames).double()
            flags = torch.ones(frames, dtype=torch.float64), torch.zeros(frames, dtype=torch.bool)
            segment = Segment(parameters, times / recording.fps, recording.fps, *flags)
            results[recording.name] = measure(segment, body)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, rows in results.items():
        print(name)
        for method, values in rows.items():
            print(f"  {method:32s}" + "  ".join(f"{key} {value:.2f}" for key, value in values.items()))


if __name__ == "__main__":
    main()
