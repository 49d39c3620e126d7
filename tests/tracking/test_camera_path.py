"""The path of a camera: from sightings of a rigid world with noise and with things that move by themselves."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from selfmocap.tracking.camera_path.bundle import Sightings, Structure, adjust, residuals
from selfmocap.tracking.camera_path.path import CameraPath
from selfmocap.tracking.camera_path.people import people_masks
from selfmocap.tracking.camera_path.solve import focal_from_background, solve_path
from selfmocap.tracking.camera_path.stillness import background_motion
from selfmocap.tracking.camera_path.tracks import BackgroundTracks, track_background
from selfmocap.tracking.observations import Observations

FOCAL, CENTER, FRAMES = 600.0, (319.5, 179.5), 42


def rotations(yaw_deg: float, frames: int = FRAMES) -> np.ndarray:
    """Rotations from the world to a camera that looks along z and pans, with a little pitch and roll."""
    yaw = np.linspace(0, yaw_deg, frames)
    shake = np.sin(np.linspace(0, 9, frames))
    return Rotation.from_euler("yxz", np.stack([yaw, shake, 0.5 * shake], axis=1), degrees=True).as_matrix()


def filmed(
    R: np.ndarray, eye: np.ndarray, focal: np.ndarray | float = FOCAL, seed: int = 0, outliers: float = 0.1
) -> BackgroundTracks:
    """Points of a room, seen with half a pixel of noise; a fraction of them wanders."""
    rng = np.random.default_rng(seed)
    frames, points = len(R), 500
    X = rng.uniform((-12, -2, 3), (12, 2, 14), (points, 3))
    wander = (rng.random(points) < outliers)[:, None] * rng.normal(0, 0.05, (frames, points, 3)).cumsum(0)
    p = np.einsum("fij,fpj->fpi", R, X + wander - eye[:, None])
    pixel = p[..., :2] / p[..., 2:] * np.reshape(focal, (-1, 1, 1)) + CENTER
    pixel += rng.normal(0, 0.3, pixel.shape)
    inside = (p[..., 2] > 0.5) & (np.abs(pixel - CENTER) < CENTER).all(-1)
    row, point = np.nonzero(inside)
    return BackgroundTracks(
        row,
        point,
        pixel[inside],
        np.unique([*range(0, frames, 6), frames - 1]),
        np.zeros(1, int),
        frames,
        0,
        1.0,
    )


def rotation_error_deg(path: CameraPath, R: np.ndarray, frames: slice = slice(None)) -> float:
    found, true = path.R_cam_world[frames], R[frames]
    relative = true @ true[0].T @ (found @ found[0].T).swapaxes(1, 2)
    return float(np.rad2deg(np.linalg.norm(Rotation.from_matrix(relative).as_rotvec(), axis=1)).max())


def position_error(path: CameraPath, R: np.ndarray, eye: np.ndarray) -> float:
    """Largest error over the length of the path, after the best scale, in the first camera's frame."""
    found = (path.p_world_cam - path.p_world_cam[0]) @ path.R_cam_world[0].T
    true = (eye - eye[0]) @ R[0].T
    scale = (found * true).sum() / (found**2).sum()
    return float(np.linalg.norm(scale * found - true, axis=1).max() / np.linalg.norm(true, axis=1).max())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_camera_that_turns_stays_in_its_place(seed: int) -> None:
    R = rotations(70.0)
    path = solve_path(filmed(R, np.zeros((FRAMES, 3)), seed=seed), FOCAL, CENTER)
    assert path.kinds == ("turning",) and path.known.all() and path.focal_ratio == (1.0, 1.0)
    assert not path.p_world_cam.any() and rotation_error_deg(path, R) < 0.3
    assert path.inlier_fraction > 0.8 and path.error_px < 1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_camera_that_walks_is_found_up_to_scale(seed: int) -> None:
    R = rotations(15.0)
    eye = np.stack([np.linspace(0, 2.5, FRAMES), np.zeros(FRAMES), np.linspace(0, 1, FRAMES)], axis=1)
    path = solve_path(filmed(R, eye, seed=seed), FOCAL, CENTER)
    assert path.kinds == ("moving",) and path.known.all()
    assert rotation_error_deg(path, R) < 0.5 and position_error(path, R, eye) < 0.05


def test_the_world_is_level_on_average() -> None:
    R = Rotation.from_euler("x", -20, degrees=True).as_matrix() @ rotations(30.0)
    path = solve_path(filmed(R, np.zeros((FRAMES, 3))), FOCAL, CENTER)
    up = -path.R_cam_world[:, 1].mean(0)
    np.testing.assert_allclose(up / np.linalg.norm(up), [0, 1, 0], atol=1e-6)
    assert path.R_cam_world[0, 2, 2] < 0  # The first view looks along -z.


