"""Fit the pose prior to recordings by expectation maximisation.

    python scripts/fit_pose_prior.py MOTIONS --held-out cmu02 cmu60/61 --out src/selfmocap/assets/pose_prior.npz

Prints the mean log likelihood per dimension, of the recordings it is fitted to and of the held-out ones.
"""

import argparse
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_MIRROR
from selfmocap.datasets.motions_folder import Recording, load_motions
from selfmocap.geometry.rotations import matrix_to_6d
from selfmocap.io.npz import write_npz
from selfmocap.losses.pose_prior import POSE_PRIOR_DIMENSIONS

COMPONENTS = 8
STEPS = 60
ADDED_VARIANCE = 0.03**2
"""Added to every variance: recordings lack twists, and they are noisy."""


def poses_of(clips: list[Recording], every: int = 3) -> torch.Tensor:
    """Return (poses, 138): every third pose and its mirror image."""
    R = torch.cat([clip.parameters.R_parent_joint[::every] for clip in clips]).double()
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    R = torch.cat([R, flip @ R[:, list(JOINT_MIRROR)] @ flip])
    return matrix_to_6d(R[:, 1:]).flatten(1)


def log_densities(
    x: torch.Tensor, log_weights: torch.Tensor, means: torch.Tensor, L: torch.Tensor
) -> torch.Tensor:
    """Compute log(weight * density), shape (poses, components)."""
    white = torch.einsum("kij,nkj->nki", L, x[:, None] - means)
    normal = L.diagonal(dim1=-2, dim2=-1).log().sum(-1) - POSE_PRIOR_DIMENSIONS / 2 * torch.log(
        torch.tensor(2 * torch.pi)
    )
    return log_weights + normal - 0.5 * white.square().sum(-1)


def fit_mixture(x: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fit the mixture; return the logarithms of its weights, its means and its whitening matrices."""
    random = torch.Generator().manual_seed(seed)
    start = x[torch.randperm(len(x), generator=random)[:COMPONENTS]]
    responsibility = torch.nn.functional.one_hot(torch.cdist(x, start).argmin(1), COMPONENTS).double()
    for _ in range(STEPS):
        count = responsibility.sum(0) + 1e-6
        means = responsibility.T @ x / count[:, None]
        offset = x[:, None] - means
        covariance = torch.einsum("nk,nki,nkj->kij", responsibility, offset, offset) / count[:, None, None]
        covariance = covariance + ADDED_VARIANCE * torch.eye(POSE_PRIOR_DIMENSIONS, dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance)
        L = torch.linalg.solve_triangular(
            factor, torch.eye(POSE_PRIOR_DIMENSIONS, dtype=torch.float64), upper=False
        )
        log_weights = (count / len(x)).log()
        responsibility = log_densities(x, log_weights, means, L).softmax(1)
    return log_weights, means, L


def main() -> None:
    """Read the recordings, fit, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clips = load_motions(options.motions, Body.load(), cache=options.cache)
    training, held_out = (
        poses_of([clip for clip in clips if (clip.subject in options.held_out) == held])
        for held in (False, True)
    )
    prior = fit_mixture(training)
    for name, x in (("fitted", training), ("held out", held_out)):
        if len(x):
            print(
                f"{name}: {len(x)} poses, {log_densities(x, *prior).logsumexp(1).mean() / POSE_PRIOR_DIMENSIONS:.3f}"
            )
    names = ("log_weights", "means", "whitening")
    write_npz(options.out, {name: tensor.half().numpy() for name, tensor in zip(names, prior, strict=True)})


if __name__ == "__main__":
    main()
