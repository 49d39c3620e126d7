"""Accuracy and speed of the camera's path, beside COLMAP's incremental mapper and chained essential matrices of OpenCV.

Synthetic rooms, exact masks of the person. `--motions` and `--backgrounds` are folders of recordings and pictures.
The cameras have focal lengths of 0.65 to 1.6 times the longer side, which the methods know. A second table has what the
background tells of them, beside the default one. COLMAP needs `pip install pycolmap`; without it, its rows are left
out.

    python benchmarks/camera.py --clips 2 --frames 100
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.geometry.focal_prior import focal_prior
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.motions import from_recording, procedural_motions
from selfmocap.synthetic.room_clips import CAMERA_MOVES, RoomClip, sample_room_clip
from selfmocap.tracking.camera_path.solve import focal_from_background, solve_path
from selfmocap.tracking.camera_path.tracks import find_corners, track_background, track_forward_and_back

_DILATION_PX = 15
FOCALS = (0.65, 1.6)

Poses = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows of the frames with a pose, R_cam_world and the position of the camera in each."""


def masks_of(clip: RoomClip) -> list[np.ndarray]:
    """Return the dilated masks of the person."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_DILATION_PX, _DILATION_PX))
    return [cv2.dilate(mask.astype(np.uint8), disc).astype(bool) for mask in clip.masks]


def selfmocap_poses(clip: RoomClip, focal: float, center: tuple[float, float]) -> Poses:
    """Estimate the path with this project."""
    path = solve_path(track_background(zip(clip.images, masks_of(clip), strict=True)), focal, center)
    return np.flatnonzero(path.known), path.R_cam_world[path.known], path.p_world_cam[path.known]


def opencv_poses(clip: RoomClip, focal: float, center: tuple[float, float]) -> Poses:
    """Chain the essential matrices of successive frames; each step has the length 1, as images do not show it."""
    K = np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]])
    masks, R, t = masks_of(clip), np.eye(3), np.zeros(3)
    rotations, eyes = [R], [np.zeros(3)]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip.images]
    for before, after, mask in zip(grey[:-1], grey[1:], masks[:-1], strict=True):
        points = find_corners(before, mask, np.zeros((0, 2)), 400)
        moved, tracked = track_forward_and_back(before, after, points)
        E, inliers = cv2.findEssentialMat(points[tracked], moved[tracked], K, cv2.RANSAC, 0.999, 1.0)
        if E is not None and E.shape == (3, 3):
            _, R_step, t_step, _ = cv2.recoverPose(E, points[tracked], moved[tracked], K, mask=inliers)
            R, t = R_step @ R, R_step @ t + t_step[:, 0]
        rotations.append(R)
        eyes.append(-R.T @ t)
    return np.arange(len(grey)), np.array(rotations), np.array(eyes)


def colmap_poses(clip: RoomClip, focal: float, center: tuple[float, float]) -> Poses:
    """Map every frame incrementally: SIFT, sequential matching, known intrinsics."""
    import pycolmap  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("images", "masks", "sparse"):
            (root / name).mkdir()
        for row, (image, mask) in enumerate(zip(clip.images, masks_of(clip), strict=True)):
            cv2.imwrite(str(root / "images" / f"{row:05d}.png"), image[..., ::-1])
            cv2.imwrite(str(root / "masks" / f"{row:05d}.png.png"), np.where(mask, 0, 255).astype(np.uint8))
        database = root / "database.db"
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model, reader.mask_path = "PINHOLE", str(root / "masks")
        reader.camera_params = f"{focal},{focal},{center[0] + 0.5},{center[1] + 0.5}"
        pycolmap.extract_features(
            database, root / "images", camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader,
            device=pycolmap.Device.cpu,
        )  # fmt: skip
        pycolmap.match_sequential(database, device=pycolmap.Device.cpu)
        options = pycolmap.IncrementalPipelineOptions()
        options.ba_refine_focal_length = options.ba_refine_extra_params = False
        maps = pycolmap.incremental_mapping(database, root / "images", root / "sparse", options)
        if not maps:
            return np.zeros(0, int), np.zeros((0, 3, 3)), np.zeros((0, 3))
        largest = max(maps.values(), key=lambda found: found.num_reg_images())
        images = sorted(
            (image for image in largest.images.values() if image.has_pose), key=lambda image: image.name
        )
        poses = [image.cam_from_world() for image in images]
        R = np.array([pose.rotation.matrix() for pose in poses])
        t = np.array([pose.translation for pose in poses])
        return np.array([int(i.name[:5]) for i in images]), R, -np.einsum("nji,nj->ni", R, t)


def errors(clip: RoomClip, poses: Poses) -> tuple[float, float, float]:
    """Return the median rotation error (deg), the mean position error after a similarity (mm), and the fraction of
    frames with a pose."""
    rows, R, eye = poses
    if len(rows) < 3:
        return np.nan, np.nan, len(rows) / len(clip.images)
    true_R = clip.camera.R_cam_world.double().numpy()[rows]
    true_eye = clip.camera.p_world_cam.double().numpy()[rows]
    world = _nearest_rotation(np.einsum("nij,nik->jk", true_R, R))
    angle = np.linalg.norm(Rotation.from_matrix(true_R @ world @ R.swapaxes(1, 2)).as_rotvec(), axis=1)
    centred, target = eye - eye.mean(0), true_eye - true_eye.mean(0)
    turn = _nearest_rotation(target.T @ centred)
    turned = centred @ turn.T
    scale = (turned * target).sum() / max((turned**2).sum(), 1e-12)
    distance = np.linalg.norm(scale * turned - target, axis=1).mean()
    return float(np.rad2deg(np.median(angle))), 1000 * float(distance), len(rows) / len(clip.images)


def _nearest_rotation(M: np.ndarray) -> np.ndarray:
    U, _, Vh = np.linalg.svd(M)
    return U @ np.diag([1, 1, np.linalg.det(U @ Vh)]) @ Vh


def focal_errors(clip: RoomClip) -> tuple[float, float, float]:
    """Return the errors of the logarithm of the default focal length and of the one that the background tells, and the
    spread of the latter; without an estimate, the default's."""
    height, width = clip.images.shape[1:3]
    true, prior = float(clip.camera.focal[0]), focal_prior("landscape video").scaled(width)
    tracks = track_background(zip(clip.images, masks_of(clip), strict=True))
    found = focal_from_background(tracks, prior.median, ((width - 1) / 2, (height - 1) / 2)) or prior
    return math.log(prior.median / true), math.log(found.median / true), found.log_spread