@pytest.mark.parametrize(
    ("lens", "least", "most"), [(1.5, 1.4, 1.6), (np.linspace(1, 1.3, FRAMES), 1.1, 1.6)]
)
def test_a_turning_camera_measures_its_focal_length_and_zoom(
    lens: np.ndarray | float, least: float, most: float
) -> None:
    R = rotations(60.0)
    path = solve_path(filmed(R, np.zeros((FRAMES, 3)), FOCAL * np.asarray(lens)), FOCAL, CENTER)
    assert path.kinds == ("turning",) and rotation_error_deg(path, R) < 1.5
    low, high = path.focal_ratio
    assert least * 0.9 < low <= high < most
    assert (high / low > 1.2) == (np.ndim(lens) > 0)


@pytest.mark.parametrize("guess", [0.7, 1.4])
@pytest.mark.parametrize(("yaw", "travel"), [(20.0, 0.0), (15.0, 2.5)])
def test_the_background_tells_the_focal_length(yaw: float, travel: float, guess: float) -> None:
    eye = np.linspace(0, 1, FRAMES)[:, None] * [travel, 0.0, 0.4 * travel]
    estimate = focal_from_background(filmed(rotations(yaw), eye), guess * FOCAL, CENTER)
    assert estimate is not None and estimate.log_spread < 0.08
    assert abs(np.log(estimate.median / FOCAL)) < 2 * estimate.log_spread


def test_a_background_that_hardly_moves_tells_no_focal_length() -> None:
    R = Rotation.from_rotvec(np.linspace(0, 1e-3, FRAMES)[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    estimate = focal_from_background(filmed(R, np.zeros((FRAMES, 3))), FOCAL * 1.3, CENTER)
    assert estimate is None or estimate.log_spread > 0.25, "less certain than the prior"


def test_each_shot_has_a_world_of_its_own() -> None:
    R = rotations(40.0)
    one, other = filmed(R, np.zeros((FRAMES, 3))), filmed(R, np.zeros((FRAMES, 3)), seed=1)
    both = BackgroundTracks(
        np.concatenate([one.row, other.row + FRAMES]),
        np.concatenate([one.point, other.point + one.point.max() + 1]),
        np.concatenate([one.pixel, other.pixel]),
        np.concatenate([one.keyframes, other.keyframes + FRAMES]),
        np.array([0, FRAMES]),
        2 * FRAMES,
        0,
        1.0,
    )
    path = solve_path(both, FOCAL, CENTER)
    assert path.kinds == ("turning", "turning")
    assert all(rotation_error_deg(path, np.tile(R, (2, 1, 1)), shot) < 0.3 for shot in path.shots)


def test_without_a_rigid_background_the_path_is_unknown() -> None:
    path = solve_path(filmed(rotations(10.0, 19), np.zeros((19, 3)), outliers=1.0), FOCAL, CENTER)
    nothing = BackgroundTracks(
        np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros(0, int), np.zeros(1, int), 3, 0, 1.0
    )
    empty = solve_path(nothing, FOCAL, CENTER)
    np.testing.assert_array_equal(empty.R_cam_world, [np.diag([1.0, -1.0, -1.0])] * 3)
    assert empty.kinds == ("unknown",) and not empty.known.any() and not empty.p_world_cam.any()
    assert path.inlier_fraction < 0.9 or path.kinds == ("unknown",)


def test_bundle_adjustment_finds_the_minimum() -> None:
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.uniform((-3, -2, 4), (3, 2, 9), (80, 3)), np.ones((80, 1))], axis=1)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    R = Rotation.from_rotvec(rng.normal(0, 0.1, (5, 3))).as_matrix()
    t = rng.normal(0, 0.4, (5, 3))
    camera, point = (a.ravel() for a in np.meshgrid(np.arange(5), np.arange(80), indexing="ij"))
    truth = Structure(R, t, X, np.zeros(5))
    seen = Sightings(camera, point, np.zeros((400, 2)), 1e-3)
    seen = Sightings(camera, point, residuals(truth, seen) + rng.normal(0, 1e-3, (400, 2)), 1e-3)
    moved = Rotation.from_rotvec(rng.normal(0, 0.02, (5, 3))).as_matrix()
    moved[0] = np.eye(3)
    start = Structure(moved @ R, t + rng.normal(0, 0.05, (5, 3)), X, np.zeros(5))
    found = adjust(start, seen, 30)
    rms = [np.sqrt((residuals(one, seen) ** 2).mean()) for one in (truth, start, found)]
    assert rms[2] < rms[0] < 1.1e-3 < rms[1]
    np.testing.assert_array_equal(found.R[0], start.R[0])
    np.testing.assert_allclose(np.linalg.norm(found.points, axis=1), 1)


