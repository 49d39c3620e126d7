"""Write tables of positions and angles: `.csv` for spreadsheets and scripts, `.trc` for OpenSim."""

import csv
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.export.euler import ORDERS, continuous_euler
from selfmocap.export.options import METRES, ExportOptions
from selfmocap.export.rig import ExportRig, export_rig, rotation_to_output
from selfmocap.export.segments import Segment
from selfmocap.io.atomic import atomic_write

_EULER_ORDER = ORDERS[0]
_UNIT_OF = {metres: unit for unit, metres in METRES.items()}
_CHUNK_FRAMES = 512


def write_csv(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write one row per frame; the default unit is m.

    Columns: time (s, on the video's clock), confidence, filled; x, y, z of each joint in the world; then the rotation
    of each joint in the frame of its parent as continuous Euler angles in degrees, in the order of the columns:
    R = Rz Rx Ry (the parent of the root is the world)."""
    skeleton = export_rig(segment, body, options, unit="m")
    joints = _joints(skeleton)
    R = skeleton.R_parent_joint.numpy()
    angles_deg = np.stack(
        [continuous_euler(R[:, j], _EULER_ORDER) for j in range(len(skeleton.names))], axis=1
    )
    unit = _UNIT_OF[skeleton.metres]
    titles = ["time_s", "confidence", "filled"]
    titles += [f"{name}_{axis}_{unit}" for name in skeleton.names for axis in "xyz"]
    titles += [f"{name}_{axis}rotation_deg" for name in skeleton.names for axis in _EULER_ORDER]
    table = np.concatenate([joints.flatten(1).numpy(), angles_deg.reshape(len(segment), -1)], axis=1)
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file)
        rows.writerow(titles)
        for time, confidence, filled, numbers in zip(
            segment.times.tolist(), segment.confidence.tolist(), segment.filled.tolist(), table, strict=True
        ):
            rows.writerow([f"{time:.6f}", f"{confidence:.4f}", int(filled), *(f"{x:.6f}" for x in numbers)])


def write_trc(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment at its constant rate as OpenSim's markers; the default unit is mm.

    Markers are the centres of the joints, and the COCO-23 points on the skin if the body has them."""
    skeleton = export_rig(segment, body, options, unit="mm")
    points, names = _joints(skeleton), list(skeleton.names)
    if DEFAULT_KEYPOINTS.name in body.regressors:
        surface = _surface_points(segment, body) @ rotation_to_output(options).T / skeleton.metres
        points, names = torch.cat([points, surface], dim=1), names + list(DEFAULT_KEYPOINTS.names)
    unit = _UNIT_OF[skeleton.metres]
    rate, frames = f"{segment.fps:.6f}", len(segment)
    header = {
        "DataRate": rate, "CameraRate": rate, "NumFrames": frames, "NumMarkers": len(names), "Units": unit,
        "OrigDataRate": rate, "OrigDataStartFrame": 1, "OrigNumFrames": frames,
    }  # fmt: skip
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "\t".join(header),
        "\t".join(map(str, header.values())),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ"),
        "",
    ]
    for number, (time, row) in enumerate(
        zip(skeleton.times.tolist(), points.flatten(1).tolist(), strict=True), 1
    ):
        lines.append(f"{number}\t{time:.6f}\t" + "\t".join(f"{x:.6f}" for x in row))
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def _joints(skeleton: ExportRig) -> Float[Tensor, "time joints 3"]:
    return forward_kinematics(skeleton.R_parent_joint, skeleton.rest_joints, skeleton.p_world_root)[1]


def _surface_points(segment: Segment, body: Body) -> Float[Tensor, "time 23 3"]:
    """Compute the COCO-23 points in the world, metres; some frames at a time, to need little memory."""
    used = torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices)
    small = body_for(segment.parameters, body).with_vertices(used).to(torch.float64)
    shaped, parameters = small.shape(segment.parameters.betas), segment.parameters
    parts = zip(
        parameters.R_parent_joint.split(_CHUNK_FRAMES),
        parameters.p_world_root.split(_CHUNK_FRAMES),
        strict=True,
    )
    return torch.cat([small.keypoints(shaped.pose(R, p).vertices, DEFAULT_KEYPOINTS.name) for R, p in parts])
