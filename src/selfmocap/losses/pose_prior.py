"""How likely a pose is by itself: a mixture of Gaussians over the recordings that the network was trained on."""

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

PRIOR_FILE = "pose_prior.npz"
DIMENSIONS = 23 * 6
"""Of a pose: the first two columns of every joint's rotation but the root's."""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """A mixture of Gaussians (as SMPLify's, Bogo et al. 2016)."""

    log_weights: Float[Tensor, " parts"]
    means: Float[Tensor, "parts 138"]
    whitening: Float[Tensor, "parts 138 138"]
    """Lower triangular L with L (x - mean) white: L^T L is the precision."""

    @classmethod
    def load(cls) -> "PosePrior":
        """The prior that comes with the project; kept once loaded."""
        return _loaded()

    def __call__(self, R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch"]:
        """-log p of a pose by its likeliest part, a dimension, from 0 at the likeliest pose of all."""
        x = matrix_to_6d(R_parent_joint[..., 1:, :, :]).flatten(-2).unsqueeze(-2)
        white = torch.einsum("pij,...pj->...pi", self.whitening, x - self.means)
        height = self.log_weights + self.whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        surprise = 0.5 * white.square().sum(-1) - height
        return (surprise.amin(-1) + height.max()) / DIMENSIONS

    def to(self, *args: Any) -> "PosePrior":
        """The same on another device or of another type."""
        return PosePrior(*(part.to(*args) for part in (self.log_weights, self.means, self.whitening)))


@functools.cache
def _loaded() -> PosePrior:
    with resources.as_file(resources.files("selfmocap") / "assets" / PRIOR_FILE) as path:
        return read_prior(path)


def read_prior(path: Path) -> PosePrior:
    """A prior from its file; a ValueError where it is none."""
    arrays = read_npz(path)
    try:
        names = ("log_weights", "means", "whitening")
        return PosePrior(*(torch.from_numpy(arrays[name]).float() for name in names))
    except KeyError as missing:
        raise ValueError(f"{path}: not a pose prior, {missing} is missing") from None
