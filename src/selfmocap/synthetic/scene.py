"""What stands before synthetic cameras: people in motion with all that they wear and hold, placed and posed, but not
yet drawn. Everything follows from one seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.geometry.camera import Camera, project
from selfmocap.synthetic.cameras import CameraConfig, Views, sample_views
from selfmocap.synthetic.develop import BLOBS, Ground
from selfmocap.synthetic.figure import Figure, Things, box_vertices, figure_of, skirt_vertices
from selfmocap.synthetic.looks import (
    LookConfig,
    look_of,
    model_of,
    posed_light,
    sample_edges,
    sample_layers,
    sample_light,
    sample_things,
)
from selfmocap.synthetic.motions import MotionClip, sample_poses, scaled_root
from selfmocap.synthetic.shading import Look, Model
from selfmocap.synthetic.variety import Variety, varied_poses

_SHADED = ("left_foot", "right_foot", "left_hand", "right_hand", "pelvis", "head")
_MOST_EXTREME = 3.0


@dataclass(frozen=True, eq=False)
class Stage:
    """What all people with one body share."""

    figure: Figure
    model: Model


@lru_cache(maxsize=1)
def stage_of(body: Body) -> Stage:
    """The mesh to draw and its tables, for a body; kept for the last body asked for."""
    figure = figure_of(body)
    return Stage(figure, model_of(body, figure))


@dataclass(frozen=True, eq=False)
class Scene:
    """People before cameras."""

    parameters: BodyParameters
    """betas (clips, 1, betas), R_parent_joint (clips, frames, 24, 3, 3), p_world_root (clips, frames, 3)."""
    views: Views
    joints_cam: Float[Tensor, "clips frames 24 3"]
    keypoints_cam: Float[Tensor, "clips frames keypoints 3"]
    """The default set's, metres, camera frame."""
    vertices: np.ndarray
    """(clips * frames, 3, vertices) float32 of the figure in the camera frame; the body's are the first."""
    look: Look
    """One a frame."""
    keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image."""

    @property
    def R_cam_joint(self) -> Float[Tensor, "clips frames 24 3 3"]:
        """The rotations with the root's in the camera frame, as if the camera were the world."""
        R = self.parameters.R_parent_joint.clone()
        R[:, :, 0] = self.views.camera.R_cam_world @ R[:, :, 0]
        return R


def sample_scene(
    seeds: np.random.SeedSequence, cameras: CameraConfig, looks: LookConfig, shape: tuple[int, int], fps: float,
    motions: Sequence[MotionClip], body: Body, num_betas: int | None = None, spread: float = 1.0,
    variety: Variety | None = None,
) -> Scene:  # fmt: skip
    """People in `shape` = (clips, frames), each clip one person, frames `fps` to the second. Their shapes follow the
    population that the body's betas describe (each is N(0, 1), here with `spread` as its standard deviation); if
    `num_betas` is given, the others are zero."""
    motion_rng, view_rng, look_rng = (np.random.default_rng(seed) for seed in seeds.spawn(3))
    clips, frames = shape
    if variety is None:
        poses = sample_poses(motion_rng, motions, clips, frames, fps)
    else:
        poses = varied_poses(motion_rng, variety, motions, clips, frames, fps, body)
    betas = spread * motion_rng.normal(size=(clips, body.num_betas)).clip(-_MOST_EXTREME, _MOST_EXTREME)
    if num_betas is not None:
        betas[:, num_betas:] = 0
    betas = torch.from_numpy(betas).float()
    with torch.no_grad():
        p_world_root = scaled_root(body, betas, poses.p_world_root)
        views = sample_views(view_rng, cameras, p_world_root, fps)
        parameters = BodyParameters(betas[:, None], poses.R_parent_joint, p_world_root)
        return _posed(look_rng, looks, parameters, views, body)


