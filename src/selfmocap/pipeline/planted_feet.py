"""Estimate the focal length from people who walk towards a static camera or away from it.

A foot that stands still in the image of a static camera stands still in the world. While it does, the body moves past
it, and two models measure by how much its depth changes:

- the pose: the depth of the foot relative to the pelvis, metres, which does not depend on the focal length;
- the size in the image: the depth of the pelvis is focal length times metres per pixel.

Over all such moments the focal length is the ratio of both changes. Where they do not agree (little walking in depth,
another movement), their correlation is low, and there is no estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv1d

from selfmocap.adaptation.fit import rescale_depth_for_shape
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT, keypoint_set
from selfmocap.body_model.skinning import forward_kinematics
from selfmocap.geometry.focal_prior import LogNormal
from selfmocap.models.estimator import estimate_all_bodies
from selfmocap.models.inference import default_camera, network_inputs
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.observations import Observations

_CHANGE_SECONDS = 0.2
"""Time over which the changes are taken."""
_SIZE_SECONDS, _FOOT_SECONDS = 0.7, 0.1
"""Half widths of the smoothing: walking changes a person's distance slowly, and a planted foot's offset fast."""
_MAX_FOOT_MOTION = 0.03
"""Fraction of the crop's side that a planted foot moves by within _CHANGE_SECONDS: the detector's noise."""
_MIN_MOMENTS, _MIN_CORRELATION = 8.0, 0.6
"""Independent moments, and correlation of both changes, below which there is no estimate."""
_MIN_CHANGE = 0.07
"""Metres in _CHANGE_SECONDS: slower movement in depth (0.35 m/s) cannot be distinguished from the network's errors."""
_GAIN = 1.15
"""True ratio over the measured one: the network flattens walking people; fitted to one subject, scored on
others (docs/explanation/lens.md)."""
_LOG_SPREAD = 0.15
"""Error of the logarithm that does not shrink with more moments: the network's depth of one person."""


@dataclass(frozen=True, eq=False)
class DepthChanges:
    """Changes while a foot is planted."""

    size: Float[Tensor, " moments"]
    """Of metres per pixel at the pelvis."""
    foot: Float[Tensor, " moments"]
    """Of the depth of the pelvis relative to the planted foot, metres."""
    lag: int
    """Frames over which a change is taken."""

    @property
    def correlation(self) -> float:
        """Correlation of both changes about zero, in [-1, 1]; 0 where nothing changes."""
        power = float(self.size.square().sum() * self.foot.square().sum())
        return float((self.size * self.foot).sum()) / math.sqrt(power) if power > 0 else 0.0

    @property
    def typical(self) -> float:
        """Change of the foot, metres: the root mean square over the moments, weighted by their squares."""
        squares = self.foot.square()
        total = float(squares.sum())
        return math.sqrt(float(squares.square().sum()) / total) if total > 0 else 0.0

    @property
    def independent(self) -> float:
        """Number of independent moments: half a change apart, and those count (Kish) in which the foot moves."""
        weights = self.foot.square()
        total = float(weights.square().sum())
        return 2 * float(weights.sum()) ** 2 / total / self.lag if total > 0 else 0.0

    @property
    def is_walk_in_depth(self) -> bool:
        """True if there are enough moments, with changes that are large enough and agree."""
        return (
            self.independent >= _MIN_MOMENTS
            and self.typical >= _MIN_CHANGE
            and self.correlation >= _MIN_CORRELATION
        )


def estimate_focal(changes: Sequence[DepthChanges]) -> LogNormal | None:
    """Estimate one focal length (px) from the people of a video in whom both models agree; None without any.

    The ratio is that of the regression of size on foot, since the size has the larger error. Its variance is that of
    the ratio by the moments, plus `_LOG_SPREAD`."""
    agreeing = [one for one in changes if one.is_walk_in_depth]
    if not agreeing:
        return None
    size, foot = (torch.cat([getattr(one, name) for one in agreeing]) for name in ("size", "foot"))
    pooled = DepthChanges(size, foot, agreeing[0].lag)
    variance = (1 / pooled.correlation**2 - 1) / pooled.independent
    ratio = float(foot.square().sum() / (size * foot).sum())
    return LogNormal(_GAIN * ratio, math.hypot(_LOG_SPREAD, math.sqrt(variance)))


