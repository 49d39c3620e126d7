"""Scenes in front of synthetic cameras: people in motion with clothes and props, posed but not rendered. Everything
follows from one seed."""

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
from selfmocap.synthetic.appearance import (
    AppearanceConfig,
    appearance_of_frames,
    figure_model,
    posed_light,
    sample_edges,
    sample_layers,
    sample_light,
    sample_props,
)
from selfmocap.synthetic.camera_effects import NUM_SHADOWS, GroundShadows
from selfmocap.synthetic.cameras import CameraConfig, Views, sample_views
from selfmocap.synthetic.figure import FigureMesh, Props, box_vertices, figure_mesh, skirt_vertices
from selfmocap.synthetic.motions import MotionClip, sample_poses, scale_root_path
from selfmocap.synthetic.pose_variety import PoseVariety, sample_varied_poses
from selfmocap.synthetic.shading import FigureAppearance, FigureModel

_SHADOW_JOINTS = ("left_foot", "right_foot", "left_hand", "right_hand", "pelvis", "head")
_MAX_BETA = 3.0


@dataclass(frozen=True, eq=False)
class FigureAssets:
    """Data of rendering that all people with one body share."""

    figure: FigureMesh
    model: FigureModel


@lru_cache(maxsize=1)
def figure_assets(body: Body) -> FigureAssets:
    """Build the mesh and tables of a body; the last result is cached."""
    figure = figure_mesh(body)
    return FigureAssets(figure, figure_model(body, figure))


@dataclass(frozen=True, eq=False)
class Scene:
    """People in front of cameras."""

    parameters: BodyParameters
    """betas (clips, 1, betas), R_parent_joint (clips, frames, 24, 3, 3), p_world_root (clips, frames, 3)."""
    views: Views
    joints_cam: Float[Tensor, "clips frames 24 3"]
    keypoints_cam: Float[Tensor, "clips frames keypoints 3"]
    """Of the default set, metres, camera frame."""
    vertices: np.ndarray
    """(clips * frames, 3, vertices) float32 of the figure in the camera frame; the body's are first."""
    appearance: FigureAppearance
    """One row per frame."""
    keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image."""

    @property
    def R_cam_joint(self) -> Float[Tensor, "clips frames 24 3 3"]:
        """The rotations with the root's in the camera frame, as if the camera were the world."""
        R = self.parameters.R_parent_joint.clone()
        R[:, :, 0] = self.views.camera.R_cam_world @ R[:, :, 0]
        return R


def sample_scene(
    seeds: np.random.SeedSequence, cameras: CameraConfig, appearance: AppearanceConfig, shape: tuple[int, int],
    fps: float, motions: Sequence[MotionClip], body: Body, num_betas: int | None = None, betas_std: float = 1.0,
    variety: PoseVariety | None = None,
) -> Scene:  # fmt: skip
    """Draw people in `shape` = (clips, frames), each clip one person.

    Their betas are normally distributed with the standard deviation `betas_std` (1 is the population of the body
    model); if `num_betas` is given, the others are zero."""
    motion_rng, view_rng, appearance_rng = (np.random.default_rng(seed) for seed in seeds.spawn(3))
    clips, frames = shape
    if variety is None:
        poses = sample_poses(motion_rng, motions, clips, frames, fps)
    else:
        poses = sample_varied_poses(motion_rng, variety, motions, clips, frames, fps, body)
    betas = betas_std * sample_betas(motion_rng, body, clips)
    if num_betas is not None:
        betas[:, num_betas:] = 0
    with torch.no_grad():
        p_world_root = scale_root_path(body, betas, poses.p_world_root)
        views = sample_views(view_rng, cameras, p_world_root, fps)
        parameters = BodyParameters(betas[:, None], poses.R_parent_joint, p_world_root)
        return pose_scene(appearance_rng, appearance, parameters, views, body)


def sample_betas(rng: np.random.Generator, body: Body, count: int) -> Float[Tensor, "count betas"]:
    """Draw the shapes of `count` people from the population of the body model."""
    return torch.from_numpy(rng.normal(size=(count, body.num_betas)).clip(-_MAX_BETA, _MAX_BETA)).float()


