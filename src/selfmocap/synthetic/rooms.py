"""Furnished rooms behind synthetic people: every surface has a place in the world, so that a camera that moves sees
parallax, and one that only turns sees none."""

from dataclasses import dataclass

import numpy as np

from selfmocap.geometry.kernels import njit_cached, parallel_for
from selfmocap.synthetic.scene import ray_matrices

_TILE_METRES = 3.0
"""Length of a surface that a texture covers; the next tile is mirrored."""
_LEVELS = 6
"""Blurred copies of each texture, each half as sharp as the one before."""
_MARGIN, _HEIGHT = (2.0, 4.0), (2.6, 3.6)
"""Least and greatest distance of the walls from what happens in the room, and of the ceiling from the floor, metres."""
_MAX_FURNITURE = 12


@dataclass(frozen=True, eq=False)
class Room:
    """Boxes with textures. The first is the room itself, seen from inside; its floor is y = 0."""

    low: np.ndarray
    """(boxes, 3) least corner of each box in the world, metres."""
    high: np.ndarray
    """(boxes, 3) greatest corner."""
    texture: np.ndarray
    """(boxes, 6) int: texture of the faces -x, -y, -z, +x, +y, +z."""
    textures: np.ndarray
    """(textures, _LEVELS, side, side, 3) uint8 RGB: each texture ever more blurred."""


def sample_room(rng: np.random.Generator, textures: np.ndarray, places: np.ndarray) -> Room:
    """Draw a room around `places` (places, 3: people and cameras, world, metres), with furniture along its walls.

    `textures` are (n, side, side, 3) uint8 RGB images."""
    low, high = places.min(0), places.max(0)
    margin = rng.uniform(*_MARGIN, (2, 3))
    low, high = low - margin[0], high + margin[1]
    low[1], high[1] = 0.0, max(rng.uniform(*_HEIGHT), places[:, 1].max() + 0.3)
    lows, highs = [low], [high]
    for _ in range(_MAX_FURNITURE):
        size = rng.uniform((0.3, 0.4, 0.3), (1.2, 2.0, 1.2))
        corner = rng.uniform(low, np.maximum(high - size, low))
        corner[1] = 0.0
        axis = rng.choice((0, 2))
        corner[axis] = (low, high - size)[rng.integers(2)][axis]  # Against a wall.
        clear = np.maximum(corner[[0, 2]] - places[:, [0, 2]], places[:, [0, 2]] - (corner + size)[[0, 2]])
        if clear.max(1).min() > 0.5:
            lows.append(corner)
            highs.append(corner + size)
    chosen = rng.integers(len(textures), size=(len(lows), 6))
    used, texture = np.unique(chosen, return_inverse=True)
    return Room(np.array(lows), np.array(highs), texture.reshape(chosen.shape), _levels(textures[used]))


def _levels(textures: np.ndarray) -> np.ndarray:
    import cv2

    side = textures.shape[1]
    levels = []
    for image in textures:
        small = [
            cv2.resize(image, (side >> n, side >> n), interpolation=cv2.INTER_AREA) for n in range(_LEVELS)
        ]
        levels.append([cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in small])
    return np.array(levels)


def render_room(
    room: Room,
    intrinsics: np.ndarray,
    R_cam_world: np.ndarray,
    p_world_cam: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Render (images, height, width, 3) float32 in [0, 1] of a room from cameras within it.

    intrinsics: (images, 4: fx, fy, cx, cy) px. R_cam_world: (images, 3, 3). p_world_cam: (images, 3) metres. `size` is
    (height, width)."""
    out = np.empty((len(intrinsics), *size, 3), np.float32)
    rays = np.ascontiguousarray(R_cam_world.swapaxes(1, 2) @ ray_matrices(intrinsics))
    pixels_per_metre = room.textures.shape[2] / _TILE_METRES
    footprint = pixels_per_metre / intrinsics[:, 0]
    parallel_for(
        _render, len(out), rays, p_world_cam, footprint, pixels_per_metre, room.low, room.high, room.texture,
        room.textures, out,
    )  # fmt: skip
    return out


@njit_cached
def _render(first, last, rays, eyes, footprint, scale, low, high, texture, textures, out):
    side = textures.shape[2]
    for n in range(first, last):
        ray, eye = rays[n], eyes[n]
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                d = np.array([ray[i, 0] * column + ray[i, 1] * row + ray[i, 2] for i in range(3)])
                box, axis, t = _first_hit(eye, d, low, high)
                face = axis if d[axis] < 0 else axis + 3
                if box > 0:
                    face = (face + 3) % 6
                p, q = (2, 1) if axis == 0 else (0, 2) if axis == 1 else (0, 1)
                u = _folded((eye[p] + t * d[p] - low[box, p]) * scale, side)
                v = _folded((high[box, q] - eye[q] - t * d[q]) * scale, side)
                # The depth is t, since a ray advances by one along the camera's axis.
                length = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
                sharpness = max(np.sqrt(abs(d[axis]) / length), 0.1)
                level = int(min(max(np.log2(footprint[n] * t / sharpness), 0.0), textures.shape[1] - 1.0))
                image = textures[texture[box, face], level]
                i, j = int(v), int(u)
                i1, j1 = min(i + 1, side - 1), min(j + 1, side - 1)
                a, b = v - i, u - j
                for channel in range(3):
                    above = image[i, j, channel] * (1 - b) + image[i, j1, channel] * b
                    below = image[i1, j, channel] * (1 - b) + image[i1, j1, channel] * b
                    out[n, row, column, channel] = (above * (1 - a) + below * a) / 255.0


@njit_cached
def _first_hit(eye, d, low, high):
    """Return the box that a ray meets first, the axis of the face, and how far along the ray it is. The room's far
    side is always met."""
    best_box, best_axis, best = 0, 0, np.inf
    for axis in range(3):
        if d[axis] != 0.0:
            t = ((high[0, axis] if d[axis] > 0 else low[0, axis]) - eye[axis]) / d[axis]
            if t < best:
                best_axis, best = axis, t
    for box in range(1, len(low)):
        enter, leave, enter_axis = 0.0, best, -1
        for axis in range(3):
            if d[axis] == 0.0:
                if eye[axis] < low[box, axis] or eye[axis] > high[box, axis]:
                    leave = -1.0
                continue
            near, far = (low[box, axis] - eye[axis]) / d[axis], (high[box, axis] - eye[axis]) / d[axis]
            if near > far:
                near, far = far, near
            if near > enter:
                enter, enter_axis = near, axis
            leave = min(leave, far)
        if enter_axis >= 0 and enter < leave:
            best_box, best_axis, best = box, enter_axis, enter
    return best_box, best_axis, best


@njit_cached
def _folded(position, side):
    """Fold a position into [0, side - 1]; every second tile is mirrored."""
    period = 2.0 * (side - 1)
    position -= period * np.floor(position / period)
    return min(position, period - position)
