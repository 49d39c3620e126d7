"""One synthetic clip, whole: its film, its exact truth, and what a detector would have made of it."""

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
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import boxes_around, in_image_of
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.looks import LookConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pictures import (
    Setting,
    Windows,
    crop_windows,
    in_image,
    photographs,
    sample_setting,
    some,
    whole_images,
)
from selfmocap.synthetic.scene import Scene, ray_matrices, sample_scene, stage_of
from selfmocap.synthetic.shading import draw, dressed
from selfmocap.synthetic.truth import (
    Hits,
    forward_flow,
    hits,
    part_pixels,
    person_pixels,
    seen_keypoints,
)
from selfmocap.tracking.detectors.window import Window, crop_window
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.optical_flow import WORK_SIZE, crop_flow, dis_flow

_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Clip:
    """One person before one camera, filmed."""

    scene: Scene
    """Of one clip."""
    windows: Windows
    """The whole images."""
    setting: Setting
    figures: np.ndarray
    """(frames, 3, vertices) where the dressed figure is, camera frame, metres."""
    film: np.ndarray
    """(frames, height, width, 3) uint8 RGB."""
    fps: float


@torch.no_grad()
def sample_clip(
    seeds: np.random.SeedSequence, cameras: CameraConfig, frames: int, fps: float, motions: Sequence[MotionClip],
    backgrounds: Backgrounds, body: Body, num_betas: int | None = None, looks: LookConfig | None = None,
    spread: float = 1.0,
) -> Clip:  # fmt: skip
    """A clip that depends on nothing but its arguments. `cameras` must name the image's size; `spread` is the standard
    deviation of the betas."""
    assert cameras.size is not None
    scene_seeds, rest = seeds.spawn(2)
    scene = sample_scene(
        scene_seeds, cameras, looks or LookConfig(), (1, frames), fps, motions, body, num_betas, spread
    )
    windows = whole_images(scene)
    setting = sample_setting(np.random.default_rng(rest), scene, windows, backgrounds)
    model, size = stage_of(body).model, (cameras.size[1], cameras.size[0])
    film = np.empty((frames, *size, 3), np.uint8)
    for first in range(0, frames, _AT_ONCE):
        now = slice(first, first + _AT_ONCE)
        drawn = draw(scene.vertices[now], windows.lens[now], some(scene.look, now), model, size, 2, True)
        film[now] = photographs(drawn, some(windows, now), some(setting, now), backgrounds)
    return Clip(scene, windows, setting, dressed(scene.vertices, scene.look, model), film, fps)


# ---- truth ----------------------------------------------------------------------------------------------------


def motion_of(clip: Clip, body: Body, seed: str) -> Motion:
    """The true motion, in the world, with the camera of every frame."""
    camera, parameters = clip.scene.views.camera, clip.scene.parameters
    return Motion.from_parameters(
        body,
        type(parameters)(parameters.betas[0, 0], parameters.R_parent_joint[0], parameters.p_world_root[0]),
        Camera(camera.focal[0, 0], camera.center[0, 0], camera.R_cam_world[0], camera.t_cam_world[0]),
        image_size=(clip.film.shape[2], clip.film.shape[1]),
        frame_times=torch.arange(len(clip.film), dtype=torch.float64) / clip.fps,
        provenance={"made_by": "selfmocap synthesize", "seed": seed},
    )


def pixels_of(clip: Clip, body: Body) -> dict[str, np.ndarray]:
    """Of every pixel of every frame: `parts` (uint8: 0 nothing, k the part of joint k - 1), `depth` (float16 metres,
    infinity behind everything), `flow` (float16 px to the next frame; 0 in the last) and `flow_visible` (bool)."""
    figure, frames = stage_of(body).figure, len(clip.film)
    size = (clip.film.shape[1], clip.film.shape[2])
    parts, depth = np.empty((frames, *size), np.uint8), np.empty((frames, *size), np.float16)
    flow, visible = np.zeros((frames, *size, 2), np.float16), np.zeros((frames, *size), bool)
    before: Hits | None = None
    for frame in range(frames):
        now = _hits(clip, body, frame, clip.windows.lens[frame], size)
        parts[frame], depth[frame] = part_pixels(now.face, figure), now.depth
        if before is not None:
            flow[frame - 1], visible[frame - 1] = _flow(
                clip, body, frame - 1, before, now, clip.windows.lens[frame]
            )
        before = now
    return {"parts": parts, "depth": depth, "flow": flow, "flow_visible": visible}


def _hits(clip: Clip, body: Body, frame: int, lens: np.ndarray, size: tuple[int, int]) -> Hits:
    found = hits(clip.figures[frame : frame + 1], lens[None], stage_of(body).figure, size)
    return Hits(*(array[0] for array in found))


