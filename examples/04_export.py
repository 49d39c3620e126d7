"""Make a motion, export it to BVH and GLB, and read the BVH file again: python examples/04_export.py FOLDER"""

import sys
from pathlib import Path

import roma
import torch
from matplotlib.figure import Figure

from selfmocap import Body, BodyParameters, Camera, ExportOptions, Motion
from selfmocap.body_model.named_poses import named_pose
from selfmocap.datasets.bvh import read_bvh
from selfmocap.export.write import export_motion

folder, body = Path(sys.argv[1]), Body.load()

# From one pose to another in a second, while the body moves forwards.
frames, fps = 31, 30.0
start, end = (roma.rotmat_to_unitquat(named_pose(name)) for name in ("lunge", "kick"))
alpha = torch.linspace(0, 1, frames)
rotations = roma.unitquat_to_rotmat(roma.unitquat_slerp(start, end, alpha))
position = torch.stack([torch.zeros(frames), torch.full((frames,), 0.9), alpha], dim=-1)

motion = Motion.from_parameters(
    body,
    BodyParameters(torch.zeros(16), rotations, position),
    Camera.looking_along_z(1000.0, 1280, 720),
    image_size=(1280, 720),
    frame_times=torch.arange(frames, dtype=torch.float64) / fps,
)
motion.save(folder / "motion.npz")
paths = export_motion(motion, body, folder, ["bvh", "glb"], ExportOptions(names="mixamo"))
for path in paths:
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")

recording = read_bvh(folder / "motion.bvh")
_, joints = recording.world()
print(
    f"read again: {len(recording)} frames, {len(recording.joint_names)} joints, {recording.fps:.0f} frames a second"
)

figure = Figure(figsize=(9, 4), layout="constrained")
axes = figure.subplots()
for number, frame in enumerate(range(0, len(recording), 6)):
    for joint, parent in enumerate(recording.parents):
        if parent >= 0:
            x, y, _ = joints[frame, [joint, parent]].T
            axes.plot(x + 1.3 * number, y, color="tab:blue", linewidth=2)
axes.set(title="the skeleton of motion.bvh, every sixth frame, from the front", ylabel="m", aspect="equal")
figure.savefig(folder / "export.png", dpi=90)