def pose_scene(
    rng: np.random.Generator,
    config: AppearanceConfig,
    parameters: BodyParameters,
    views: Views,
    body: Body,
) -> Scene:
    """Pose people before their cameras; their props, clothes and light are drawn."""
    camera = views.camera
    R_cam = camera.R_cam_world
    R = parameters.R_parent_joint.clone()
    R[:, :, 0] = R_cam @ R[:, :, 0]
    p_cam_root = camera.to_camera(parameters.p_world_root[:, :, None]).squeeze(-2)
    posed = body.shape(parameters.betas).pose(R, p_cam_root)
    keypoints_cam = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    clips = len(R)
    props = _sample_props(rng, config, parameters, views, body)
    extra = [
        skirt_vertices(props.skirt, posed.R_world_joint, posed.joints),
        *_box_vertices(props, posed.R_world_joint, posed.joints, camera),
    ]
    vertices = torch.cat([posed.vertices.mT, *extra], dim=-1).flatten(0, 1)
    light = posed_light(sample_light(rng, clips), R_cam)
    edges, layers = sample_edges(rng, body, clips), sample_layers(rng, config, clips)
    appearance = appearance_of_frames(edges, layers, light, rng.uniform(0, 32, (clips, 3)))
    pixels = project(keypoints_cam, camera.focal, camera.center)
    return Scene(
        parameters, views, posed.joints, keypoints_cam, vertices.contiguous().numpy(), appearance, pixels
    )


def _sample_props(
    rng: np.random.Generator,
    config: AppearanceConfig,
    parameters: BodyParameters,
    views: Views,
    body: Body,
) -> Props:
    anchor = parameters.p_world_root.mean(1).double().numpy()
    return sample_props(rng, config, body, anchor, views.camera.p_world_cam[:, 0].double().numpy())


def _box_vertices(
    props: Props, R_cam_joint: Float[Tensor, "clips frames 24 3 3"], p_cam_joint: Float[Tensor, "clips frames 24 3"],
    camera: Camera,
) -> list[Float[Tensor, "clips frames 3 8"]]:  # fmt: skip
    R_hand = torch.einsum("cj,cfjab->cfab", props.holding_joint, R_cam_joint)
    p_hand = torch.einsum("cj,cfja->cfa", props.holding_joint, p_cam_joint)
    center = p_hand + (R_hand @ props.p_joint_held[:, None, :, None]).squeeze(-1)
    boxes = [box_vertices(props.held[:, None].expand_as(center), R_hand, center)]
    for i in range(props.furniture.shape[1]):
        R = camera.R_cam_world @ props.R_world_furniture[:, None, i]
        p_world = props.p_world_furniture[:, None, i, None].expand(*R.shape[:2], 1, 3)
        center = camera.to_camera(p_world).squeeze(-2)
        boxes.append(box_vertices(props.furniture[:, None, i].expand(*R.shape[:2], 3), R, center))
    return boxes


# ---- the ground -----------------------------------------------------------------------------------------------


def ground_shadows(scene: Scene, intrinsics: np.ndarray, known: np.ndarray) -> GroundShadows:
    """Compute the ground and its shadows for images with these `intrinsics` (images, 4); none for images whose horizon
    is not `known` (images,)."""
    camera = scene.views.camera
    rays = ray_matrices(intrinsics)
    R_world_cam = camera.R_cam_world.mT.double().reshape(-1, 3, 3).numpy()
    p_world_cam = scene.views.camera.p_world_cam.double().reshape(-1, 3).numpy()
    direction = R_world_cam @ rays
    w = -direction[:, 1] / np.maximum(p_world_cam[:, 1:2], 1e-3)
    homography = np.stack(
        [p_world_cam[:, :1] * w + direction[:, 0], p_world_cam[:, 2:] * w + direction[:, 2], w], axis=1
    )
    joints = camera.to_world(scene.joints_cam)[:, :, [JOINT[name] for name in _SHADOW_JOINTS]]
    x, y, z = joints.double().reshape(-1, NUM_SHADOWS, 3).numpy().transpose(2, 0, 1)
    height = np.maximum(y, 0)
    shadows = np.stack([x, z, 0.14 + 0.45 * height, 0.65 * np.exp(-height / 0.35)], axis=-1)
    return GroundShadows(homography * known[:, None, None], shadows)


def ray_matrices(intrinsics: np.ndarray) -> np.ndarray:
    """Return (images, 3, 3) matrices from a pixel (x, y, 1) to its ray (camera frame, depth 1)."""
    fx, fy, cx, cy = intrinsics.T
    rays = np.zeros((len(intrinsics), 3, 3))
    rays[:, 0, 0], rays[:, 0, 2] = 1 / fx, -cx / fx
    rays[:, 1, 1], rays[:, 1, 2] = 1 / fy, -cy / fy
    rays[:, 2, 2] = 1
    return rays
