"""Refine the bodies of another system on observed keypoints, and keep the refinement only if held-out keypoints agree.

The steps are those of a capture after its network: direct fitting from the given bodies, selection by the held-out
error on a sample of the frames, and all frames in windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from selfmocap.adaptation.fit import FitConfig, fit, rescale_depth_for_shape, select_frames
from selfmocap.adaptation.objective import (
    FittingData,
    gather_fitting_data,
    heldout_reprojection_px,
    split_and_full,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import NEAREST_DEPTH, Camera, project
from selfmocap.geometry.tensors import concat
from selfmocap.models.frame import FrameInputs
from selfmocap.pipeline.samples import SAMPLE_BLOCK
from selfmocap.pipeline.solve import REFINE_WINDOW, WINDOW_OVERLAP, append_blended
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.observations import Observations, spread_rows

MIN_BOX_OVERLAP = 0.3
"""Smallest mean intersection over union of the boxes of a person of a result and of an observed person who are the
same."""
_RAY_NOISE = 0.1
"""Distance of a point of the body from the ray of its keypoint at which its weight is halved, metres."""
_PLACING_PRIOR = 1e-3
"""Weight of the given position, relative to that of a certain keypoint."""
_PLACING_ITERATIONS = 8
_POSE_LOG_ERROR, _MIN_RATIO = 0.1, 0.1
"""Error of the logarithm of the ratio by poses that are wrong by 0.25 rad a joint; least ratio."""
_SAMPLE_FRAMES = 600
"""Frames on which the refinement is compared with the given bodies."""


@dataclass(frozen=True, eq=False)
class GivenBodies:
    """One person of a result as the video's camera sees them."""

    frame_index: Int[Tensor, " time"]
    bodies: BodyParameters
    """In the camera frame; one shape."""
    pixels: Float[Tensor, "time 23 2"]
    """The COCO-23 points in the image, px."""

    def at(self, frame_index: Int[Tensor, " frames"]) -> BodyParameters:
        """Return the bodies of some of the frames."""
        return self.bodies[torch.searchsorted(self.frame_index, frame_index)]


def in_camera(motion: Motion, camera: Camera, image_size: tuple[int, int]) -> GivenBodies:
    """Place the bodies of a motion before another camera, so that each pelvis keeps its pixel and the person their size
    in the image: distances are in proportion to the focal length. `image_size` is the video's, of whose images the
    result may have seen smaller ones. Raises ValueError for a person who is not in front of the camera."""
    ratio = image_size[0] / motion.image_size[0]
    focal, center = motion.camera.focal * ratio, (motion.camera.center + 0.5) * ratio - 0.5
    p_cam = motion.joints_cam[:, 0]
    if (hidden := motion.frame_index[p_cam[:, 2] < NEAREST_DEPTH]).numel():
        raise ValueError(
            f"a person of the result is at or behind the camera in frame {int(hidden[0])}, expected in front of it; "
            "run the system again"
        )
    depth = p_cam[:, 2:] * (camera.focal.mean() / focal.mean())
    pixels = focal * p_cam[:, :2] / p_cam[:, 2:] + center
    moved = torch.cat([(pixels - camera.center) / camera.focal * depth, depth], dim=-1)
    R = motion.parameters.R_parent_joint.clone()
    R[:, 0] = motion.camera.R_cam_world @ R[:, 0]
    points = motion.keypoints_cam - p_cam[:, None] + moved[:, None]
    return GivenBodies(
        motion.frame_index,
        BodyParameters(motion.parameters.betas, R, moved),
        project(points, camera.focal, camera.center),
    )


# ---- the same people -------------------------------------------------------------------------------------------


def match_people(given: Sequence[GivenBodies], observed: Sequence[Observations]) -> list[tuple[int, int]]:
    """Assign people of a result to observed people, so that the sum over frames of the overlap of their boxes is
    largest. Pairs with a mean overlap below MIN_BOX_OVERLAP are left out."""
    overlaps = [[_box_overlaps(one, other) for other in observed] for one in given]
    gain = torch.tensor([[float(overlap.sum()) for overlap in row] for row in overlaps])
    pairs = zip(*linear_sum_assignment(-gain.numpy()), strict=True)
    return [
        (int(one), int(other))
        for one, other in pairs
        if len(overlap := overlaps[one][other]) and float(overlap.mean()) >= MIN_BOX_OVERLAP
    ]


