"""Read motion.npz with NumPy alone, and plot joints: python examples/05_read_a_motion.py FOLDER [MOTION]

MOTION is the motion.npz of a capture. Without it, a synthetic clip is made and its true motion is read.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

folder = Path(sys.argv[1])
if len(sys.argv) > 2:
    path = Path(sys.argv[2])
else:
    from selfmocap.synthetic.config import SynthesizeConfig
    from selfmocap.synthetic.write import synthesize

    synthesize(folder, SynthesizeConfig(clips=1, frames=45, seed=0))
    path = folder / "clip_00000" / "truth" / "motion.npz"

with np.load(path, allow_pickle=False) as file:
    motion = dict(file)
for name, array in motion.items():
    print(f"{name:16} {array.dtype} {array.shape}")
print("provenance:", json.dumps(json.loads(str(motion["provenance"])))[:200])

# Positions are in the camera frame: x right, y down, z forward. Heights in the world are t + R p, with y up.
names, times = motion["joint_names"].tolist(), motion["frame_times"]
R_cam_world, t_cam_world = motion["R_cam_world"], motion["t_cam_world"]
joints_world = (motion["joints_cam"] - t_cam_world.reshape(-1, 1, 3)) @ R_cam_world

figure = Figure(figsize=(9, 6), layout="constrained")
heights, speeds = figure.subplots(2, 1, sharex=True)
for name in ("head", "left_wrist", "right_wrist", "left_ankle", "right_ankle"):
    path_of_joint = joints_world[:, names.index(name)]
    heights.plot(times, path_of_joint[:, 1], label=name)
    speeds.plot(times, np.linalg.norm(np.gradient(path_of_joint, times, axis=0), axis=-1))
heights.set(title="height in the world", ylabel="m")
heights.legend(ncols=5, fontsize="small")
speeds.set(title="speed", ylabel="m/s", xlabel="s")
figure.savefig(folder / "read_a_motion.png", dpi=90)
