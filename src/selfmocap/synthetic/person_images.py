"""Images of whole synthetic people with their exact keypoints, to measure detectors and to calibrate them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.rendering import (
    full_image_windows,
    render_images,
    sample_scene_background,
    select_images,
)
from selfmocap.synthetic.scene import figure_assets, sample_scene
from selfmocap.synthetic.shading import render_figures
from selfmocap.synthetic.truth import unoccluded_keypoints

_MARGIN = 0.01
"""Fraction of the image's sides that stays free around the keypoints."""


class PersonImage(NamedTuple):
    """One person in one image."""

    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    keypoints: Float[np.ndarray, "keypoints 2"]
    """px."""
    visible: Bool[np.ndarray, " keypoints"]
    """True if unoccluded."""

    @property
    def size(self) -> float:
        """The longer side of the keypoints' bounding box, px."""
        return float(np.ptp(self.keypoints, axis=0).max())


@torch.no_grad()
def person_images(
    seed: int, cameras: CameraConfig, appearance: AppearanceConfig, motions: Sequence[MotionClip],
    backgrounds: Backgrounds, body: Body, points: str, draws: int = 16,
) -> Iterator[PersonImage]:  # fmt: skip
    """Draw people, and yield those who lie in their image with every keypoint of the set `points`.

    `cameras` must give the image size. The result depends on the arguments only."""
    assert cameras.size is not None
    seeds, rest = np.random.SeedSequence(seed).spawn(2)
    scene = sample_scene(seeds, cameras, appearance, (draws, 1), 30.0, motions, body)
    windows, assets = full_image_windows(scene), figure_assets(body)
    background = sample_scene_background(np.random.default_rng(rest), scene, windows, backgrounds)
    vertices = torch.from_numpy(scene.vertices[:, :, : assets.figure.num_body_vertices]).mT
    p_cam = body.keypoints(vertices, points).double().numpy()
    lens = windows.intrinsics[:, None]
    pixels = p_cam[..., :2] / p_cam[..., 2:] * lens[..., :2] + lens[..., 2:]
    size = np.array(cameras.size)
    whole = ((pixels > _MARGIN * size) & (pixels < (1 - _MARGIN) * size)).all((1, 2))
    for i in np.flatnonzero(whole):
        one = slice(i, i + 1)
        figures = render_figures(
            scene.vertices[one], windows.intrinsics[one], select_images(scene.appearance, one), assets.model,
            (cameras.size[1], cameras.size[0]), 2, True,
        )  # fmt: skip
        image = render_images(
            figures, select_images(windows, one), select_images(background, one), backgrounds
        )
        names = keypoint_set(points).names
        visible = unoccluded_keypoints(pixels[one], p_cam[one, :, 2], names, figures.depth)
        yield PersonImage(image[0], pixels[i], (visible[0] & visible[1])[0])