def _box_overlaps(given: GivenBodies, observed: Observations) -> Float[Tensor, " frames"]:
    """Compute the intersection over union of the boxes around visible keypoints, in the frames of both."""
    observed = observed.in_set(DEFAULT_KEYPOINTS.name)
    visible = observed.keypoint_confidence >= VISIBLE
    both = torch.isin(observed.frame_index, given.frame_index) & (visible.sum(1) > 1)
    rows = torch.searchsorted(given.frame_index, observed.frame_index[both])
    a, b = _boxes(given.pixels[rows], visible[both]), _boxes(observed.keypoints[both], visible[both])
    low, high = torch.maximum(a[0], b[0]), torch.minimum(a[1], b[1])
    common = (high - low).clamp_min(0).prod(-1)
    areas = [(box[1] - box[0]).prod(-1) for box in (a, b)]
    return common / (sum(areas, torch.zeros(())) - common).clamp_min(1e-6)


def _boxes(points: Float[Tensor, "frames 23 2"], visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners of the boxes around the same keypoints of each frame."""
    hidden = ~visible[..., None]
    return points.masked_fill(hidden, torch.inf).amin(1), points.masked_fill(hidden, -torch.inf).amax(1)


# ---- fitting ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Refinement:
    """The bodies of one person in the camera frame, in all given frames, with one shape."""

    bodies: BodyParameters
    refined: bool
    """False: the bodies are the given ones, because held-out keypoints agree with them better."""
    before_px: float
    """Held-out error of the given bodies, px of the 128 px crop; NaN without held-out keypoints."""
    after_px: float
    """Held-out error of the kept bodies."""


def refine_bodies(
    body: Body,
    given: BodyParameters,
    observations: Observations,
    camera: Camera,
    config: FitConfig | None = None,
) -> Refinement:
    """Fit the bodies `given` (camera frame, one shape) to observed keypoints.

    The fit without a tenth of the keypoints is compared with the given bodies on that tenth. Only if its error is
    smaller, the fit to all keypoints is kept."""
    config = config or FitConfig()
    rows = spread_rows(len(observations), _SAMPLE_FRAMES, SAMPLE_BLOCK)
    split, full = split_and_full([clip_for_fitting(observations[rows], camera)])
    fitted, better, before, after = fit_if_better(
        body, _with_betas_by_frame(given[rows]), split, full, config
    )
    if not better.item():
        return Refinement(given, False, before.item(), after.item())
    if len(observations) > REFINE_WINDOW:
        fitted = _fit_windows(body, given, observations, camera, fitted.betas[0], config)
    return Refinement(replace(fitted, betas=fitted.betas[0]), True, before.item(), after.item())


def fit_if_better(
    body: Body, start: BodyParameters, split: FittingData, full: FittingData, config: FitConfig
) -> tuple[BodyParameters, Bool[Tensor, " clips"], Float[Tensor, " clips"], Float[Tensor, " clips"]]:
    """Fit the bodies of some clips, and keep `start` for those whose held-out error a fit to `split` does not lower.

    Returns the bodies, which clips are fitted, and the held-out errors of `start` and of the kept bodies, px of the 128
    px crop."""
    before = heldout_reprojection_px(body, start, split)
    after = heldout_reprojection_px(body, fit(body, place(body, start, split), split, config), split)
    better = after < before
    if not better.any():
        return start, better, before, before
    fitted = select_frames(better[full.clip], fit(body, place(body, start, full), full, config), start)
    return fitted, better, before, torch.where(better, after, before)


def place(body: Body, bodies: BodyParameters, data: FittingData) -> BodyParameters:
    """Move bodies, in their poses, to where the keypoints see them: robust least squares with Cauchy weights.

    In each frame the position is determined by the rays through the keypoints. Of its distance, only the median ratio
    to the given distance is used, for the whole clip, because a wrong pose changes it from frame to frame; and of that
    only what exceeds the error that wrong poses cause. Direct fitting alone does not correct it: the losses of far
    keypoints are flat, and it changes the pose instead."""
    name = data.observations.keypoint_set
    points = body.keypoint_proxy(name)
    at_origin = replace(bodies, p_world_root=torch.zeros_like(bodies.p_world_root))
    with torch.no_grad():
        offsets = points.regressors[name].weights @ points.pose(at_origin).vertices
    inputs, given = data.inputs, bodies.p_world_root
    rays = (data.observations.keypoints - inputs.center[:, None]) / inputs.focal[:, None]
    sideways = rays * offsets[..., 2:] - offsets[..., :2]
    design = torch.zeros(*rays.shape, 3)
    design[..., 0, 0] = design[..., 1, 1] = 1.0
    design[..., 2] = -rays
    p, weight = given, data.observations.keypoint_confidence
    for _ in range(_PLACING_ITERATIONS):
        residual = (design @ p[:, None, :, None])[..., 0] - sideways
        weight = data.observations.keypoint_confidence / (1 + (residual.norm(dim=-1) / _RAY_NOISE) ** 2)
        weighted = design * weight[..., None, None]
        normal = torch.einsum("tkai,tkaj->tij", weighted, design) + _PLACING_PRIOR * torch.eye(3)
        right = torch.einsum("tkai,tka->ti", weighted, sideways) + _PLACING_PRIOR * given
        p = torch.linalg.solve(normal, right)
    by_frame = (p / given)[:, 2].clamp_min(_MIN_RATIO).log()
    by_clip = torch.stack([by_frame[data.clip == clip].median() for clip in data.clip.unique()])
    ratio = torch.nn.functional.softshrink(by_clip, _POSE_LOG_ERROR).exp()[data.clip]
    depth = given[:, 2:] * ratio[:, None]
    sums = (weight[..., None] * (rays * depth[:, None] + sideways)).sum(1) + _PLACING_PRIOR * given[:, :2]
    across = sums / (weight.sum(1, keepdim=True) + _PLACING_PRIOR)
    return replace(bodies, p_world_root=torch.cat([across, depth], dim=-1))


def _fit_windows(
    body: Body,
    given: BodyParameters,
    observations: Observations,
    camera: Camera,
    betas: Float[Tensor, " betas"],
    config: FitConfig,
) -> BodyParameters:
    """Fit all frames with a fixed shape, a window at a time; overlapping windows are blended."""
    whole = gather_fitting_data([clip_for_fitting(observations, camera)])
    start = rescale_depth_for_shape(body, _with_betas_by_frame(given), betas.expand(len(whole), -1))
    start = place(body, start, whole)
    parts: list[BodyParameters] = []
    for done in range(0, len(whole), REFINE_WINDOW):
        rows = torch.arange(max(done - WINDOW_OVERLAP, 0), min(done + REFINE_WINDOW, len(whole)))
        fitted = fit(body, start[rows], whole[rows], replace(config, free_shape=False))
        parts = append_blended(parts, fitted, done - int(rows[0]))
    return concat(parts)


def _with_betas_by_frame(bodies: BodyParameters) -> BodyParameters:
    return replace(bodies, betas=bodies.betas.expand(len(bodies.p_world_root), -1).contiguous())


def clip_for_fitting(observations: Observations, camera: Camera) -> tuple[Observations, FrameInputs, float]:
    """Return observations, inputs and frame rate as `gather_fitting_data` takes them. Fitting uses no network."""
    observed = observations.in_set(DEFAULT_KEYPOINTS.name)
    frames = len(observed)
    inputs = FrameInputs(
        crops=None,
        keypoints=observed.keypoints,
        confidence=observed.keypoint_confidence,
        boxes=observed.boxes,
        focal=camera.focal.to(observed.boxes).expand(frames, 2),
        center=camera.center.to(observed.boxes).expand(frames, 2),
    )
    return observed, inputs, observed.fps
