"""Pose prior: a mixture of Gaussians, fitted to the recordings that the networks are trained on."""

import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.rotations import matrix_to_6d
from selfmocap.io.npz import read_npz

POSE_PRIOR_FILE = "pose_prior.npz"
POSE_PRIOR_DIMENSIONS = 23 * 6
"""Elements of a pose: the first two columns of the rotation of every joint but the root."""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """A mixture of Gaussians over poses, as in SMPLify (Bogo et al. 2016)."""

    log_weights: Float[Tensor, " components"]
    means: Float[Tensor, "components 138"]
    whitening: Float[Tensor, "components 138 138"]
    """Lower triangular L such that L^T L is the precision matrix."""

    @classmethod
    def load(cls) -> "PosePrior":
        """Load the prior that comes with the package, once per process."""
        return _load_shipped()

    def __call__(self, R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch"]:
        """Compute -log p of a pose under its likeliest component, divided by the dimensions; the minimum is 0."""
        x = matrix_to_6d(R_parent_joint[..., 1:, :, :]).flatten(-2).unsqueeze(-2)
        white = torch.einsum("pij,...pj->...pi", self.whitening, x - self.means)
        log_peak = self.log_weights + self.whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        energy = 0.5 * white.square().sum(-1) - log_peak
        return (energy.amin(-1) + log_peak.max()) / POSE_PRIOR_DIMENSIONS

    def to(self, *args: Any) -> "PosePrior":
        """Move the prior to a device, or convert it to a type."""
        return PosePrior(*(tensor.to(*args) for tensor in (self.log_weights, self.means, self.whitening)))


@functools.cache
def _load_shipped() -> PosePrior:
    with resources.as_file(resources.files("selfmocap") / "assets" / POSE_PRIOR_FILE) as path:
        return read_pose_prior(path)


def read_pose_prior(path: Path) -> PosePrior:
    """Read a prior from its npz file.

    Raises ValueError for another file."""
    arrays = read_npz(path)
    try:
        names = ("log_weights", "means", "whitening")
        return PosePrior(*(torch.from_numpy(arrays[name]).float() for name in names))
    except KeyError as missing:
        raise ValueError(f"{path}: not a pose prior: {missing} is missing") from None
