"""What adaptation and direct optimisation minimise: how far a body is from what was observed (Tung et al. 2017,
section 3.1), and how unlikely it is by itself."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, WITH_JOINTS, keypoint_set
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.geometry.tensors import joined, weighted_sum
from selfmocap.losses.pose_prior import PosePrior
from selfmocap.losses.reprojection import reproject
from selfmocap.losses.self_supervised import compare, robust_keypoint_loss
from selfmocap.models.frame import FrameInputs
from selfmocap.tracking.observations import Observations

_HALF_WEIGHT = ("eye", "ear")
"""Keypoints that a detector places by the look of a head, not by its bones."""
_ACCELERATION_SCALE_MM = 3.0
_REFERENCE_FPS = 30.0
_UNCHECKED = 0.3
"""A keypoint below this confidence proves nothing in the self-check."""

_MOST = 5.0
"""How many times more, or less, than those of the middle clip a clip's keypoints may count."""


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts; 0 leaves it out."""

    keypoints: float = 1.0
    """Mean over keypoints of the robust distance, px of the 128 px crop."""
    motion: float = 0.2
    """px."""
    segmentation: float = 0.02
    """px^2 at half resolution."""
    shape: float = 10.0
    """Squared distance of a frame's betas from its clip's."""
    betas: float = 0.2
    """Mean square of betas, of a frame, or in direct optimisation of a clip: without it depth drifts."""
    smoothness: float = 0.01
    """Charbonnier of joint accelerations, mm per frame^2 at 30 frames a second."""
    pose: float = 0.3
    """How unlikely the pose is, see `pose_prior.PosePrior`."""
    closeness: float = 0.0
    """Squared distance from the first answer's rotation matrices."""


KEPT_OUT = 0.1
"""Share of keypoints that is kept for the self-check, where there is one."""
KEYPOINTS_ALONE = LossWeights(motion=0.0, segmentation=0.0)
"""Without images: a step takes an eighth of the time."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The frames of one or several clips, in one row, and what is known of them."""

    seen: Observations
    """Confidences are weights, 0 where a keypoint is kept out: cube roots of a detector's, which doubts more what it
    cannot see than it errs there (docs/explanation/results.md)."""
    inputs: FrameInputs
    """What a network sees of the same frames."""
    clip: Int[Tensor, " time"]
    """To which clip each frame belongs; the frames of a clip follow each other."""
    has_next: Bool[Tensor, " time"]
    """Whether the next row is the next frame of the video."""
    fps: Float[Tensor, " time"]
    """Frames a second of each frame's video."""
    kept_out: Float[Tensor, "time keypoints"]
    """Confidence of the keypoints that no loss sees, for the self-check; 0 elsewhere."""

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, frames: Int[Tensor, " chosen"]) -> "Evidence":
        """Some frames; a flow or an acceleration that would reach over a gap in the choice is left out."""
        parts: dict[str, Any] = {f.name: getattr(self, f.name)[frames] for f in fields(self)}
        follows = torch.zeros_like(parts["has_next"])
        follows[:-1] = frames.diff() == 1
        parts["has_next"] = parts["has_next"] & follows
        return Evidence(**parts)


def of_each_clip(evidence: Evidence) -> list[Evidence]:
    """Every clip by itself."""
    alone = [evidence[(evidence.clip == clip).nonzero().squeeze(1)] for clip in evidence.clip.unique()]
    return [replace(one, clip=torch.zeros_like(one.clip)) for one in alone]


def gather_evidence(
    clips: Sequence[tuple[Observations, FrameInputs, float]], keep_out: float = 0.0, seed: int = 0
) -> Evidence:
    """One row of frames from clips of observations, network inputs and frames a second. A share `keep_out` of the
    keypoints, in runs of frames, is hidden from losses and network alike; all clips have the same keypoint set, which
    is the network's, or WITH_JOINTS for one that sees the first of these."""
    return _with_kept_out(_together(clips), keep_out, seed)


def checked_and_whole(clips: Sequence[tuple[Observations, FrameInputs, float]]) -> tuple[Evidence, Evidence]:
    """As `gather_evidence` with KEPT_OUT, and with nothing kept out; images are shared."""
    evidence = _together(clips)
    return _with_kept_out(evidence, KEPT_OUT), _with_kept_out(evidence, 0.0)


