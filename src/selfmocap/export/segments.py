"""Split a motion at long gaps into segments, at the observed frames or at a constant rate.

Most formats have one frame rate and no gaps. A gap longer than LONGEST_GAP splits the motion: each segment becomes a
file. No frame is held or invented in a gap.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import BodyParameters
from selfmocap.body_model.frame_rates import FRAME_TOLERANCE, LONGEST_GAP, nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.export.camera import MovingView, concat_views, moving_view
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.geometry.tensors import map_chunked, runs_between


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a motion without long gaps, in float64."""

    parameters: BodyParameters
    times: Float[Tensor, " time"]
    """On the video's clock, s, strictly increasing."""
    fps: float
    """Nominal rate of the frames, frames a second."""
    confidence: Float[Tensor, " time"]
    filled: Bool[Tensor, " time"]
    """True for frames that are interpolated across frames without an observation of the person."""
    view: MovingView | None = None
    """The camera, if it moves."""

    def __len__(self) -> int:
        return len(self.times)

    def at_rate(self, fps: float | None = None) -> "Segment":
        """Resample to a constant rate (by default the segment's) from the first frame on.

        Rotations follow the shortest arc, positions a straight line. A time within FRAME_TOLERANCE of a frame gives
        that frame exactly."""
        fps = fps or self.fps
        step, start = 1 / fps, float(self.times[0])
        length = float(self.times[-1]) - start
        moments = start + step * torch.arange(
            math.floor(length / step + FRAME_TOLERANCE) + 1, dtype=torch.float64
        )
        before = (torch.searchsorted(self.times, moments, right=True) - 1).clamp(0, max(len(self) - 2, 0))
        after = (before + 1).clamp(max=len(self) - 1)
        interval = (self.times[after] - self.times[before]).clamp_min(1e-9)
        fraction = ((moments - self.times[before]) / interval).clamp(0, 1)
        tolerance = FRAME_TOLERANCE * min(step, 1 / self.fps)
        fraction[moments - self.times[before] < tolerance] = 0
        fraction[self.times[after] - moments < tolerance] = 1
        if torch.equal(before + fraction, torch.arange(len(self)).double()):
            return replace(self, times=moments, fps=fps)
        return self._interpolated(before, after, fraction, moments, fps)

    def _interpolated(
        self, before: Tensor, after: Tensor, fraction: Tensor, moments: Tensor, fps: float
    ) -> "Segment":
        before, after = torch.where(fraction == 1, after, before), torch.where(fraction == 0, before, after)
        across_missing = (self.times[after] - self.times[before]) * self.fps > 1.5
        R, p = interpolate_frames(
            self.parameters.R_parent_joint, self.parameters.p_world_root, before, after, fraction
        )
        return Segment(
            parameters=BodyParameters(self.parameters.betas, R, p),
            times=moments,
            fps=fps,
            confidence=torch.minimum(self.confidence[before], self.confidence[after]),
            filled=self.filled[before] | self.filled[after] | across_missing,
            view=None if self.view is None else self.view.interpolated(before, after, fraction),
        )


def split_into_segments(motion: Motion) -> list[Segment]:
    """Split a motion at gaps of more than LONGEST_GAP. Raises ValueError for a motion without frames."""
    if len(motion) == 0:
        raise ValueError("expected a motion with frames, found none; there is nothing to export")
    times = motion.frame_times.double().cpu()
    parameters = motion.all_parameters.to("cpu")
    whole = Segment(
        parameters=BodyParameters(
            parameters.betas.double(),
            map_chunked(_nearest_rotations, parameters.R_parent_joint.detach()),
            parameters.p_world_root.double(),
        ),
        times=times,
        fps=nominal_fps(motion.frame_index.cpu(), times),
        confidence=motion.confidence.double().cpu(),
        filled=motion.filled.cpu(),
        view=moving_view(motion),
    )
    return [_slice(whole, slice(*run)) for run in runs_between(times.diff() > LONGEST_GAP + 1e-6)]


def _nearest_rotations(R: Float[Tensor, "time joints 3 3"]) -> Float[Tensor, "time joints 3 3"]:
    return torch.as_tensor(roma.special_procrustes(R.double()))


def concat_segments(segments: list[Segment]) -> Segment:
    """Concatenate segments of one motion; times stay on the video's clock."""
    parameters = [segment.parameters for segment in segments]
    return Segment(
        parameters=BodyParameters(
            parameters[0].betas,
            torch.cat([p.R_parent_joint for p in parameters]),
            torch.cat([p.p_world_root for p in parameters]),
        ),
        times=torch.cat([segment.times for segment in segments]),
        fps=segments[0].fps,
        confidence=torch.cat([segment.confidence for segment in segments]),
        filled=torch.cat([segment.filled for segment in segments]),
        view=concat_views([segment.view for segment in segments]),
    )


def _slice(segment: Segment, frames: slice) -> Segment:
    return replace(
        segment,
        parameters=segment.parameters[frames],
        view=None if segment.view is None else segment.view[frames],
        **{name: getattr(segment, name)[frames] for name in ("times", "confidence", "filled")},
    )