def _methods() -> dict[str, Callable[[RoomClip, float, tuple[float, float]], Poses]]:
    methods = {"selfmocap": selfmocap_poses, "OpenCV, chained": opencv_poses}
    try:
        import pycolmap  # pyright: ignore[reportMissingImports] # noqa: F401
    except ImportError:
        return methods
    return methods | {"COLMAP": colmap_poses}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=2, help="clips of each kind of camera")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--moves", nargs="+", default=[move for move in CAMERA_MOVES if move != "static"])
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    arguments = parser.parse_args()
    body = Body.load()
    pictures = (
        procedural_backgrounds() if arguments.backgrounds is None else load_backgrounds(arguments.backgrounds)
    )
    if arguments.motions is None:
        motions = procedural_motions(body, 8)
    else:
        motions = [from_recording(clip, body) for clip in load_motions(arguments.motions, body)]
    print(
        "| camera | method | rotation, deg (median) | position, mm (mean) | frames with a pose | frames a second |"
    )
    print("|---|---|---|---|---|---|")
    draws, lenses = np.random.default_rng(0), []
    for move in arguments.moves:
        clips = [
            sample_room_clip(
                np.random.SeedSequence([seed, CAMERA_MOVES.index(move)]), move, arguments.frames, (640, 360),
                motions, pictures.images, body, focal=FOCALS[0] * (FOCALS[1] / FOCALS[0]) ** draws.random(),
            )
            for seed in range(arguments.clips)
        ]  # fmt: skip
        lenses.extend((move, *focal_errors(clip)) for clip in clips)
        for name, method in _methods().items():
            seconds, found = 0.0, []
            for clip in clips:
                camera = clip.camera
                began = time.process_time()
                poses = method(
                    clip, float(camera.focal[0]), (float(camera.center[0]), float(camera.center[1]))
                )
                seconds += time.process_time() - began
                found.append(errors(clip, poses))
            rotation, position, known = np.array(found).T
            rate = arguments.frames * len(clips) / seconds
            print(
                f"| {move} | {name} | {np.nanmedian(rotation):.2f} | {np.nanmean(position):.0f} | "
                f"{np.mean(known):.0%} | {rate:.1f} |",
                flush=True,
            )
    print("\n| camera | logarithm of the focal length, off by: default | estimated | its spread |")
    print("|---|---|---|---|")
    for move, *row in lenses:
        print(f"| {move} | {' | '.join(f'{number:.3f}' for number in row)} |")


if __name__ == "__main__":
    main()