def evenly(evidence: Evidence, px: Float[Tensor, " clips"], power: float) -> Evidence:
    """The same, the keypoints of each clip counting by a power of how much nearer than in the middle clip those are
    that were kept out (`px`, of `self_check_px`; NaN is in the middle): else shared weights learn most from the errors
    of whoever is seen worst."""
    count = (px.nanmedian() / px).pow(power).nan_to_num(1.0).clamp(1 / _MOST, _MOST)
    confidence = evidence.seen.keypoint_confidence * count[evidence.clip, None]
    return replace(evidence, seen=replace(evidence.seen, keypoint_confidence=confidence))


def _together(clips: Sequence[tuple[Observations, FrameInputs, float]]) -> Evidence:
    return joined([_evidence(number, *clip) for number, clip in enumerate(clips)])


def _evidence(number: int, seen: Observations, inputs: FrameInputs, fps: float) -> Evidence:
    """A clip, all of whose keypoints could be kept out."""
    names = keypoint_set(seen.keypoint_set).names
    importance = torch.tensor([0.5 if any(part in name for part in _HALF_WEIGHT) else 1.0 for name in names])
    follows = torch.zeros(len(seen), dtype=torch.bool)
    follows[:-1] = seen.frame_index.diff() == 1
    return Evidence(
        seen=replace(seen, keypoint_confidence=seen.keypoint_confidence.pow(1 / 3) * importance),
        inputs=inputs,
        clip=torch.full((len(seen),), number),
        has_next=follows,
        fps=torch.full((len(seen),), fps),
        kept_out=seen.keypoint_confidence * importance,
    )


