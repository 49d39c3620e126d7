"""Retarget a folder of recordings, print each clip's error against reference joints, and draw some of them.

    python scripts/retarget_report.py MOTIONS [--joints JOINTS --out images] [--cache FILE]

JOINTS holds, for a clip NAME, `NAME.npz` with `joints` (frames, n, 3; metres, y up, 30 fps) and `names`. Without it,
the joints of a BVH file's own skeleton are its reference. A clip's error is the mean distance of its limb joints after
one scale and one translation a clip. Clips whose names are equal up to the first `_` are one set.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.motions_folder import Recording, load_motions
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.datasets.retargeting.reference import SIDES, drop_leading_pose
from selfmocap.datasets.retargeting.rig_structure import identify_rig
from selfmocap.datasets.retargeting.rigs import LIMB_POINTS
from selfmocap.io.npz import read_npz

LIMBS = [
    f"{side}_{part}" for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist") for side in ("l", "r")
]
STICKS = (
    ("pelvis", "spine"), ("spine", "chest"), ("chest", "neck"), ("neck", "head"),
    *((f"{s}_{a}", f"{s}_{b}") for s in "lr" for a, b in (
        ("hip", "knee"), ("knee", "ankle"), ("ankle", "toe"), ("shoulder", "elbow"), ("elbow", "wrist"))),
    ("l_hip", "r_hip"), ("l_shoulder", "r_shoulder"),
)  # fmt: skip
DRAWN = (
    "cmu_01_01", "cmu_01_05", "cmu_02_04", "cmu_03_01", "cmu_lambada", "cmu_zombie", "cmu_jumpingjacks",
    "cmucc_06_12", "cmucc_07_05", "cmudaz_salsa03", "cmudaz_14_19", "cmuexp_train_basketball_signal_1",
)  # fmt: skip
IMAGES_PER_CLIP, FRAMES_PER_CLIP = 8, 40
"""Frames that are drawn, and those in which the ground is measured, at most."""


@dataclass(frozen=True)
class Score:
    """Errors of a clip against its reference."""

    error_mm: float
    by_joint_mm: np.ndarray
    scale: float
    late_frames: float
    """Frames by which the reference begins later; exporters remove their T-poses differently."""


def joint_index(name: str) -> int:
    """Return the body's joint for a reference joint of the limbs."""
    side, part = name.split("_")
    return JOINT[f"{'left' if side == 'l' else 'right'}_{part}"]


def joints_of(clip: Recording, body: Body) -> np.ndarray:
    """Compute joint positions (frames, 24, 3), metres."""
    p = clip.parameters
    return forward_kinematics(p.R_parent_joint, body.shape(p.betas).joints, p.p_world_root)[1].numpy()


def score(joints: np.ndarray, reference: dict[str, np.ndarray]) -> Score:
    names = list(reference["names"])
    truth = reference["joints"][:, [names.index(name) for name in LIMBS]]
    estimate = joints[:, [joint_index(name) for name in LIMBS]]
    return min(
        (aligned(estimate, truth, late) for late in np.arange(0, 1.51, 0.25)), key=lambda s: s.error_mm
    )


def aligned(estimate: np.ndarray, truth: np.ndarray, late: float) -> Score:
    frames = min(len(estimate) - int(np.ceil(late)), len(truth))
    first, fraction = int(late), late - int(late)
    estimate = (
        estimate[first : first + frames] * (1 - fraction)
        + estimate[first + (fraction > 0) :][:frames] * fraction
    )
    a, b = (x - x.mean((0, 1)) for x in (estimate, truth[:frames]))
    scale = (a * b).sum() / (a * a).sum()
    distance = np.linalg.norm(scale * a - b, axis=-1) * 1000
    return Score(float(distance.mean()), distance.mean(0), float(scale), late)


def own_joints(path: Path, frames: int) -> dict[str, np.ndarray] | None:
    """Return the limb joints of a BVH file at 30 fps as a reference; None if its clip was cut to other `frames`."""
    if not path.is_file():
        return None
    recording = drop_leading_pose(read_bvh(path)).resampled(30.0)
    if abs(len(recording) - frames) > 1:
        return None
    rig, positions = identify_rig(recording), recording.world()[1].numpy()
    named = {f"{side[0]}_{part}": rig.limbs[part][n] for n, side in enumerate(SIDES) for part in LIMB_POINTS}
    columns = [recording.joint_names.index(named[limb]) for limb in LIMBS]
    return {"joints": positions[:, columns], "names": np.array(LIMBS)}


def slide_mm(joints: np.ndarray, fps: float) -> float:
    """Compute the median speed (mm per frame) of ankles that are low and slow: feet in contact with the ground."""
    ankles = joints[:, [JOINT["left_ankle"], JOINT["right_ankle"]]]
    step = np.linalg.norm(np.diff(ankles, axis=0), axis=-1)
    in_contact = (ankles[:-1, :, 1] < 0.12) & (step < 0.5 / fps)
    return float(np.median(step[in_contact]) * 1000) if in_contact.any() else float("nan")


