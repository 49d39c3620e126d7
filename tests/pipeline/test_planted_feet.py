import math
from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import Camera, project
from selfmocap.geometry.focal_prior import LogNormal
from selfmocap.geometry.lens import Lens
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.lens_choice import LensChoice, estimate_lens, with_estimates
from selfmocap.pipeline.planted_feet import DepthChanges, depth_changes, estimate_focal
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.tracking.observations import Observations
from tests.helpers.walking import walking_motion

LAG = 6


def changes(focal: float, noise: float, count: int = 300, seed: int = 0) -> DepthChanges:
    """Changes of a person who walks in depth, filmed with `focal` px: the size has errors."""
    random = torch.Generator().manual_seed(seed)
    foot = torch.randn(count, generator=random, dtype=torch.float64) * 0.1
    size = foot / focal + noise * 0.1 / focal * torch.randn(count, generator=random, dtype=torch.float64)
    return DepthChanges(size, foot, LAG)


def median(estimate: LogNormal | None) -> float:
    assert estimate is not None
    return estimate.median


def test_the_ratio_of_changes_is_the_focal_length() -> None:
    """Up to the constant gain of the network: twice the ratio is twice the focal length, whatever the error of size."""
    sharp = median(estimate_focal([changes(1000.0, 0.0)]))
    assert 0.8 < sharp / 1000 < 1.4
    assert median(estimate_focal([changes(2000.0, 0.0)])) == pytest.approx(2 * sharp)
    noisy = [math.log(median(estimate_focal([changes(1000.0, 0.7, 3000, s)])) / sharp) for s in range(5)]
    assert abs(sum(noisy) / 5) < 0.05


def test_less_agreement_is_more_uncertainty_and_then_no_estimate() -> None:
    spreads = [e.log_spread for noise in (0.0, 0.5, 0.9) if (e := estimate_focal([changes(1000.0, noise)]))]
    assert len(spreads) == 3 and spreads[0] < spreads[1] < spreads[2]
    assert estimate_focal([changes(1000.0, 4.0)]) is None
    slow = changes(1000.0, 0.0)
    assert estimate_focal([replace(slow, size=slow.size / 5, foot=slow.foot / 5)]) is None
    assert estimate_focal([changes(-1000.0, 0.0)]) is None  # The person grows while walking away.
    assert estimate_focal([]) is None
    empty = torch.zeros(0, dtype=torch.float64)
    assert estimate_focal([DepthChanges(empty, empty, LAG)]) is None


def test_one_great_change_among_small_ones_is_not_many_moments() -> None:
    long = changes(1000.0, 0.0)
    one = replace(long, foot=long.foot * 1e-3, size=long.size * 1e-3)
    one.foot[0], one.size[0] = 1.0, 1e-3
    assert one.independent < 1 < long.independent
    assert estimate_focal([one]) is None
    # People who do not walk take nothing from one who does.
    standing = changes(1000.0, 9.0, seed=1)
    assert estimate_focal([long, standing, one]) == estimate_focal([long])


def test_an_estimate_that_contradicts_the_prior_is_not_used() -> None:
    default = LensChoice(Lens.pinhole(1000.0, (1280, 720)), "default", 0.3)
    assert with_estimates(default, [LogNormal(2000.0, 0.2)]).source == "estimate"
    assert with_estimates(default, [LogNormal(9000.0, 0.2)]) == default


def filmed(body: Body, focal: float, distance: float, turn_deg: float) -> Observations:
    """A walk of 4.5 m before a level camera: across the image, turned towards the camera."""
    motion = walking_motion(body, keypoint_body(body), Camera.looking_along_z(focal, 1280, 720))
    world = motion.camera.to_world(motion.keypoints_cam)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, -math.radians(turn_deg), 0.0]))
    R = motion.camera.R_cam_world @ turn
    camera = replace(motion.camera, R_cam_world=R, t_cam_world=torch.tensor([0.0, 1.2, distance]))
    pixels = project(camera.to_camera(world), camera.focal, camera.center)
    low, high = pixels.amin(1), pixels.amax(1)
    return Observations(
        frame_index=motion.frame_index, frame_times=motion.frame_times, image_size=(1280, 720),
        boxes=torch.cat([(low + high) / 2, 0.6 * (high - low).amax(1, keepdim=True)], dim=1),
        keypoint_set="coco-23", keypoints=pixels, keypoint_confidence=torch.ones(pixels.shape[:2]),
    )  # fmt: skip


def test_a_walk_in_depth_gives_the_lens(body: Body) -> None:
    """The longer lens is estimated longer, and either estimate is within three of its spreads of the truth."""
    network, _ = load_temporal()
    found = {}
    for focal, distance in ((1000.0, 6.0), (2200.0, 13.0)):
        seen = filmed(body, focal, distance, turn_deg=45.0)
        estimate = estimate_focal([depth_changes(network, body, seen, 1060.0)])
        assert estimate is not None
        assert abs(math.log(estimate.median / focal)) < 3 * estimate.log_spread
        found[focal] = estimate.median
    assert found[2200.0] > 1.2 * found[1000.0]


def test_a_walk_across_the_image_keeps_the_default(body: Body) -> None:
    default = LensChoice(Lens.pinhole(1060.0, (1280, 720)), "default", 0.5)
    across = filmed(body, 1000.0, 6.0, turn_deg=0.0)
    assert estimate_lens(default, [across], body) == default
    unseen = replace(across, keypoint_confidence=torch.zeros_like(across.keypoint_confidence))
    assert estimate_lens(default, [unseen, across[:1]], body) == default