def _posed(
    rng: np.random.Generator, looks: LookConfig, parameters: BodyParameters, views: Views, body: Body
) -> Scene:
    camera = views.camera
    R_cam = camera.R_cam_world
    R = parameters.R_parent_joint.clone()
    R[:, :, 0] = R_cam @ R[:, :, 0]
    p_cam_root = camera.to_camera(parameters.p_world_root[:, :, None]).squeeze(-2)
    posed = body.shape(parameters.betas).pose(R, p_cam_root)
    keypoints_cam = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    clips = len(R)
    things = _things(rng, looks, parameters, views, body)
    extra = [
        skirt_vertices(things.skirt, posed.R_world_joint, posed.joints),
        *_boxes(things, posed.R_world_joint, posed.joints, camera),
    ]
    vertices = torch.cat([posed.vertices.mT, *extra], dim=-1).flatten(0, 1)
    light = posed_light(sample_light(rng, clips), R_cam)
    edges, layers = sample_edges(rng, body, clips), sample_layers(rng, looks, clips)
    look = look_of(edges, layers, light, rng.uniform(0, 32, (clips, 3)))
    pixels = project(keypoints_cam, camera.focal, camera.center)
    return Scene(parameters, views, posed.joints, keypoints_cam, vertices.contiguous().numpy(), look, pixels)


def _things(
    rng: np.random.Generator, looks: LookConfig, parameters: BodyParameters, views: Views, body: Body
) -> Things:
    anchor = parameters.p_world_root.mean(1).double().numpy()
    return sample_things(rng, looks, body, anchor, views.camera.p_world_cam[:, 0].double().numpy())


def _boxes(
    things: Things, R_cam_joint: Float[Tensor, "clips frames 24 3 3"], p_cam_joint: Float[Tensor, "clips frames 24 3"],
    camera: Camera,
) -> list[Float[Tensor, "clips frames 3 8"]]:  # fmt: skip
    R_hand = torch.einsum("cj,cfjab->cfab", things.held_by, R_cam_joint)
    p_hand = torch.einsum("cj,cfja->cfa", things.held_by, p_cam_joint)
    center = p_hand + (R_hand @ things.held_at[:, None, :, None]).squeeze(-1)
    boxes = [box_vertices(things.held[:, None].expand_as(center), R_hand, center)]
    for i in range(things.grounded.shape[1]):
        R = camera.R_cam_world @ things.grounded_R[:, None, i]
        p_world = things.grounded_at[:, None, i, None].expand(*R.shape[:2], 1, 3)
        center = camera.to_camera(p_world).squeeze(-2)
        boxes.append(box_vertices(things.grounded[:, None, i].expand(*R.shape[:2], 3), R, center))
    return boxes


# ---- the ground -----------------------------------------------------------------------------------------------


def ground_of(scene: Scene, intrinsics: np.ndarray, known: np.ndarray) -> Ground:
    """Where pictures with these `intrinsics` (pictures, 4) see the ground, and the shadows on it; nothing for the
    pictures whose horizon is not `known` (pictures,)."""
    camera = scene.views.camera
    rays = ray_matrices(intrinsics)
    R_world_cam = camera.R_cam_world.mT.double().reshape(-1, 3, 3).numpy()
    p_world_cam = scene.views.camera.p_world_cam.double().reshape(-1, 3).numpy()
    direction = R_world_cam @ rays
    w = -direction[:, 1] / np.maximum(p_world_cam[:, 1:2], 1e-3)
    homography = np.stack(
        [p_world_cam[:, :1] * w + direction[:, 0], p_world_cam[:, 2:] * w + direction[:, 2], w], axis=1
    )
    joints = camera.to_world(scene.joints_cam)[:, :, [JOINT[name] for name in _SHADED]]
    x, y, z = joints.double().reshape(-1, BLOBS, 3).numpy().transpose(2, 0, 1)
    height = np.maximum(y, 0)
    blobs = np.stack([x, z, 0.14 + 0.45 * height, 0.65 * np.exp(-height / 0.35)], axis=-1)
    return Ground(homography * known[:, None, None], blobs)


def ray_matrices(intrinsics: np.ndarray) -> np.ndarray:
    """(pictures, 3, 3) that take a pixel (x, y, 1) to its ray (camera frame, depth 1)."""
    fx, fy, cx, cy = intrinsics.T
    rays = np.zeros((len(intrinsics), 3, 3))
    rays[:, 0, 0], rays[:, 0, 2] = 1 / fx, -cx / fx
    rays[:, 1, 1], rays[:, 1, 2] = 1 / fy, -cy / fy
    rays[:, 2, 2] = 1
    return rays