def draw(
    clip: Recording, joints: np.ndarray, reference: dict[str, np.ndarray], body: Body, path: Path
) -> None:
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection, PolyCollection

    assert body.proxy_vertices is not None and body.proxy_faces is not None
    names = list(reference["names"])
    frames = np.linspace(0, min(len(joints), len(reference["joints"])) - 2, IMAGES_PER_CLIP).astype(int)
    skin = body.with_vertices(body.proxy_vertices)
    figure, axes = pyplot.subplots(2, len(frames), figsize=(2 * len(frames), 5.2), sharex=True, sharey=True)
    for column, frame in enumerate(frames):
        p = clip.parameters
        vertices = skin.shape(p.betas).pose(p.R_parent_joint[frame], p.p_world_root[frame]).vertices.numpy()
        # The view is from between the front and the left of the person.
        across, away = view(p.R_parent_joint[frame, 0].numpy())
        faces = vertices[body.proxy_faces.numpy()]
        normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
        light = normal @ (0.5 * np.array([0, 1, 0]) - away) / np.linalg.norm(normal, axis=1).clip(1e-12)
        order = np.argsort(-(faces.mean(1) @ away))
        middle = joints[frame, 0] @ across
        flat = np.stack([faces @ across - middle, faces[..., 1]], -1)[order]
        axes[1, column].add_collection(
            PolyCollection(list(flat), facecolors=pyplot.cm.gray(0.55 + 0.4 * light[order]))
        )
        points = reference["joints"][frame]
        flat = np.stack([(points - points[names.index("pelvis")]) @ across, points[:, 1]], -1)
        lines = [(flat[names.index(a)], flat[names.index(b)]) for a, b in STICKS]
        colours = ["tab:red" if a[0] == "l" else "tab:blue" if a[0] == "r" else "k" for a, _ in STICKS]
        axes[0, column].add_collection(LineCollection(lines, colors=colours, linewidths=2))
        for row in range(2):
            axes[row, column].set(xlim=(-1, 1), ylim=(-0.1, 2.3), aspect="equal", xticks=[], title=str(frame))
            axes[row, column].axhline(0, color="tab:green", linewidth=0.8)
    figure.suptitle(clip.name)
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    pyplot.close(figure)


def view(R_world_root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image's x axis and the horizontal viewing direction."""
    front = R_world_root[:, 2] * [1, 0, 1]
    front = front / np.linalg.norm(front)
    left = np.cross([0, 1, 0], front)
    towards = (front + 0.8 * left) / np.linalg.norm(front + 0.8 * left)
    return np.cross([0, 1, 0], towards), -towards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("motions", type=Path)
    parser.add_argument("--joints", type=Path)
    parser.add_argument("--cache", type=Path, help="file that keeps the recordings")
    parser.add_argument("--out", type=Path, help="folder of the images; without it none are drawn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    body = Body.load()
    start = time.perf_counter()
    clips = load_motions(arguments.motions, body, cache=arguments.cache)
    seconds = time.perf_counter() - start
    scores, sets = [], defaultdict(list)
    print(f"{'clip':36} frames  error mm  scale  late  lowest point mm (1 %, median)  slide mm")
    for clip in clips:
        joints = joints_of(clip, body)
        sampled = clip.parameters[:: -(-len(joints) // FRAMES_PER_CLIP)]
        low_mm = 1000 * np.percentile(lowest_height(body, sampled).numpy(), [1, 50])
        slide = slide_mm(joints, clip.fps)
        ground = f"{low_mm[0]:10.0f} {low_mm[1]:6.0f} {slide:16.1f}"
        sets[clip.name.split("_")[0]].append([len(joints), np.nan, *low_mm, slide])
        row = f"{clip.name:36} {len(joints):6}  {{}} {ground}"
        if arguments.joints is None:
            reference = own_joints(arguments.motions / f"{clip.name}.bvh", len(joints))
        else:
            path = arguments.joints / f"{clip.name}.npz"
            reference = read_npz(path, only={"joints", "names"}) if path.is_file() else None
        if reference is None:
            print(row.format(f"{'no reference':21}"))
            continue
        last = score(joints, reference)
        scores.append(last)
        sets[clip.name.split("_")[0]][-1][1] = last.error_mm
        print(row.format(f"{last.error_mm:8.1f}  {last.scale:.3f} {last.late_frames:5.2f}"))
        if arguments.out is not None and clip.name in DRAWN:
            arguments.out.mkdir(parents=True, exist_ok=True)
            draw(clip, joints, reference, body, arguments.out / f"{clip.name}.png")
    print("set: clips, minutes; medians of error mm, lowest point mm (1 %, median), slide mm")
    for name, rows in sorted(sets.items()):
        lengths, *columns = np.array(rows).T
        medians = "  ".join(f"{np.nanmedian(column):.1f}" for column in columns if np.isfinite(column).any())
        print(f"{name:12} {len(rows):5} {lengths.sum() / 1800:6.1f}  {medians}")
    errors = np.array([s.error_mm for s in scores])
    by_joint = np.mean([s.by_joint_mm for s in scores], 0)
    print(
        "by joint, mm: "
        + ", ".join(f"{name} {value:.0f}" for name, value in zip(LIMBS, by_joint, strict=True))
    )
    frames = sum(len(clip.parameters.p_world_root) for clip in clips)
    print(f"{len(clips)} clips, {frames} frames at 30 fps, read and retargeted in {seconds:.1f} s")
    print(f"median over {len(errors)} clips {np.median(errors):.1f} mm, worst {errors.max():.1f} mm")


if __name__ == "__main__":
    main()
