"""Draw ten poses of the default body in one picture: python examples/01_poses.py docs/poses.png"""

import sys

import numpy as np
import roma
import torch
from PIL import Image

from selfmocap import Body, BodyParameters
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.visualization.render import render_body

body = Body.load()
turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0]))
views = []
for number, name in enumerate(NAMED_POSES):
    betas = torch.zeros(16)
    betas[0], betas[1] = (number % 3 - 1) * 0.8, (number % 4 - 1.5) * 0.8
    posed = body.pose(BodyParameters(betas, named_pose(name), torch.zeros(3)))
    views.append(render_body(posed.vertices @ turn.mT, body.faces, height=400))
rows = np.concatenate([np.concatenate(views[:5], axis=1), np.concatenate(views[5:], axis=1)])
Image.fromarray(rows).save(sys.argv[1])
