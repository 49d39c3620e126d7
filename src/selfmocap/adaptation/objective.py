"""The objective of adaptation and direct fitting: the distance of a body from the observations (Tung et al. 2017,
section 3.1), and how implausible its pose, shape and motion are."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.hinges import REFERENCE_FPS, flexion_deg
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, WITH_JOINTS, keypoint_set
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.geometry.tensors import concat, weighted_sum
from selfmocap.losses.pose_prior import PosePrior
from selfmocap.losses.reprojection import reproject
from selfmocap.losses.self_supervised import compare, robust_keypoint_loss
from selfmocap.models.frame import FrameInputs
from selfmocap.tracking.confidence import VISIBLE, loss_weight
from selfmocap.tracking.observations import Observations

HELD_OUT_FRACTION = 0.1
"""Fraction of the keypoints that is held out of the losses to check an adapted network."""
_RUN_FRAMES = 10
"""Length of the runs of frames in which a keypoint is held out."""
_HALF_WEIGHT = ("eye", "ear")
"""Keypoints that a detector finds by the appearance of a head, not by its bones."""
_ACCELERATION_SCALE_MM = 3.0
_FREE_FLEXION_ACCELERATION_DEG = 5.0
"""Degrees per frame^2 at 30 frames a second. Knees and elbows of people seldom exceed it."""
_MAX_CLIP_WEIGHT = 5.0
"""Greatest factor, and inverse of the smallest, by which `balance_clips` scales the confidence of a clip."""

StepCallback = Callable[[int, int, float], None]
"""Called after each step with the steps done, their total, and the loss."""


def no_step_callback(step: int, steps: int, loss: float) -> None:
    """Ignore the step."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the objective; 0 leaves a term out."""

    keypoints: float = 1.0
    """Mean over keypoints of the robust distance, px of the 128 px crop."""
    motion: float = 0.2
    """Distance from the optical flow, px."""
    segmentation: float = 0.02
    """px^2 at half resolution."""
    shape: float = 10.0
    """Squared distance of a frame's betas from its clip's."""
    betas: float = 0.2
    """Mean square of the betas: of a frame, or of a clip in direct fitting. Without it depth drifts."""
    smoothness: float = 0.01
    """Charbonnier penalty of joint accelerations, mm per frame^2 at 30 frames a second."""
    flexion: float = 0.0
    """Squared excess of the accelerations of knees and elbows, (degrees per frame^2 at 30 frames a second)^2."""
    pose: float = 0.3
    """Negative log-likelihood of the pose, see `pose_prior.PosePrior`."""
    closeness: float = 0.0
    """Squared distance from the rotation matrices of the first estimate."""


KEYPOINTS_ONLY = LossWeights(motion=0.0, segmentation=0.0)
"""Without images; a step takes an eighth of the time."""