def depth_changes(network: TemporalNetwork, body: Body, observed: Observations, focal: float) -> DepthChanges:
    """Measure the changes of one person; the camera is static. `focal` (px) only gives the network its view angles.

    Images are not used: the network's gain is known for keypoints alone. Frames without a neighbour in the video at
    every step are left out."""
    observed = replace(observed.in_set(network.frame.config.keypoint_set), crops=None, masks=None)
    inputs = network_inputs(observed, default_camera(observed, focal), network.frame)
    joints = _joints(body, estimate_all_bodies(network, inputs, observed.frame_index.diff() == 1), observed)
    root = joints[:, 0]
    lag = max(round(_CHANGE_SECONDS * observed.fps), 1)
    size = _smoothed(root[:, 2:] / focal, _SIZE_SECONDS * observed.fps)
    sizes, feet = [root.new_zeros(0)], [root.new_zeros(0)]
    for side in ("left", "right"):
        planted = _planted(observed, side, lag)
        foot = _smoothed(root - joints[:, JOINT[f"{side}_foot"]], _FOOT_SECONDS * observed.fps)
        sizes.append((size[lag:, 0] - size[:-lag, 0])[planted])
        feet.append((foot[lag:, 2] - foot[:-lag, 2])[planted])
    return DepthChanges(torch.cat(sizes).double(), torch.cat(feet).double(), lag)


@torch.no_grad()
def _joints(body: Body, parameters: BodyParameters, observed: Observations) -> Float[Tensor, "time 24 3"]:
    """Compute the joints of bodies with one shape, camera frame, metres."""
    weights = observed.keypoint_confidence.mean(-1, keepdim=True).clamp_min(1e-3)
    betas = (parameters.betas * weights).sum(0) / weights.sum()
    shared = rescale_depth_for_shape(body, parameters, betas.expand(len(observed), -1))
    rest = body.shape(betas).joints
    return forward_kinematics(shared.R_parent_joint, rest, shared.p_world_root)[1]


def _planted(observed: Observations, side: str, lag: int) -> Bool[Tensor, " moments"]:
    """Return the frames from which a foot stays where it is in the image until `lag` frames later."""
    names = keypoint_set(observed.keypoint_set).names
    columns = [i for i, name in enumerate(names) if name.startswith(side) and name.endswith(("toe", "heel"))]
    visible = observed.keypoint_confidence[:, columns] >= VISIBLE
    measured = visible.float().mean(0) > 0.5  # A detector may lack some of the three.
    points, seen = observed.keypoints[:, columns][:, measured], visible[:, measured]
    if not measured.any():
        return torch.zeros(max(len(observed) - lag, 0), dtype=torch.bool)
    middle = _smoothed(points.mean(1), _FOOT_SECONDS * observed.fps)
    moved = (middle[lag:] - middle[:-lag]).norm(dim=-1)
    still = moved < _MAX_FOOT_MOTION * 2 * observed.boxes[lag:, 2]
    whole = observed.frame_index[lag:] - observed.frame_index[:-lag] == lag
    return still & whole & seen.all(-1)[lag:] & seen.all(-1)[:-lag]


def _smoothed(values: Float[Tensor, "time channels"], half_width: float) -> Float[Tensor, "time channels"]:
    """Filter with a Hann window of a half width in frames; both ends continue as straight lines."""
    radius = min(round(half_width), len(values) - 1)
    if radius < 1:
        return values
    window = torch.hann_window(2 * radius + 3, periodic=False, dtype=values.dtype)[1:-1]
    before = 2 * values[:1] - values[1 : radius + 1].flip(0)
    after = 2 * values[-1:] - values[-radius - 1 : -1].flip(0)
    padded = torch.cat([before, values, after]).T.unsqueeze(1)
    return conv1d(padded, (window / window.sum())[None, None])[:, 0].T
