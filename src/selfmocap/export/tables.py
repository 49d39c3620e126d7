"""Tables of positions and angles: `.csv` for anybody, `.trc` for OpenSim."""

import csv
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.export.euler import ORDERS, continuous_euler
from selfmocap.export.options import METRES, ExportOptions
from selfmocap.export.rig import Rig, out_of_world, rig
from selfmocap.export.takes import Take
from selfmocap.io.atomic import atomic_write

_ANGLES = ORDERS[0]
_UNIT_OF = {metres: unit for unit, metres in METRES.items()}
_FRAMES_AT_ONCE = 512


def write_csv(path: Path, take: Take, body: Body, options: ExportOptions) -> None:
    """Writes a row a frame: time (s, on the video's clock), confidence, filled; x, y, z of each joint in the world
    (metres if no unit is asked for); then each joint's rotation in its parent as Euler angles in degrees, without
    jumps, in the columns' order: R = Rz Rx Ry (the root's parent is the world)."""
    skeleton = rig(take, body, options, unit="m")
    joints = _joints(skeleton)
    R = skeleton.R_parent_joint.numpy()
    angles_deg = np.stack([continuous_euler(R[:, j], _ANGLES) for j in range(len(skeleton.names))], axis=1)
    unit = _UNIT_OF[skeleton.metres]
    titles = ["time_s", "confidence", "filled"]
    titles += [f"{name}_{axis}_{unit}" for name in skeleton.names for axis in "xyz"]
    titles += [f"{name}_{axis}rotation_deg" for name in skeleton.names for axis in _ANGLES]
    table = np.concatenate([joints.flatten(1).numpy(), angles_deg.reshape(len(take), -1)], axis=1)
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file)
        rows.writerow(titles)
        for time, confidence, filled, numbers in zip(
            take.times.tolist(), take.confidence.tolist(), take.filled.tolist(), table, strict=True
        ):
            rows.writerow([f"{time:.6f}", f"{confidence:.4f}", int(filled), *(f"{x:.6f}" for x in numbers)])


def write_trc(path: Path, take: Take, body: Body, options: ExportOptions) -> None:
    """Writes a take at its constant rate as OpenSim's markers: the 24 joints' centres, and the COCO-23 points on the
    skin where the body has them; mm if no unit is asked for."""
    skeleton = rig(take, body, options, unit="mm")
    points, names = _joints(skeleton), list(skeleton.names)
    if DEFAULT_KEYPOINTS.name in body.regressors:
        surface = _surface_points(take, body) @ out_of_world(options).T / skeleton.metres
        points, names = torch.cat([points, surface], dim=1), names + list(DEFAULT_KEYPOINTS.names)
    unit = _UNIT_OF[skeleton.metres]
    rate, frames = f"{take.fps:.6f}", len(take)
    facts = {
        "DataRate": rate, "CameraRate": rate, "NumFrames": frames, "NumMarkers": len(names), "Units": unit,
        "OrigDataRate": rate, "OrigDataStartFrame": 1, "OrigNumFrames": frames,
    }  # fmt: skip
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "\t".join(facts),
        "\t".join(map(str, facts.values())),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ"),
        "",
    ]
    for number, (time, row) in enumerate(
        zip(skeleton.times.tolist(), points.flatten(1).tolist(), strict=True), 1
    ):
        lines.append(f"{number}\t{time:.6f}\t" + "\t".join(f"{x:.6f}" for x in row))
    with atomic_write(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="ascii")


def _joints(skeleton: Rig) -> Float[Tensor, "time 24 3"]:
    return forward_kinematics(skeleton.R_parent_joint, skeleton.rest_joints, skeleton.p_world_root)[1]


def _surface_points(take: Take, body: Body) -> Float[Tensor, "time 23 3"]:
    """The COCO-23 points in the world, metres; a few frames at a time, to take little memory."""
    used = torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices)
    small = body.restricted(used).to(torch.float64)
    shaped, parameters = small.shape(take.parameters.betas), take.parameters
    parts = zip(
        parameters.R_parent_joint.split(_FRAMES_AT_ONCE),
        parameters.p_world_root.split(_FRAMES_AT_ONCE),
        strict=True,
    )
    return torch.cat([small.keypoints(shaped.pose(R, p).vertices, DEFAULT_KEYPOINTS.name) for R, p in parts])
