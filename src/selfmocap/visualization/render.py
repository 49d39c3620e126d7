"""Render shaded images of meshes on the CPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor

from selfmocap.geometry.camera import NEAREST_DEPTH, Camera, project
from selfmocap.geometry.meshes import vertex_normals
from selfmocap.geometry.rasterizer import rasterize
from selfmocap.io.atomic import atomic_write

_SUPERSAMPLING = 2
_SKIN = np.array([0.80, 0.64, 0.55], np.float32)
_BACKGROUND = np.array([0.94, 0.95, 0.96], np.float32)
_LIGHTS = np.array([[0.35, 0.75, 0.55], [-0.8, 0.1, 0.4], [0.0, -1.0, 0.0]], np.float32)
_LIGHT_STRENGTHS = np.array([0.75, 0.22, 0.08], np.float32)


def render_body(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], height: int = 720
) -> UInt8[np.ndarray, "height width 3"]:
    """Render an RGB image of a body (metres, y up) from the direction of +z, framed to fill the image."""
    low, high = vertices.min(0).values, vertices.max(0).values
    extent = float(torch.maximum((high - low)[1], (high - low)[0]).clamp_min(1e-6))
    width, depth = round(height * 0.8), 3.5 * extent
    scaled = height * _SUPERSAMPLING
    camera = Camera.looking_along_z(scaled * 0.86 * depth / extent, width * _SUPERSAMPLING, scaled)
    translation = torch.tensor([0.0, 0.0, -depth]) - (low + high) / 2
    return _render((vertices + translation).detach(), faces, camera, width, height)


def _render(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    size = (height * _SUPERSAMPLING, width * _SUPERSAMPLING)
    covered, light = _shade(camera.to_camera(vertices), faces, camera, *size, R_cam_light=camera.R_cam_world)
    linear = np.broadcast_to(_BACKGROUND, (*size, 3)).copy()
    linear[covered] = _SKIN * light
    image = Image.fromarray((linear.clip(0, 1) * 255).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def draw_body(
    image: UInt8[np.ndarray, "height width 3"],
    p_cam: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    colour: tuple[float, float, float],
    opacity: float = 0.75,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image with a shaded body (camera frame, metres) drawn over it; `colour` is RGB in [0, 1]."""
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rows, columns = _bounding_box(p_cam, camera, *image.shape[:2])
    corner = torch.tensor([float(columns.start), float(rows.start)])
    camera = replace(camera, center=camera.center - corner)
    drawn = image.copy()
    part = drawn[rows, columns]
    covered, light = _shade(p_cam.detach(), faces, camera, *part.shape[:2], R_cam_light=upright)
    paint = 255 * opacity * (np.array(colour, np.float32) * light).clip(0, 1)
    part[covered] = part[covered] * np.float32(1 - opacity) + paint
    return drawn


def _bounding_box(
    p_cam: Float[Tensor, "vertices 3"], camera: Camera, height: int, width: int
) -> tuple[slice, slice]:
    """Return the rows and columns of the image that contain the body: all if it reaches behind the camera."""
    if p_cam[:, 2].amin() < NEAREST_DEPTH:
        return slice(0, height), slice(0, width)
    pixels, size = project(p_cam, camera.focal, camera.center).detach().numpy(), np.array([width, height])
    left, top = np.clip(np.floor(pixels.min(0)), 0, size - 1).astype(int)
    right, bottom = np.clip(np.ceil(pixels.max(0)) + 1, 1, size).astype(int)
    return slice(top, bottom), slice(left, right)


def _shade(
    p_cam: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    camera: Camera,
    height: int,
    width: int,
    R_cam_light: Float[Tensor, "3 3"],
) -> tuple[Bool[np.ndarray, "height width"], Float[np.ndarray, "covered 1"]]:
    """Compute the pixels that the body covers, and the brightness of each.

    The lights are fixed in the frame from which `R_cam_light` rotates to the camera frame."""
    triangles = faces.numpy().astype(np.int32)
    intrinsics = torch.cat([camera.focal, camera.center]).double().numpy()
    points = p_cam.double().numpy()
    face, _, barycentric = rasterize(points[None], triangles, intrinsics[None], height, width, cull=False)
    covered = face[0] >= 0
    lights = _LIGHTS / np.linalg.norm(_LIGHTS, axis=1, keepdims=True)
    normals = vertex_normals(p_cam.numpy(), triangles) @ R_cam_light.numpy()
    # A matrix product would start threads that keep a core busy while they wait for the next one.
    of_vertices = 0.28 + (np.maximum(normals @ lights.T, 0) * _LIGHT_STRENGTHS).sum(axis=1)
    light = (of_vertices[triangles[face[0][covered]]] * barycentric[0][covered]).sum(1, keepdims=True)
    return covered, light


def write_render(
    path: Path | str, vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]
) -> None:
    """Write `render_body` as PNG, atomically."""
    with atomic_write(path) as temporary:
        Image.fromarray(render_body(vertices, faces)).save(temporary, "PNG")
