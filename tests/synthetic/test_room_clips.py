"""Rooms: surfaces with a place in the world, and cameras that move in them."""

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.synthetic.room_clips import CAMERA_MOVES, sample_room_clip
from selfmocap.synthetic.rooms import Room, render_room
from selfmocap.synthetic.scene import ray_matrices

INTRINSICS = np.array([[40.0, 40.0, 31.5, 17.5]])


def plain_room() -> Room:
    """A room of 4 x 3 x 4 m with a box of 1 m; every face has one colour: the textures are grey 10, 20, ..."""
    textures = np.broadcast_to(
        (10 * np.arange(1, 13, dtype=np.uint8))[:, None, None, None, None], (12, 6, 8, 8, 3)
    )
    low, high = np.array([[-2.0, 0, -2], [-0.5, 0, -2]]), np.array([[2.0, 3, 2], [0.5, 1, -1]])
    return Room(low, high, np.arange(12).reshape(2, 6), np.ascontiguousarray(textures))


def test_each_ray_ends_at_the_nearest_face() -> None:
    room, eye = plain_room(), np.array([0.2, 1.5, 1.0])
    R = np.diag([1.0, -1.0, -1.0])
    image = np.rint(255 * render_room(room, INTRINSICS, R[None], eye[None], (36, 64))[0, ..., 0])
    rays = ray_matrices(INTRINSICS)[0]
    for row, column in ((18, 32), (35, 32), (0, 5), (20, 60), (30, 31), (24, 30)):
        d = R.T @ rays @ np.array([column, row, 1.0])
        walls = [
            ((room.high if d[a] > 0 else room.low)[0, a] - eye[a]) / d[a] if d[a] else np.inf
            for a in range(3)
        ]
        axis = int(np.argmin(walls))
        expected, best = 10 * (1 + axis + 3 * (d[axis] > 0)), walls[axis]
        for a in range(3):
            t = ((room.low if d[a] > 0 else room.high)[1, a] - eye[a]) / d[a] if d[a] else -1.0
            hit = eye + t * d
            others = [b for b in range(3) if b != a]
            if 0 < t < best and all(room.low[1, b] <= hit[b] <= room.high[1, b] for b in others):
                expected, best = 10 * (7 + a + 3 * (d[a] < 0)), t
        assert image[row, column] == expected


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_a_camera_moves_as_its_name_says(body: Body, move: str) -> None:
    rng = np.random.default_rng(0)
    textures = rng.integers(0, 255, (3, 32, 32, 3), np.uint8)
    motions = procedural_motions(body, 1)
    clip = sample_room_clip(np.random.SeedSequence(2), move, 10, (96, 64), motions, textures, body)  # pyright: ignore[reportArgumentType]
    again = sample_room_clip(np.random.SeedSequence(2), move, 10, (96, 64), motions, textures, body)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(clip.images, again.images)
    eye, R = clip.camera.p_world_cam, clip.camera.R_cam_world
    moved, turned = float((eye[-1] - eye[0]).norm()), float((R[-1] - R[0]).norm())
    assert (moved > 1e-4) == (move in ("hand-held", "walk", "circle"))
    assert (turned > 1e-6) == (move != "static")
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand(10, 3, 3), atol=1e-5, rtol=0)
    assert clip.masks.any((1, 2)).all() and not clip.masks.all()
    feet = clip.camera.to_world(clip.scene.keypoints_cam[0])[..., 1].amin()
    assert -0.1 < float(feet) < 0.3 and float(eye[:, 1].min()) > 0.5
