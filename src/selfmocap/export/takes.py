"""A motion in stretches without long gaps, at the frames that were seen or at a constant rate.

Most formats know one frame rate and no gaps. Where the person is away for longer than LONGEST_GAP the motion is cut:
each stretch is a take, and a file, of its own, whose time starts at 0. Nothing is held or invented in between.
"""

import math
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import BodyParameters
from selfmocap.body_model.frame_rates import FRAME_TOLERANCE, LONGEST_GAP, nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.rotations import interpolate
from selfmocap.geometry.tensors import in_parts


@dataclass(frozen=True, eq=False)
class Take:
    """A stretch of a motion, in float64."""

    parameters: BodyParameters
    times: Float[Tensor, " time"]
    """On the video's clock, s, strictly increasing."""
    fps: float
    """The rate at which they stand, as far as they stand at one."""
    confidence: Float[Tensor, " time"]
    filled: Bool[Tensor, " time"]
    """Invented by interpolation across frames in which the person was not seen."""

    def __len__(self) -> int:
        return len(self.times)

    def at_rate(self, fps: float | None = None) -> "Take":
        """The take at a constant rate (by default its own) from its first frame on: rotations along the shortest
        arc, positions in straight lines, both exact where a frame is met."""
        fps = fps or self.fps
        step, start = 1 / fps, float(self.times[0])
        length = float(self.times[-1]) - start
        moments = start + step * torch.arange(math.floor(length / step + FRAME_TOLERANCE) + 1, dtype=torch.float64)
        before = (torch.searchsorted(self.times, moments, right=True) - 1).clamp(0, max(len(self) - 2, 0))
        after = (before + 1).clamp(max=len(self) - 1)
        interval = (self.times[after] - self.times[before]).clamp_min(1e-9)
        share = ((moments - self.times[before]) / interval).clamp(0, 1)
        near = FRAME_TOLERANCE * min(step, 1 / self.fps)
        share[moments - self.times[before] < near] = 0
        share[self.times[after] - moments < near] = 1
        if torch.equal(before + share, torch.arange(len(self)).double()):
            return replace(self, times=moments, fps=fps)
        return self._between(before, after, share, moments, fps)

    def _between(self, before: Tensor, after: Tensor, share: Tensor, moments: Tensor, fps: float) -> "Take":
        R, p = self.parameters.R_parent_joint, self.parameters.p_world_root
        before, after = torch.where(share == 1, after, before), torch.where(share == 0, before, after)
        apart = (self.times[after] - self.times[before]) * self.fps > 1.5
        return Take(
            parameters=BodyParameters(
                self.parameters.betas,
                in_parts(
                    lambda a, b, between: interpolate(R[a], R[b], between), before, after, share[:, None]
                ),
                torch.lerp(p[before], p[after], share[:, None]),
            ),
            times=moments,
            fps=fps,
            confidence=torch.minimum(self.confidence[before], self.confidence[after]),
            filled=self.filled[before] | self.filled[after] | apart,
        )


def takes(motion: Motion) -> list[Take]:
    """The stretches of a motion between gaps of more than LONGEST_GAP; a ValueError for a motion without frames."""
    if len(motion) == 0:
        raise ValueError("the motion has no frames; there is nothing to export")
    times = motion.frame_times.double().cpu()
    cuts = (torch.nonzero(times.diff() > LONGEST_GAP + 1e-6).flatten() + 1).tolist()
    fps = nominal_fps(motion.frame_index.cpu(), times)
    parameters = motion.parameters.to("cpu")
    R = in_parts(_nearest_rotations, parameters.R_parent_joint.detach())
    betas, p = parameters.betas.double(), parameters.p_world_root.double()
    whole = Take(
        parameters=BodyParameters(betas, R, p),
        times=times,
        fps=fps,
        confidence=motion.confidence.double().cpu(),
        filled=motion.filled.cpu(),
    )
    ends = [*cuts, len(motion)]
    return [_part(whole, slice(start, end)) for start, end in zip([0, *cuts], ends, strict=True)]


def _nearest_rotations(R: Float[Tensor, "time 24 3 3"]) -> Float[Tensor, "time 24 3 3"]:
    return torch.as_tensor(roma.special_procrustes(R.double()))


def joined(parts: list[Take]) -> Take:
    """Takes of one motion after each other, each at its times on the video's clock."""
    parameters = [part.parameters for part in parts]
    return Take(
        parameters=BodyParameters(
            parameters[0].betas,
            torch.cat([p.R_parent_joint for p in parameters]),
            torch.cat([p.p_world_root for p in parameters]),
        ),
        times=torch.cat([part.times for part in parts]),
        fps=parts[0].fps,
        confidence=torch.cat([part.confidence for part in parts]),
        filled=torch.cat([part.filled for part in parts]),
    )


def _part(take: Take, frames: slice) -> Take:
    parameters = take.parameters
    return replace(
        take,
        parameters=replace(
            parameters,
            R_parent_joint=parameters.R_parent_joint[frames],
            p_world_root=parameters.p_world_root[frames],
        ),
        **{name: getattr(take, name)[frames] for name in ("times", "confidence", "filled")},
    )
