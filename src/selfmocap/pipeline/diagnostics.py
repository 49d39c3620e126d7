"""How well a motion explains what was seen, for `report.json`."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import CROP_SIZE, project, to_crop
from selfmocap.geometry.tensors import runs_between
from selfmocap.losses.reprojection import body_mask, consecutive, reproject
from selfmocap.losses.self_supervised import compare, overlap, robust_keypoint_loss
from selfmocap.pipeline.postprocessing.smoothness_metrics import smoothness_metrics
from selfmocap.pipeline.samples import CapturedPerson, spread_rows
from selfmocap.tracking.observations import Observations, load_rows

_MOST, _BLOCK = 120, 10
"""Frames of which masks and flow are compared, and how many of them follow each other."""
_FAR_PX, _HARDLY = 8.0, 0.3
"""A frame is not to be trusted whose keypoints are this far off, or seen with less confidence than this."""
_STILL = 0.01
"""Of the image's diagonal a second: a background that moves less stands still."""


def motion_diagnostics(motion: Motion, person: CapturedPerson, body: Body) -> dict[str, float | None]:
    """`keypoint_px` (robust, weighted by confidence, px of the 128 px crop), over all frames; `mask_iou` and `flow_px`
    (px of the crop a frame) over some, None where nothing of the kind was measured; steadiness."""
    px, confidence = residuals_px(motion, person.seen)
    rows = spread_rows(len(person.seen), _MOST, _BLOCK)
    iou, flow_px = _images(motion, load_rows(person.observations, rows), body)
    return {
        "keypoint_px": _rounded((px * confidence).sum() / confidence.sum()),
        "mask_iou": _rounded(iou),
        "flow_px": _rounded(flow_px),
        **{name: _rounded(torch.tensor(value)) for name, value in smoothness_metrics(motion).items()},
    }


def residuals_px(motion: Motion, seen: Observations) -> tuple[Float[Tensor, " time"], Float[Tensor, " time"]]:
    """For each frame of the motion the robust distance of its keypoints from those seen, px of the crop, weighted by
    their confidence, and that confidence, summed; both 0 where nothing was seen."""
    seen = seen.in_set(DEFAULT_KEYPOINTS.name)
    rows = torch.searchsorted(seen.frame_index, motion.frame_index).clamp(max=len(seen) - 1)
    here = seen.frame_index[rows] == motion.frame_index
    confidence = torch.where(here[:, None], seen.keypoint_confidence[rows], 0.0)
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    boxes = seen.boxes[rows]
    losses = robust_keypoint_loss(
        to_crop(pixels, boxes), to_crop(seen.keypoints[rows], boxes), confidence
    ).sum(-1)
    total = confidence.sum(-1)
    return losses / torch.where(total > 0, total, 1.0), total


def low_confidence_ranges(motion: Motion, seen: Observations) -> list[tuple[int, int, str]]:
    """First and last frame (of the video) of every run of frames that are not to be trusted, and why."""
    px, _ = residuals_px(motion, seen)
    reasons = {
        "not seen: filled in between the frames around": motion.filled,
        "hardly seen": ~motion.filled & (motion.confidence < _HARDLY),
        "far from the keypoints that were seen": px > _FAR_PX,
    }
    found = []
    for why, flags in reasons.items():
        index = motion.frame_index[flags]
        if len(index):
            runs = runs_between(index.diff() > 1)
            found += [(int(index[first]), int(index[end - 1]), why) for first, end in runs]
    return sorted(found)


def background_speed(person: CapturedPerson) -> float | None:
    """How fast the background moves in the image behind a person, in diagonals of the image a second; None where no
    flow was measured. Camera shake that goes to and fro does not count."""
    seen = load_rows(person.observations, spread_rows(len(person.seen), _MOST, _BLOCK))
    if seen.flow is None or seen.masks is None:
        return None
    behind = ~seen.masks
    if seen.flow_confidence is not None:
        behind &= seen.flow_confidence > 0.5
    steps = torch.stack([_median(flow[where]) for flow, where in zip(seen.flow, behind, strict=True)])
    steps = steps * (2 * seen.boxes[:, 2:] / CROP_SIZE)
    known = steps.isfinite().all(-1)
    if not known.any():
        return None
    blocks = [block.nan_to_num().mean(0) for block in steps.split(_BLOCK)]
    diagonal = torch.tensor(person.seen.image_size).float().norm()
    return float(torch.stack(blocks).norm(dim=-1).median() * person.seen.fps / diagonal)


def is_camera_static(speeds: list[float | None]) -> bool:
    """Whether the camera does, by the `background_speed` behind each person; it is believed to where nobody knows."""
    known = torch.tensor([speed for speed in speeds if speed is not None])
    return not len(known) or bool(known.median() < _STILL)


def _median(flow: Float[Tensor, "pixels 2"]) -> Float[Tensor, "2"]:
    return flow.median(0).values if len(flow) >= CROP_SIZE else torch.full((2,), torch.nan)


def _images(motion: Motion, seen: Observations, body: Body) -> tuple[Tensor, Tensor]:
    """Mean overlap of masks, and mean difference of flow; NaN where there are none."""
    seen = seen.in_set(DEFAULT_KEYPOINTS.name)
    here = motion[torch.isin(motion.frame_index, seen.frame_index)]
    overlaps, flows = [], []
    for rows in torch.arange(len(here)).split(_BLOCK):
        part, of_seen = here[rows], seen[rows]
        if of_seen.masks is not None:
            certain = torch.ones_like(of_seen.masks) if of_seen.mask_certain is None else of_seen.mask_certain
            drawn = body_mask(body, part.parameters, part.camera, of_seen.boxes)
            overlaps.append(
                overlap((drawn & certain).float(), of_seen.masks & certain)[of_seen.masks.any(-1).any(-1)]
            )
        if of_seen.flow is not None:
            follows = consecutive(part.frame_index)
            with torch.no_grad():
                projection = reproject(
                    body, part.parameters, part.camera, of_seen.boxes, follows, DEFAULT_KEYPOINTS.name
                )
            flows.append(compare(projection, replace(of_seen, masks=None)).motion[follows])
    nothing = torch.zeros(0)
    return torch.cat([nothing, *overlaps]).mean(), torch.cat([nothing, *flows]).mean()


def _rounded(value: Tensor) -> float | None:
    return round(float(value), 4) if value.isfinite() else None