def test_the_file_of_a_path_is_read_again(tmp_path: Path) -> None:
    path = solve_path(filmed(rotations(30.0), np.zeros((FRAMES, 3))), FOCAL, CENTER)
    path.save(tmp_path / "camera.npz")
    loaded = CameraPath.load(tmp_path / "camera.npz")
    np.testing.assert_array_equal(loaded.R_cam_world, path.R_cam_world)
    assert (loaded.kinds, loaded.loops, loaded.focal_ratio) == (path.kinds, path.loops, path.focal_ratio)
    np.savez(tmp_path / "other.npz", format="selfmocap-camera-path", version=1)
    with pytest.raises(ValueError, match=r"other\.npz"):
        CameraPath.load(tmp_path / "other.npz")


# ---- from images ----------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 320, 180
K = np.array([[300.0, 0, (WIDTH - 1) / 2], [0, 300.0, (HEIGHT - 1) / 2], [0, 0, 1]])


def panorama(R: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Images of a camera that only turns, in front of a distant picture."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(
        rng.integers(0, 255, (90, 480, 3), np.uint8), (2400, 450), interpolation=cv2.INTER_CUBIC
    )
    K_picture = np.array([[400.0, 0, 800], [0, 400, 225], [0, 0, 1]])
    return [cv2.warpPerspective(picture, K @ one @ np.linalg.inv(K_picture), (WIDTH, HEIGHT)) for one in R]


def turned(yaw_deg: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(np.deg2rad(yaw_deg)[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()


def nobody(images: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(image, np.zeros(image.shape[:2], bool)) for image in images]


def test_a_pan_to_and_fro_closes_on_images() -> None:
    yaw = 64 * np.sin(np.linspace(0, np.pi, 44))
    R = turned(yaw)
    path = solve_path(track_background(nobody(panorama(R))), 300.0, ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
    assert path.kinds == ("turning",) and path.loops >= 1
    assert rotation_error_deg(path, R) < 0.3


def test_a_cut_begins_a_shot_and_people_are_left_out() -> None:
    R = turned(np.linspace(0, 10, 8))
    people = np.zeros((HEIGHT, WIDTH), bool)
    people[:, 100:200] = True
    frames = [(image, people) for image in [*panorama(R), *panorama(R, seed=1)]]
    tracks = track_background(frames)
    assert tracks.shot_starts.tolist() == [0, 8] and {0, 7, 8, 15} <= set(tracks.keyframes.tolist())
    assert not people[tuple(np.rint(tracks.pixel[:, ::-1]).astype(int).T)].any()


def test_masks_cover_the_people_with_a_margin() -> None:
    keypoints = torch.zeros(2, 17, 2)
    keypoints[:, 0], keypoints[:, 1], keypoints[:, 2] = torch.tensor([[100.0, 40], [80, 160], [120, 160]])
    confidence = torch.zeros(2, 17)
    confidence[:, :3] = 0.5
    person = Observations(
        torch.tensor([3, 5]), torch.tensor([0.1, 0.2]).double(), (WIDTH, HEIGHT),
        torch.tensor([[100.0, 100, 75]] * 2), "coco-17", keypoints, confidence,
    )  # fmt: skip
    mask_of = people_masks([person])
    mask = mask_of(3, (HEIGHT, WIDTH), 1.0)
    assert mask[100, 100] and mask[30, 100] and mask[165, 130] and not mask[100, 140] and not mask[20, 100]
    assert not mask_of(4, (HEIGHT, WIDTH), 1.0).any()
    half = mask_of(5, (HEIGHT // 2, WIDTH // 2), 0.5)
    assert abs(half.mean() - mask.mean()) < 0.02


def test_a_static_camera_is_distinguished_from_one_that_trembles_or_pans_slowly() -> None:
    rng = np.random.default_rng(0)
    still = panorama(np.tile(np.eye(3), (12, 1, 1)))
    noisy = [np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8) for image in still]
    shaken = panorama(Rotation.from_rotvec(rng.normal(0, 0.01, (12, 3))).as_matrix())
    slow = panorama(turned(np.linspace(0, 2, 12)))
    static = background_motion(nobody(noisy))
    assert static.is_static and static.certainty > 0.8
    assert not background_motion(nobody(shaken)).is_static
    assert not background_motion(nobody(slow)).is_static
    blank = background_motion(nobody([np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 4))
    assert blank.is_static and blank.certainty == 0