def _with_kept_out(evidence: Evidence, share: float, seed: int = 0) -> Evidence:
    """Runs of ten frames of a keypoint: single frames would be told by their neighbours, and a keypoint by the bone
    head below it, which is hidden with it."""
    random = torch.Generator().manual_seed(seed)
    parts = [name.removesuffix("_joint") for name in keypoint_set(evidence.seen.keypoint_set).names]
    places = list(dict.fromkeys(parts))
    runs = torch.rand((len(evidence) + 9) // 10, len(places), generator=random) < share
    hidden = runs.repeat_interleave(10, dim=0)[: len(evidence), [places.index(part) for part in parts]]
    return replace(
        evidence,
        seen=replace(evidence.seen, keypoint_confidence=evidence.seen.keypoint_confidence * ~hidden),
        inputs=_without(evidence.inputs, _seen_first(hidden, evidence)),
        kept_out=evidence.kept_out * hidden,
    )


def _without(inputs: FrameInputs, hidden: Bool[Tensor, "time keypoints"]) -> FrameInputs:
    deep = inputs.depth_confidence
    return replace(
        inputs,
        confidence=inputs.confidence * ~hidden,
        depth_confidence=None if deep is None else deep * ~hidden,
    )


def _seen_first(hidden: Bool[Tensor, "time keypoints"], evidence: Evidence) -> Bool[Tensor, "time seen"]:
    """Of the keypoints that the network sees: all, or the first ones of WITH_JOINTS."""
    count, name = evidence.inputs.confidence.shape[1], evidence.seen.keypoint_set
    if count != hidden.shape[1] and (name, count) != (WITH_JOINTS.name, len(DEFAULT_KEYPOINTS.names)):
        raise ValueError(
            f"a network that sees {count} keypoints, and {name} observed: observe what the network sees"
        )
    return hidden[:, :count]


def objective(
    body: Body,
    parameters: BodyParameters,
    evidence: Evidence,
    weights: LossWeights,
    shapes: Float[Tensor, "clips betas"] | None = None,
    first: Float[Tensor, "time 24 3 3"] | None = None,
) -> dict[str, Float[Tensor, " time"]]:
    """The terms with a weight, a value a frame, unweighted. `parameters` are in the camera frame. `shapes` are the
    clips' betas, to which each frame's are held; `first` the rotations of the first answer."""
    camera = _camera(evidence.inputs)
    images = (weights.motion and evidence.seen.flow is not None) or (
        weights.segmentation and evidence.seen.masks is not None
    )
    terms: dict[str, Tensor] = {}
    if images:
        projection = reproject(
            body, parameters, camera, evidence.seen.boxes, evidence.has_next, evidence.seen.keypoint_set
        )
        difference = compare(projection, evidence.seen)
        terms |= {
            "keypoints": difference.keypoints.mean(-1),
            "motion": difference.motion,
            "segmentation": difference.over + difference.under,
        }
    else:
        pixels = _keypoints_px(body, parameters, evidence)
        seen = to_crop(evidence.seen.keypoints, evidence.seen.boxes)
        terms["keypoints"] = robust_keypoint_loss(pixels, seen, evidence.seen.keypoint_confidence).mean(-1)
    if weights.smoothness:
        terms["smoothness"] = _roughness(body, parameters, evidence)
    if weights.pose:
        terms["pose"] = PosePrior.load().to(parameters.R_parent_joint)(parameters.R_parent_joint)
    terms["betas"] = parameters.betas.square().mean(-1)
    if shapes is not None:
        terms["shape"] = (parameters.betas - shapes[evidence.clip]).square().mean(-1)
    if first is not None:
        terms["closeness"] = (parameters.R_parent_joint - first).square().sum((-1, -2)).mean(-1)
    return {name: term for name, term in terms.items() if getattr(weights, name)}


def weighted(terms: dict[str, Float[Tensor, " time"]], weights: LossWeights) -> Float[Tensor, ""]:
    """The one number to minimise: the weighted sum of the terms' means."""
    return weighted_sum({name: term.mean() for name, term in terms.items()}, vars(weights))


def means_of_clips(
    values: Float[Tensor, "time n"], clip: Int[Tensor, " time"], counts: Float[Tensor, " time"]
) -> Float[Tensor, "clips n"]:
    """Per clip the mean of its frames' values, each frame as far as it `counts`."""
    clips, each = int(clip.max()) + 1, counts.unsqueeze(-1)
    sums = values.new_zeros(clips, values.shape[1]).index_add(0, clip, values * each)
    return sums / values.new_zeros(clips, 1).index_add(0, clip, each)


def self_check_px(body: Body, parameters: BodyParameters, evidence: Evidence) -> Float[Tensor, " clips"]:
    """Per clip, the robust distance of the keypoints that were kept out, px of the 128 px crop: the mean over those
    that were seen with some confidence; NaN where there are none."""
    with torch.no_grad():
        pixels = _keypoints_px(body, parameters, evidence)
        proof = torch.where(evidence.kept_out >= _UNCHECKED, evidence.kept_out, 0.0)
        losses = robust_keypoint_loss(pixels, to_crop(evidence.seen.keypoints, evidence.seen.boxes), proof)
        clips = int(evidence.clip.max()) + 1
        sums = torch.zeros(clips).to(losses).index_add(0, evidence.clip, losses.sum(-1))
        return sums / torch.zeros(clips).to(losses).index_add(0, evidence.clip, proof.sum(-1))


def _camera(inputs: FrameInputs) -> Camera:
    frames = len(inputs.focal)
    upright = torch.eye(3).to(inputs.focal).expand(frames, 3, 3)
    return Camera(inputs.focal, inputs.center, upright, torch.zeros(frames, 3).to(inputs.focal))


def _keypoints_px(
    body: Body, parameters: BodyParameters, evidence: Evidence
) -> Float[Tensor, "time keypoints 2"]:
    """Keypoints in the crop, without posing the whole surface."""
    name = evidence.seen.keypoint_set
    points = _points_of(body, name)
    keypoints = points.regressors[name].weights @ points.pose(parameters).vertices
    pixels = project(keypoints, evidence.inputs.focal, evidence.inputs.center)
    return to_crop(pixels, evidence.seen.boxes)


@functools.lru_cache(maxsize=4)
def _points_of(body: Body, name: str) -> Body:
    """Made once: a sum over the vertices of each keypoint."""
    return body.condensed(name)


def _roughness(body: Body, parameters: BodyParameters, evidence: Evidence) -> Float[Tensor, " time"]:
    """Charbonnier of the joints' accelerations from the frame before and to the frame after, mean over joints.

    It pulls at the motion alone. A smaller body that is nearer moves less for the same picture, and depth would drift:
    so the shape is taken as given, and the root's path in directions and log depth, times the depth as given."""
    joints = body.shape(parameters.betas.detach()).joints
    place = torch.zeros_like(parameters.p_world_root)
    _, limbs = forward_kinematics(parameters.R_parent_joint, joints, place)
    depth = parameters.p_world_root[..., 2:]
    path = torch.cat([parameters.p_world_root[..., :2] / depth, depth.log()], dim=-1)
    acceleration = limbs.diff(n=2, dim=0) + (depth[1:-1].detach() * path.diff(n=2, dim=0)).unsqueeze(-2)
    a_mm = 1000 * acceleration * (evidence.fps[1:-1, None, None] / _REFERENCE_FPS) ** 2
    squared = a_mm.square().sum(-1) / _ACCELERATION_SCALE_MM**2
    rough = (_ACCELERATION_SCALE_MM * squared / ((1 + squared).sqrt() + 1)).mean(-1)
    follows = evidence.has_next[:-2] & evidence.has_next[1:-1]
    padded = torch.zeros(len(limbs)).to(limbs)
    padded[1:-1] = torch.where(follows, rough, 0.0)
    return padded
