"""Training frames for the part of the frame network behind the corrector, without rendering."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.geometry.tensors import concat
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.batches import SyntheticConfig, inside_image, sample_boxes
from selfmocap.synthetic.cameras import sample_views
from selfmocap.synthetic.motion_augmentation import mirror_rotations
from selfmocap.synthetic.motions import MotionClip, PoseSequences, scale_root_path
from selfmocap.synthetic.pose_variety import PoseVariety, sample_varied_poses
from selfmocap.synthetic.scene import sample_betas
from selfmocap.synthetic.scene_pool import SEEDS_PER_RUN, map_in_workers
from selfmocap.training.refined_examples import ErrorTransfer, RefinedExamples

_POSES_AT_ONCE = 1024
_REPEATED_FRACTION = 0.25
"""Fraction of examples themselves in a batch: transferred errors fit together less well than real ones, and a network
sees through some of them."""


@dataclass(frozen=True, eq=False)
class LiftingFrames:
    """A FrameStream of refined keypoints and depths: drawn poses, bodies and cameras, and the errors of examples."""

    poses: PoseSequences
    """Each of one frame; drawn with a new heading, half of them mirrored."""
    examples: RefinedExamples
    body: Body
    config: SyntheticConfig

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """Yield `batch` frames for each of `steps`, on the device."""
        proxy = self.body.keypoint_proxy(DEFAULT_KEYPOINTS.name)
        sample = partial(
            self._sample, batch, ErrorTransfer.of(self.examples, proxy, DEFAULT_KEYPOINTS.name), proxy
        )
        numbers = [seed * SEEDS_PER_RUN + step for step in steps]
        for inputs, truth in map_in_workers(sample, numbers, workers):
            yield inputs.to(device), truth.to(device)

    @torch.no_grad()
    def _sample(
        self, count: int, transfer: ErrorTransfer, proxy: Body, seed: int
    ) -> tuple[FrameInputs, BodyParameters]:
        rng = np.random.default_rng(seed)
        repeated = round(_REPEATED_FRACTION * count)
        examples = self.examples[torch.from_numpy(rng.integers(len(self.examples), size=repeated))]
        inputs, truth = self._unrendered(rng, count - repeated, transfer, proxy)
        return concat([inputs, examples.inputs]), concat([truth, examples.truth])

    def _unrendered(
        self, rng: np.random.Generator, count: int, transfer: ErrorTransfer, proxy: Body
    ) -> tuple[FrameInputs, BodyParameters]:
        chosen = torch.from_numpy(rng.integers(len(self.poses.p_world_root), size=count))
        R, p = self.poses.R_parent_joint[chosen], self.poses.p_world_root[chosen]
        mirrored = torch.from_numpy(rng.random(count) < 0.5)
        R = torch.where(mirrored[:, None, None, None, None], mirror_rotations(R), R)
        heading = torch.from_numpy(rng.uniform(-np.pi, np.pi, (count, 1, 1)) * [0.0, 1.0, 0.0]).float()
        betas = sample_betas(rng, self.body, count)
        p = scale_root_path(self.body, betas, p)
        views = sample_views(rng, self.config.cameras, p, self.config.fps)
        camera = views.camera
        R[:, :, 0] = camera.R_cam_world @ roma.rotvec_to_rotmat(heading) @ R[:, :, 0]
        truth = BodyParameters(betas, R[:, 0], camera.to_camera(p[:, :, None])[:, 0, 0])
        keypoints = proxy.keypoints(proxy.pose(truth).vertices, DEFAULT_KEYPOINTS.name)
        focal, center = camera.focal[:, 0], camera.center[:, 0]
        pixels = project(keypoints, focal, center)[:, None].double().numpy()
        inside = inside_image(pixels, views.size.numpy()[:, None, None])
        boxes = torch.from_numpy(sample_boxes(rng, pixels, inside)[:, 0]).float()
        return transfer(rng, keypoints, truth.p_world_root, boxes, focal, center), truth


def sample_pose_table(
    motions: Sequence[MotionClip], body: Body, count: int, seed: int, progress: ProgressCallback = no_progress
) -> PoseSequences:
    """Draw at least `count` poses of one frame with the default `PoseVariety`."""
    rng, parts = np.random.default_rng(seed), []
    for done in range(0, count, _POSES_AT_ONCE):
        progress("draw poses", done, count)
        parts.append(sample_varied_poses(rng, PoseVariety(), motions, _POSES_AT_ONCE, 1, 30.0, body))
    return PoseSequences(
        torch.cat([part.R_parent_joint for part in parts]), torch.cat([part.p_world_root for part in parts])
    )
