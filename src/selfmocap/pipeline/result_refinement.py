"""Refine the bodies of another system on observed keypoints, and keep the refinement only if held-out keypoints agree.

The steps are those of a capture after its network: direct fitting from the given bodies, selection by the held-out
error, and all frames in windows."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from selfmocap.adaptation.fit import REFINE, FitConfig, fit
from selfmocap.adaptation.objective import FittingData, heldout_reprojection_px, split_and_full
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera, project
from selfmocap.models.frame import FrameInputs
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.observations import Observations

MIN_BOX_OVERLAP = 0.3
"""Mean intersection over union of the boxes of a person of the result and the observed person that they are."""
_MIN_BOX_SIDE = 1.0
"""px."""


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
    start: BodyParameters,
    observations: Observations,
    camera: Camera,
    config: FitConfig | None = None,
) -> Refinement:
    """Fit the bodies `start` (camera frame) to observed keypoints.

    The fit without a tenth of the keypoints is compared with `start` on that tenth. Only if its error is smaller, the
    fit to all keypoints is kept."""
    config = config or FitConfig()
    split, full = fitting_data(observations, camera)
    start = BodyParameters(_spread(start.betas, len(observations)), start.R_parent_joint, start.p_world_root)

    def error_px(bodies: BodyParameters) -> float:
        return float(heldout_reprojection_px(body, bodies, split)[0])

    before, after = error_px(start), error_px(fit(body, start, split, config))
    if not after < before:
        return Refinement(replace(start, betas=start.betas[0]), False, before, before)
    fitted = fit(body, start, full, config)
    return Refinement(replace(fitted, betas=fitted.betas[0]), True, before, after)


def _spread(betas: Float[Tensor, "*#time betas"], frames: int) -> Float[Tensor, "time betas"]:
    return betas.expand(frames, -1).contiguous()


def fitting_data(observations: Observations, camera: Camera) -> tuple[FittingData, FittingData]:
    """Return the observations as data for fitting, with keypoints held out and in full. Fitting uses no network."""
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
    return split_and_full([(observed, inputs, observed.fps)])
