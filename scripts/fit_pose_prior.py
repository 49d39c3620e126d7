"""Fits the pose prior to recordings by expectation maximisation.

    python scripts/fit_pose_prior.py MOTIONS --held-out cmu02 cmu60/61 --out src/selfmocap/assets/pose_prior.npz

Prints the mean log likelihood of the recordings it is fitted to and of those held out, a dimension.
"""

import argparse
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_MIRROR
from selfmocap.datasets.motions_folder import MotionClip, load_motions
from selfmocap.geometry.rotations import matrix_to_6d
from selfmocap.io.npz import write_npz
from selfmocap.losses.pose_prior import DIMENSIONS

PARTS = 8
STEPS = 60
LEAST_VARIANCE = 0.03**2
"""Added to every variance: recordings lack twists and have noise of their own."""


def poses_of(clips: list[MotionClip], every: int = 3) -> torch.Tensor:
    """(poses, 138), each with its mirror image."""
    R = torch.cat([clip.parameters.R_parent_joint[::every] for clip in clips]).double()
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    R = torch.cat([R, flip @ R[:, list(JOINT_MIRROR)] @ flip])
    return matrix_to_6d(R[:, 1:]).flatten(1)


def log_densities(
    x: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, L: torch.Tensor
) -> torch.Tensor:
    """(poses, parts) of log(weight density)."""
    white = torch.einsum("kij,nkj->nki", L, x[:, None] - means)
    normal = L.diagonal(dim1=-2, dim2=-1).log().sum(-1) - DIMENSIONS / 2 * torch.log(
        torch.tensor(2 * torch.pi)
    )
    return log_weights + normal - 0.5 * white.square().sum(-1)


def fitted(x: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights (logarithms), means and whitening matrices of the mixture."""
    random = torch.Generator().manual_seed(seed)
    start = x[torch.randperm(len(x), generator=random)[:PARTS]]
    share = torch.nn.functional.one_hot(torch.cdist(x, start).argmin(1), PARTS).double()
    for _ in range(STEPS):
        count = share.sum(0) + 1e-6
        means = share.T @ x / count[:, None]
        away = x[:, None] - means
        covariance = torch.einsum("nk,nki,nkj->kij", share, away, away) / count[:, None, None]
        covariance = covariance + LEAST_VARIANCE * torch.eye(DIMENSIONS, dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance)
        L = torch.linalg.solve_triangular(factor, torch.eye(DIMENSIONS, dtype=torch.float64), upper=False)
        log_weights = (count / len(x)).log()
        share = log_densities(x, log_weights, means, L).softmax(1)
    return log_weights, means, L


def main() -> None:
    """Reads, fits, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clips = load_motions(options.motions, Body.load(), cache=options.cache)
    known, others = (
        poses_of([clip for clip in clips if (clip.subject in options.held_out) == held])
        for held in (False, True)
    )
    prior = fitted(known)
    for name, x in (("fitted", known), ("held out", others)):
        if len(x):
            print(f"{name}: {len(x)} poses, {log_densities(x, *prior).logsumexp(1).mean() / DIMENSIONS:.3f}")
    names = ("log_weights", "means", "whitening")
    write_npz(options.out, {name: part.half().numpy() for name, part in zip(names, prior, strict=True)})


if __name__ == "__main__":
    main()
