"""Compare the segmentation loss (Eq. 5), forward and backward, with all pairs of distances and with a KD-tree.

Posed bodies meet the masks of other bodies. The peers are automatic differentiation through all pairs of visible
vertices and mask pixels, and scipy's KD-tree; the methods take turns.

    python benchmarks/segmentation.py [--json] [--rounds 15] [--batch 32]
"""

import argparse
import json
import statistics
from collections.abc import Callable

import torch
from posed_bodies import CAMERA, boxes_around, interleaved, median_ratio, random_bodies
from scipy.spatial import cKDTree
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.losses.reprojection import body_mask, reproject
from selfmocap.losses.self_supervised import halve_mask, halve_points, segmentation_loss

Terms = tuple[Tensor, Tensor]


def all_pairs_terms(points: Tensor, pixels: Tensor) -> Terms:
    squared = (points[:, None] - pixels[None]).square().sum(-1)
    return squared.min(1).values.mean(), squared.min(0).values.mean()


def kd_tree_terms(points: Tensor, pixels: Tensor) -> Terms:
    workers = torch.get_num_threads()
    detached = points.detach().numpy()
    _, to_pixel = cKDTree(pixels.numpy()).query(detached, workers=workers)
    _, to_point = cKDTree(detached).query(pixels.numpy(), workers=workers)
    over = (points - pixels[to_pixel]).square().sum(-1).mean()
    return over, (pixels - points[to_point]).square().sum(-1).mean()


def contestants(vertices: Tensor, visible: Tensor, masks: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return for each method a function that computes the gradient of the vertices."""
    certain, all_pixels = torch.ones_like(masks), [mask.nonzero().flip(-1).float() for mask in masks]

    def fused(x: Tensor) -> Tensor:
        over, under = segmentation_loss(x, visible, masks, certain)
        return (over + under).sum()

    def one_by_one(terms: Callable[[Tensor, Tensor], Terms], x: Tensor) -> Tensor:
        pairs = [
            terms(points[shown], pixels) for points, shown, pixels in zip(x, visible, all_pixels, strict=True)
        ]
        return torch.stack([over + under for over, under in pairs]).sum()

    def gradient(loss: Callable[[Tensor], Tensor]) -> Tensor:
        x = vertices.clone().requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]

    return {
        "selfmocap": lambda: gradient(fused),
        "all pairs, automatic": lambda: gradient(lambda x: one_by_one(all_pairs_terms, x)),
        "KD-tree": lambda: gradient(lambda x: one_by_one(kd_tree_terms, x)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    body = Body.load()
    parameters = random_bodies(body, options.batch)
    boxes = boxes_around(CAMERA.project(body.pose(parameters).vertices))
    projection = reproject(body, parameters, CAMERA, boxes)
    # The mask of the next body, shifted by 3 px: as far off as an initial estimate.
    shift = torch.tensor([3.0, 0.0, 0.0]) * boxes[:, 2:] / 64
    masks = halve_mask(body_mask(body, parameters, CAMERA, boxes + shift)).roll(1, 0)
    methods = contestants(halve_points(projection.vertices), projection.visible, masks)
    reference = methods["all pairs, automatic"]()
    times = interleaved(methods, options.rounds)
    result = {
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "visible_vertices": round(float(projection.visible.sum(-1).float().mean())),
        "mask_pixels": round(float(masks.sum((-2, -1)).float().mean())),
        "milliseconds": {name: round(statistics.median(values) * 1e3, 2) for name, values in times.items()},
        "gradient_error": {
            name: float((step() - reference).norm() / reference.norm()) for name, step in methods.items()
        },
        "ratio_vs_autograd": round(median_ratio(times["all pairs, automatic"], times["selfmocap"]), 1),
        "ratio_vs_kdtree": round(median_ratio(times["KD-tree"], times["selfmocap"]), 1),
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
