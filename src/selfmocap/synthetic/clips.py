"""Render a synthetic clip, and derive its truth and its observations with detection errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, keypoint_set
from selfmocap.geometry.camera import CROP_SIZE, Camera
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import inside_scene_image, relative_distances, sample_boxes
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.rendering import (
    ImageWindows,
    SceneBackground,
    crop_windows,
    full_image_windows,
    pixels_in_image,
    render_images,
    sample_scene_background,
    select_images,
)
from selfmocap.synthetic.room_clips import RoomClip
from selfmocap.synthetic.scene import Scene, figure_assets, ray_matrices, sample_scene
from selfmocap.synthetic.shading import dressed_vertices, render_figures
from selfmocap.synthetic.truth import (
    RayHits,
    cast_rays,
    forward_flow,
    part_pixels,
    person_pixels,
    unoccluded_keypoints,
)
from selfmocap.tracking.detectors.window import Window, crop_window
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.optical_flow import WORK_SIZE, crop_flow, dis_flow

_FRAMES_PER_BATCH = 8


@dataclass(frozen=True, eq=False)
class SyntheticClip:
    """One person in front of one camera, rendered."""

    scene: Scene
    """A scene of one clip."""
    windows: ImageWindows
    """Windows of the full images."""
    background: SceneBackground
    figure_vertices: np.ndarray
    """(frames, 3, vertices) of the dressed figure, camera frame, metres."""
    images: np.ndarray
    """(frames, height, width, 3) uint8 RGB."""
    fps: float


@torch.no_grad()
def sample_clip(
    seeds: np.random.SeedSequence, cameras: CameraConfig, frames: int, fps: float, motions: Sequence[MotionClip],
    backgrounds: Backgrounds, body: Body, num_betas: int | None = None, appearance: AppearanceConfig | None = None,
    betas_std: float = 1.0,
) -> SyntheticClip:  # fmt: skip
    """Generate a clip, which depends on the arguments only. `cameras` must give the image size; `betas_std` is the
    standard deviation of the betas."""
    assert cameras.size is not None
    scene_seeds, rest = seeds.spawn(2)
    scene = sample_scene(
        scene_seeds,
        cameras,
        appearance or AppearanceConfig(),
        (1, frames),
        fps,
        motions,
        body,
        num_betas,
        betas_std,
    )
    windows = full_image_windows(scene)
    background = sample_scene_background(np.random.default_rng(rest), scene, windows, backgrounds)
    model, size = figure_assets(body).model, (cameras.size[1], cameras.size[0])
    images = np.empty((frames, *size, 3), np.uint8)
    for first in range(0, frames, _FRAMES_PER_BATCH):
        batch = slice(first, first + _FRAMES_PER_BATCH)
        rendered = render_figures(
            scene.vertices[batch],
            windows.intrinsics[batch],
            select_images(scene.appearance, batch),
            model,
            size,
            2,
            True,
        )
        images[batch] = render_images(
            rendered, select_images(windows, batch), select_images(background, batch), backgrounds
        )
    return SyntheticClip(
        scene, windows, background, dressed_vertices(scene.vertices, scene.appearance, model), images, fps
    )


# ---- truth ----------------------------------------------------------------------------------------------------


def true_motion(clip: SyntheticClip | RoomClip, body: Body, seed: str) -> Motion:
    """Return the true motion in the world, with the camera of every frame."""
    camera, parameters = clip.scene.views.camera, clip.scene.parameters
    return Motion.from_parameters(
        body,
        type(parameters)(parameters.betas[0, 0], parameters.R_parent_joint[0], parameters.p_world_root[0]),
        Camera(camera.focal[0, 0], camera.center[0, 0], camera.R_cam_world[0], camera.t_cam_world[0]),
        image_size=(clip.images.shape[2], clip.images.shape[1]),
        frame_times=torch.arange(len(clip.images), dtype=torch.float64) / clip.fps,
        provenance={"made_by": "selfmocap synthesize", "seed": seed},
    )


def true_pixels(clip: SyntheticClip, body: Body) -> dict[str, np.ndarray]:
    """Compute the truth of every pixel of every frame: `parts` (uint8: 0 is background, k the part of joint k - 1),
    `depth` (float16 metres, infinity for the background), `flow` (float16 px to the next frame; 0 in the last frame)
    and `flow_visible` (bool)."""
    figure, frames = figure_assets(body).figure, len(clip.images)
    size = (clip.images.shape[1], clip.images.shape[2])
    parts, depth = np.empty((frames, *size), np.uint8), np.empty((frames, *size), np.float16)
    flow, visible = np.zeros((frames, *size, 2), np.float16), np.zeros((frames, *size), bool)
    before: RayHits | None = None
    for frame in range(frames):
        batch = _hits(clip, body, frame, clip.windows.intrinsics[frame], size)
        parts[frame], depth[frame] = part_pixels(batch.face, figure), batch.depth
        if before is not None:
            flow[frame - 1], visible[frame - 1] = _flow(
                clip, body, frame - 1, before, batch, clip.windows.intrinsics[frame]
            )
        before = batch
    return {"parts": parts, "depth": depth, "flow": flow, "flow_visible": visible}


def _hits(
    clip: SyntheticClip, body: Body, frame: int, intrinsics: np.ndarray, size: tuple[int, int]
) -> RayHits:
    keypoints = cast_rays(
        clip.figure_vertices[frame : frame + 1], intrinsics[None], figure_assets(body).figure, size
    )
    return RayHits(*(array[0] for array in keypoints))


def _flow(
    clip: SyntheticClip, body: Body, frame: int, hits: RayHits, next_hits: RayHits, intrinsics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rays = ray_matrices(intrinsics[None])[0]
    rays_to_background, next_rays_to_background = (
        clip.background.ray_to_background[f] @ rays for f in (frame, frame + 1)
    )
    background_to_next = np.linalg.solve(next_rays_to_background, rays_to_background)
    return forward_flow(
        hits,
        next_hits,
        clip.figure_vertices[frame + 1],
        intrinsics,
        figure_assets(body).figure,
        background_to_next,
    )


def true_keypoints(clip: SyntheticClip, body: Body, depth: np.ndarray) -> dict[str, np.ndarray]:
    """Compute, for every keypoint set of the body, `NAME` (frames, keypoints, 2) px and `NAME visible` (frames,
    keypoints) bool: inside the image and unoccluded. depth: (frames, height, width) metres."""
    vertices = torch.from_numpy(clip.scene.vertices[:, :, : figure_assets(body).figure.num_body_vertices]).mT
    intrinsics = torch.from_numpy(clip.windows.intrinsics).float()
    keypoints: dict[str, np.ndarray] = {}
    for name in body.regressors:
        points = body.keypoints(vertices, name)
        pixels = points[..., :2] / points[..., 2:] * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
        inside, unoccluded = unoccluded_keypoints(
            pixels.numpy(), points[..., 2].numpy(), keypoint_set(name).names, depth.astype(np.float32)
        )
        keypoints |= {name: pixels.numpy(), f"{name} visible": inside & unoccluded}
    return keypoints


def true_observations(clip: SyntheticClip, body: Body, keypoints: dict[str, np.ndarray]) -> Observations:
    """Return the observations of a perfect detector, in boxes about 1.2 times the size of the person."""
    name = DEFAULT_KEYPOINTS.name
    visible = keypoints[f"{name} visible"]
    rng = np.random.default_rng(0)
    boxes = sample_boxes(rng, keypoints[name][None].astype(float), np.ones((1, *visible.shape), bool))
    windows = crop_windows(clip.scene, boxes)
    masks, flow, confidence = _crop_truth(clip, body, windows)
    return _observations(clip, boxes[0], keypoints[name], visible, masks, flow, confidence, windows)


def _crop_truth(
    clip: SyntheticClip, body: Body, windows: ImageWindows
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frames, side = len(clip.images), CROP_SIZE
    masks, flow = np.zeros((frames, side, side), bool), np.zeros((frames, side, side, 2), np.float32)
    confidence = np.zeros((frames, side, side), np.float32)
    inside = pixels_in_image(windows)
    for frame in range(frames):
        intrinsics = windows.intrinsics[frame]
        hits = _hits(clip, body, frame, intrinsics, (side, side))
        masks[frame] = person_pixels(hits.face, figure_assets(body).figure) & inside[frame]
        if frame + 1 < frames:
            next_hits = _hits(clip, body, frame + 1, intrinsics, (side, side))
            flow[frame], confidence[frame] = _flow(clip, body, frame, hits, next_hits, intrinsics)
    return masks, flow, confidence * inside


# ---- with detection errors ------------------------------------------------------------------------------------


def detected_observations(
    rng: np.random.Generator, clip: SyntheticClip, body: Body, truth: Observations, config: CorruptionConfig
) -> Observations:
    """Return `truth` with detection errors: displaced, swapped and missed keypoints, frayed masks, and DIS flow of the
    rendered frames."""
    keypoints, visible = truth.keypoints[None].double().numpy(), truth.keypoint_confidence[None].numpy() > 0
    size = np.maximum((keypoints.max(2) - keypoints.min(2)).max(-1), 1.0)
    errors = corrupt.sample_errors(rng, config.keypoints, 1, len(clip.images))
    displaced = corrupt.displaced_keypoints(errors, keypoints, size)
    displaced = displaced + corrupt.hidden_displacement(errors, visible, size)
    inside = inside_scene_image(clip.scene, keypoints)
    distance = relative_distances(displaced, keypoints, size)
    confidence = corrupt.sample_confidence(rng, errors, distance, inside)
    keypoints = ~errors.missed & inside_scene_image(clip.scene, displaced)
    boxes = sample_boxes(rng, displaced, keypoints)
    windows = crop_windows(clip.scene, boxes)
    model, side = figure_assets(body).model, CROP_SIZE
    rendered = render_figures(
        clip.scene.vertices, windows.intrinsics, clip.scene.appearance, model, side, 1, False
    )
    masks = corrupt.corrupt_masks(rng, config.masks, rendered.person, rendered.held) & pixels_in_image(
        windows
    )
    flow, flow_confidence = measured_flow(clip, boxes[0])
    return _observations(clip, boxes[0], displaced[0], confidence[0], masks, flow, flow_confidence, windows)


def measured_flow(clip: SyntheticClip, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the DIS flow of the rendered frames and its confidence, in the crops of `boxes` (frames, 3)."""
    frames, side = len(clip.images), CROP_SIZE
    flow, confidence = (
        np.zeros((frames, side, side, 2), np.float32),
        np.zeros((frames, side, side), np.float32),
    )
    for frame in range(frames - 1):
        window = _window(boxes[frame])
        measured = crop_flow(
            crop_window(clip.images[frame], window, WORK_SIZE),
            crop_window(clip.images[frame + 1], window, WORK_SIZE),
            dis_flow,
        )
        flow[frame], confidence[frame] = measured.flow, measured.confidence
    return flow, confidence


def _window(box: np.ndarray) -> Window:
    return Window(float(box[0]), float(box[1]), 2 * float(box[2]))


def _observations(
    clip: SyntheticClip, boxes: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, masks: np.ndarray,
    flow: np.ndarray, flow_confidence: np.ndarray, windows: ImageWindows,
) -> Observations:  # fmt: skip
    crops = [
        crop_window(image, _window(box), CROP_SIZE) for image, box in zip(clip.images, boxes, strict=True)
    ]

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return Observations(
        frame_index=torch.arange(len(clip.images)),
        frame_times=torch.arange(len(clip.images), dtype=torch.float64) / clip.fps,
        image_size=(clip.images.shape[2], clip.images.shape[1]),
        boxes=tensor(boxes),
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=tensor(keypoints),
        keypoint_confidence=tensor(confidence),
        crops=torch.from_numpy(np.stack(crops)),
        masks=torch.from_numpy(masks),
        mask_certain=torch.from_numpy(pixels_in_image(windows)),
        flow=tensor(flow),
        flow_confidence=tensor(flow_confidence),
    )