@dataclass(frozen=True, eq=False)
class FittingData:
    """The observed frames of one or several clips, concatenated."""

    observations: Observations
    """Keypoint confidences are loss weights, 0 where a keypoint is held out. See `loss_weight`."""
    inputs: FrameInputs
    """The network's inputs for the same frames."""
    clip: Int[Tensor, " time"]
    """Number of each frame's clip, ascending from 0."""
    has_next: Bool[Tensor, " time"]
    """True where the next row is the next frame of the same video."""
    fps: Float[Tensor, " time"]
    """Frames a second of each frame's video."""
    held_out: Float[Tensor, "time keypoints"]
    """Confidence of the keypoints that are hidden from the network and from all losses; 0 elsewhere."""

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, frames: Int[Tensor, " chosen"]) -> "FittingData":
        """Select frames. `has_next` becomes false where the selection skips a frame."""
        parts: dict[str, Any] = {f.name: getattr(self, f.name)[frames] for f in fields(self)}
        follows = torch.zeros_like(parts["has_next"])
        follows[:-1] = frames.diff() == 1
        parts["has_next"] = parts["has_next"] & follows
        return FittingData(**parts)

    def to(self, device: torch.device) -> "FittingData":
        """Return a copy on another device."""
        return FittingData(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def select_clip(data: FittingData, number: int) -> FittingData:
    """Select the frames of one clip, which becomes clip 0."""
    one = data[(data.clip == number).nonzero().squeeze(1)]
    return replace(one, clip=torch.zeros_like(one.clip))


def split_clips(data: FittingData) -> list[FittingData]:
    """Split the data into its clips."""
    return [select_clip(data, int(number)) for number in data.clip.unique()]


def gather_fitting_data(
    clips: Sequence[tuple[Observations, FrameInputs, float]], held_out_fraction: float = 0.0, seed: int = 0
) -> FittingData:
    """Concatenate clips, given as observations, network inputs and frames a second, and hold out a fraction of the
    keypoints.

    All clips have one keypoint set: the network's, or WITH_JOINTS for a network whose set is the first part of it.
    Raises ValueError for any other set."""
    return _hold_out(_concat_clips(clips), held_out_fraction, seed)


def split_and_full(
    clips: Sequence[tuple[Observations, FrameInputs, float]],
) -> tuple[FittingData, FittingData]:
    """Gather clips twice: with HELD_OUT_FRACTION of the keypoints held out, and with none. Images are shared."""
    data = _concat_clips(clips)
    return _hold_out(data, HELD_OUT_FRACTION), _hold_out(data, 0.0)


def balance_clips(data: FittingData, px: Float[Tensor, " clips"], power: float) -> FittingData:
    """Scale each clip's keypoint confidence by (median held-out error / own held-out error) ** power, so that badly
    detected clips do not dominate the shared weights.

    `px` are the errors of `heldout_reprojection_px`; a clip with NaN keeps its confidence."""
    factor = (px.nanmedian() / px).pow(power).nan_to_num(1.0).clamp(1 / _MAX_CLIP_WEIGHT, _MAX_CLIP_WEIGHT)
    confidence = data.observations.keypoint_confidence * factor[data.clip, None]
    return replace(data, observations=replace(data.observations, keypoint_confidence=confidence))


def _concat_clips(clips: Sequence[tuple[Observations, FrameInputs, float]]) -> FittingData:
    return concat([_clip_data(number, *clip) for number, clip in enumerate(clips)])


def _clip_data(number: int, observations: Observations, inputs: FrameInputs, fps: float) -> FittingData:
    """Return the data of a clip with `held_out` set for every keypoint; `_hold_out` clears it for most of them."""
    names = keypoint_set(observations.keypoint_set).names
    importance = torch.tensor([0.5 if any(part in name for part in _HALF_WEIGHT) else 1.0 for name in names])
    follows = torch.zeros(len(observations), dtype=torch.bool)
    follows[:-1] = observations.frame_index.diff() == 1
    confidence = observations.keypoint_confidence
    return FittingData(
        observations=replace(observations, keypoint_confidence=loss_weight(confidence) * importance),
        inputs=inputs,
        clip=torch.full((len(observations),), number),
        has_next=follows,
        fps=torch.full((len(observations),), fps),
        held_out=confidence * importance,
    )


def _hold_out(data: FittingData, fraction: float, seed: int = 0) -> FittingData:
    """Hold out runs of frames of random keypoints, since a single frame could be interpolated from its neighbours. A
    keypoint and the joint of the same name are held out together, since either predicts the other."""
    generator = torch.Generator().manual_seed(seed)
    parts = [name.removesuffix("_joint") for name in keypoint_set(data.observations.keypoint_set).names]
    groups = list(dict.fromkeys(parts))
    num_runs = (len(data) + _RUN_FRAMES - 1) // _RUN_FRAMES
    runs = torch.rand(num_runs, len(groups), generator=generator) < fraction
    columns = [groups.index(part) for part in parts]
    hidden = runs.repeat_interleave(_RUN_FRAMES, dim=0)[: len(data), columns]
    confidence = data.observations.keypoint_confidence * ~hidden
    return replace(
        data,
        observations=replace(data.observations, keypoint_confidence=confidence),
        inputs=_hide_inputs(data.inputs, _network_columns(hidden, data)),
        held_out=data.held_out * hidden,
    )


def _hide_inputs(inputs: FrameInputs, hidden: Bool[Tensor, "time keypoints"]) -> FrameInputs:
    depth_confidence = inputs.depth_confidence
    return replace(
        inputs,
        confidence=inputs.confidence * ~hidden,
        depth_confidence=None if depth_confidence is None else depth_confidence * ~hidden,
    )


def _network_columns(
    hidden: Bool[Tensor, "time keypoints"], data: FittingData
) -> Bool[Tensor, "time network_keypoints"]:
    """Select the columns of the network's keypoints: all, or the first ones of WITH_JOINTS."""
    count, name = data.inputs.confidence.shape[1], data.observations.keypoint_set
    if count != hidden.shape[1] and (name, count) != (WITH_JOINTS.name, len(DEFAULT_KEYPOINTS.names)):
        raise ValueError(
            f"the network expects {count} keypoints, the observations use {name!r}; "
            "convert them with Observations.in_set()"
        )
    return hidden[:, :count]


def objective(
    body: Body,
    parameters: BodyParameters,
    data: FittingData,
    weights: LossWeights,
    shapes: Float[Tensor, "clips betas"] | None = None,
    first: Float[Tensor, "time 24 3 3"] | None = None,
) -> dict[str, Float[Tensor, " time"]]:
    """Compute the terms whose weight is not 0, one value per frame, unweighted.

    `parameters` are in the camera frame. `shapes` are the clips' betas for the term `shape`, and `first` the rotations
    of the first estimate for the term `closeness`."""
    observations = data.observations
    camera = _camera(data.inputs)
    images = (weights.motion and observations.flow is not None) or (
        weights.segmentation and observations.masks is not None
    )
    terms: dict[str, Tensor] = {}
    if images:
        projection = reproject(
            body, parameters, camera, observations.boxes, data.has_next, observations.keypoint_set
        )
        difference = compare(projection, observations)
        terms |= {
            "keypoints": difference.keypoints.mean(-1),
            "motion": difference.motion,
            "segmentation": difference.over + difference.under,
        }
    else:
        pixels = _keypoints_px(body, parameters, data)
        observed = to_crop(observations.keypoints, observations.boxes)
        terms["keypoints"] = robust_keypoint_loss(pixels, observed, observations.keypoint_confidence).mean(-1)
    if weights.smoothness or weights.flexion:
        limbs = _joints_from_root(body, parameters)
        terms["smoothness"] = _acceleration_penalty(limbs, parameters, data)
        terms["flexion"] = _flexion_penalty(limbs, data)
    if weights.pose:
        terms["pose"] = PosePrior.load().to(parameters.R_parent_joint)(parameters.R_parent_joint)
    terms["betas"] = parameters.betas.square().mean(-1)
    if shapes is not None:
        terms["shape"] = (parameters.betas - shapes[data.clip]).square().mean(-1)
    if first is not None:
        terms["closeness"] = (parameters.R_parent_joint - first).square().sum((-1, -2)).mean(-1)
    return {name: term for name, term in terms.items() if getattr(weights, name)}


def total_loss(terms: dict[str, Float[Tensor, " time"]], weights: LossWeights) -> Float[Tensor, ""]:
    """Compute the weighted sum of the terms' means over frames."""
    return weighted_sum({name: term.mean() for name, term in terms.items()}, vars(weights))


def clip_means(
    values: Float[Tensor, "time n"], clip: Int[Tensor, " time"], weights: Float[Tensor, " time"]
) -> Float[Tensor, "clips n"]:
    """Compute the weighted mean of each clip's frames."""
    clips, each = int(clip.max()) + 1, weights.unsqueeze(-1)
    sums = values.new_zeros(clips, values.shape[1]).index_add(0, clip, values * each)
    return sums / values.new_zeros(clips, 1).index_add(0, clip, each)


def heldout_reprojection_px(
    body: Body, parameters: BodyParameters, data: FittingData
) -> Float[Tensor, " clips"]:
    """Compute the robust distance of each clip's held-out keypoints, px of the 128 px crop: the mean, weighted by
    confidence, over those with a confidence of at least VISIBLE; NaN for a clip without any."""
    with torch.no_grad():
        pixels = _keypoints_px(body, parameters, data)
        confidence = torch.where(data.held_out >= VISIBLE, data.held_out, 0.0)
        observed = to_crop(data.observations.keypoints, data.observations.boxes)
        losses = robust_keypoint_loss(pixels, observed, confidence)
        clips = int(data.clip.max()) + 1
        sums = torch.zeros(clips).to(losses).index_add(0, data.clip, losses.sum(-1))
        return sums / torch.zeros(clips).to(losses).index_add(0, data.clip, confidence.sum(-1))


def _camera(inputs: FrameInputs) -> Camera:
    """Return the camera frame's own camera for each frame."""
    frames = len(inputs.focal)
    identity = torch.eye(3).to(inputs.focal).expand(frames, 3, 3)
    return Camera(inputs.focal, inputs.center, identity, torch.zeros(frames, 3).to(inputs.focal))


def _keypoints_px(
    body: Body, parameters: BodyParameters, data: FittingData
) -> Float[Tensor, "time keypoints 2"]:
    """Project the body's keypoints into the crop without posing the whole surface."""
    name = data.observations.keypoint_set
    points = _keypoint_proxy(body, name)
    keypoints = points.regressors[name].weights @ points.pose(parameters).vertices
    pixels = project(keypoints, data.inputs.focal, data.inputs.center)
    return to_crop(pixels, data.observations.boxes)


@functools.lru_cache(maxsize=4)
def _keypoint_proxy(body: Body, name: str) -> Body:
    """Cache `Body.keypoint_proxy`, which sums over the vertices of each keypoint."""
    return body.keypoint_proxy(name)


def _joints_from_root(body: Body, parameters: BodyParameters) -> Float[Tensor, "time 24 3"]:
    """Compute the joints with the root at the origin. The shape is detached: a smaller body moves less."""
    joints = body.shape(parameters.betas.detach()).joints
    return forward_kinematics(parameters.R_parent_joint, joints, torch.zeros_like(parameters.p_world_root))[1]


def _acceleration_penalty(
    limbs: Float[Tensor, "time 24 3"], parameters: BodyParameters, data: FittingData
) -> Float[Tensor, " time"]:
    """Compute the Charbonnier penalty of the joints' accelerations over three successive frames, mean over joints.

    `limbs` are the `_joints_from_root`. The gradient reaches the motion alone. A nearer body moves less for the same
    image, so that depth would drift. Therefore the root's path is taken as direction and log depth, times the detached
    depth."""
    depth = parameters.p_world_root[..., 2:]
    path = torch.cat([parameters.p_world_root[..., :2] / depth, depth.log()], dim=-1)
    acceleration = limbs.diff(n=2, dim=0) + (depth[1:-1].detach() * path.diff(n=2, dim=0)).unsqueeze(-2)
    a_mm = 1000 * acceleration * (data.fps[1:-1, None, None] / REFERENCE_FPS) ** 2
    squared = a_mm.square().sum(-1) / _ACCELERATION_SCALE_MM**2
    penalty = (_ACCELERATION_SCALE_MM * squared / ((1 + squared).sqrt() + 1)).mean(-1)
    return _at_middle_frames(penalty, data)


def _flexion_penalty(limbs: Float[Tensor, "time 24 3"], data: FittingData) -> Float[Tensor, " time"]:
    """Compute the squared excess of the hinges' acceleration over what muscles do, mean over hinges.

    A leg that is hidden for a moment is else bent and straightened within a frame by a detector's guesses. The gradient
    reaches the motion alone; `limbs` are the `_joints_from_root`."""
    acceleration = flexion_deg(limbs).diff(n=2, dim=0) * (data.fps[1:-1, None] / REFERENCE_FPS) ** 2
    excess = (acceleration.abs() - _FREE_FLEXION_ACCELERATION_DEG).clamp_min(0)
    return _at_middle_frames(excess.square().mean(-1), data)


def _at_middle_frames(penalty: Float[Tensor, " inner"], data: FittingData) -> Float[Tensor, " time"]:
    """Return the penalty of each three successive frames at the middle one; 0 at others."""
    follows = data.has_next[:-2] & data.has_next[1:-1]
    padded = torch.zeros(len(data)).to(penalty)
    padded[1:-1] = torch.where(follows, penalty, 0.0)
    return padded