def _flow(
    clip: Clip, body: Body, frame: int, here: Hits, there: Hits, lens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rays = ray_matrices(lens[None])[0]
    from_here, from_there = (clip.setting.ray_to_background[f] @ rays for f in (frame, frame + 1))
    to_there = np.linalg.solve(from_there, from_here)
    return forward_flow(here, there, clip.figures[frame + 1], lens, stage_of(body).figure, to_there)


def keypoints_of(clip: Clip, body: Body, depth: np.ndarray) -> dict[str, np.ndarray]:
    """For every keypoint set of the body: `NAME` (frames, keypoints, 2) px, and `NAME visible` (frames, keypoints)
    bool: in the image and hidden by nothing. depth: (frames, height, width), metres."""
    vertices = torch.from_numpy(clip.scene.vertices[:, :, : stage_of(body).figure.body_vertices]).mT
    lens = torch.from_numpy(clip.windows.lens).float()
    found: dict[str, np.ndarray] = {}
    for name in body.regressors:
        points = body.keypoints(vertices, name)
        pixels = points[..., :2] / points[..., 2:] * lens[:, None, :2] + lens[:, None, 2:]
        within, seen = seen_keypoints(
            pixels.numpy(), points[..., 2].numpy(), keypoint_set(name).names, depth.astype(np.float32)
        )
        found |= {name: pixels.numpy(), f"{name} visible": within & seen}
    return found


def true_observations(clip: Clip, body: Body, keypoints: dict[str, np.ndarray]) -> Observations:
    """What a perfect detector would have given, in boxes 1.2 times the size of the person."""
    name = DEFAULT_KEYPOINTS.name
    visible = keypoints[f"{name} visible"]
    rng = np.random.default_rng(0)
    boxes = boxes_around(rng, keypoints[name][None].astype(float), np.ones((1, *visible.shape), bool))
    windows = crop_windows(clip.scene, boxes)
    masks, flow, confidence = _crop_truth(clip, body, windows)
    return _observations(clip, boxes[0], keypoints[name], visible, masks, flow, confidence, windows)


def _crop_truth(clip: Clip, body: Body, windows: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frames, side = len(clip.film), CROP_SIZE
    masks, flow = np.zeros((frames, side, side), bool), np.zeros((frames, side, side, 2), np.float32)
    confidence = np.zeros((frames, side, side), np.float32)
    inside = in_image(windows)
    for frame in range(frames):
        lens = windows.lens[frame]
        here = _hits(clip, body, frame, lens, (side, side))
        masks[frame] = person_pixels(here.face, stage_of(body).figure) & inside[frame]
        if frame + 1 < frames:
            there = _hits(clip, body, frame + 1, lens, (side, side))
            flow[frame], confidence[frame] = _flow(clip, body, frame, here, there, lens)
    return masks, flow, confidence * inside


# ---- as detected ----------------------------------------------------------------------------------------------


def detected_observations(
    rng: np.random.Generator, clip: Clip, body: Body, truth: Observations, config: CorruptionConfig
) -> Observations:
    """`truth` as a detector would have given it: keypoints off and at times swapped or missed, masks frayed, flow by
    DIS on the filmed frames."""
    keypoints, visible = truth.keypoints[None].double().numpy(), truth.keypoint_confidence[None].numpy() > 0
    size = np.maximum((keypoints.max(2) - keypoints.min(2)).max(-1), 1.0)
    errors = corrupt.sample_errors(rng, config.keypoints, 1, len(clip.film))
    places = corrupt.displaced(errors, keypoints, size) + corrupt.misplaced(errors, visible, size)
    inside = in_image_of(clip.scene, keypoints)
    confidence = corrupt.confidence_of(rng, errors, visible, inside)
    found = ~errors.missed & in_image_of(clip.scene, places)
    boxes = boxes_around(rng, places, found)
    windows = crop_windows(clip.scene, boxes)
    model, side = stage_of(body).model, CROP_SIZE
    drawn = draw(clip.scene.vertices, windows.lens, clip.scene.look, model, side, 1, False)
    masks = corrupt.corrupt_masks(rng, config.masks, drawn.person, drawn.held) & in_image(windows)
    flow, flow_confidence = measured_flow(clip, boxes[0])
    return _observations(clip, boxes[0], places[0], confidence[0], masks, flow, flow_confidence, windows)


def measured_flow(clip: Clip, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow by DIS on the filmed frames, and its confidence, in the crops that `boxes` (frames, 3) cut."""
    frames, side = len(clip.film), CROP_SIZE
    flow, confidence = (
        np.zeros((frames, side, side, 2), np.float32),
        np.zeros((frames, side, side), np.float32),
    )
    for frame in range(frames - 1):
        window = _window(boxes[frame])
        measured = crop_flow(
            crop_window(clip.film[frame], window, WORK_SIZE), crop_window(clip.film[frame + 1], window, WORK_SIZE), dis_flow
        )
        flow[frame], confidence[frame] = measured.flow, measured.confidence
    return flow, confidence


def _window(box: np.ndarray) -> Window:
    return Window(float(box[0]), float(box[1]), 2 * float(box[2]))


def _observations(
    clip: Clip, boxes: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray, masks: np.ndarray, flow: np.ndarray,
    flow_confidence: np.ndarray, windows: Windows,
) -> Observations:  # fmt: skip
    crops = [crop_window(image, _window(box), CROP_SIZE) for image, box in zip(clip.film, boxes, strict=True)]

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return Observations(
        frame_index=torch.arange(len(clip.film)),
        frame_times=torch.arange(len(clip.film), dtype=torch.float64) / clip.fps,
        image_size=(clip.film.shape[2], clip.film.shape[1]),
        boxes=tensor(boxes),
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=tensor(keypoints),
        keypoint_confidence=tensor(confidence),
        crops=torch.from_numpy(np.stack(crops)),
        masks=torch.from_numpy(masks),
        mask_certain=torch.from_numpy(in_image(windows)),
        flow=tensor(flow),
        flow_confidence=tensor(flow_confidence),
    )
