"""Body motion of one person in one clip."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import median_fps
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, FINGER_JOINT_NAMES, JOINT_NAMES
from selfmocap.geometry.camera import Camera
from selfmocap.io.npz import (
    NamedBytesIO,
    check_format,
    check_kinds,
    check_numbers,
    check_shapes,
    read_npz,
    write_npz,
)

MOTION_FORMAT, MOTION_VERSION = "selfmocap-motion", 2
"""Version 2 has fingers. Motions without them are written as version 1, which former programs read."""

_CHUNK_FRAMES = 256
_FRAME_FIELDS = ("frame_index", "frame_times", "joints_cam", "keypoints_cam", "confidence", "filled")
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "body": (),
    "provenance": (),
    "image_size": (2,),
    "joint_names": (24,),
    "keypoint_names": (23,),
    "focal": (2,),
    "center": (2,),
    "betas": ("betas",),
    "rotations": ("time", 24, 3, 3),
    "p_world_root": ("time", 3),
    "joints_cam": ("time", 24, 3),
    "keypoints_cam": ("time", 23, 3),
    "frame_index": ("time",),
    "frame_times": ("time",),
    "confidence": ("time",),
    "filled": ("time",),
}
_FINGER_SHAPES: dict[str, tuple[str | int, ...]] = {"fingers": ("time", 30, 3, 3), "finger_names": (30,)}
_KINDS = dict.fromkeys(
    (
        "focal", "center", "betas", "rotations", "p_world_root", "joints_cam", "keypoints_cam", "frame_times",
        "confidence", "R_cam_world", "t_cam_world",
    ),
    "f",
) | {"frame_index": "i"}  # fmt: skip
_CAMERA_SHAPES: dict[str, tuple[str | int, ...]] = {"R_cam_world": ("time", 3, 3), "t_cam_world": ("time", 3)}


@dataclass(frozen=True, eq=False)
class Motion:
    """One body in the frames of one clip, with the camera."""

    parameters: BodyParameters
    """Shape (one for the clip), joint rotations and root position per frame, in the world frame."""
    camera: Camera
    """One for the clip, or one per frame."""
    image_size: tuple[int, int]
    """Width and height of the video's frames, px."""
    frame_index: Int[Tensor, " time"]
    """Index of each frame in its video, strictly increasing."""
    frame_times: Float[Tensor, " time"]
    """s (float64), strictly increasing."""
    joints_cam: Float[Tensor, "time 24 3"]
    """The body's joints in the camera frame, metres."""
    keypoints_cam: Float[Tensor, "time 23 3"]
    """The COCO-23 points of the posed body in the camera frame, metres."""
    confidence: Float[Tensor, " time"]
    """Confidence of each frame, in [0, 1]."""
    filled: Bool[Tensor, " time"]
    """True for frames in which the person was not observed, interpolated from their neighbours."""
    body: str
    """Body of the parameters: its name and the SHA-256 of its file."""
    provenance: dict[str, Any]
    """Origin of this motion: version, weights, settings, measurements (JSON data)."""
    fingers: Float[Tensor, "time 30 3 3"] | None = None
    """Rotation of each of FINGER_JOINT_NAMES in the frame of its parent; None if the fingers rest."""

    @classmethod
    def from_parameters(
        cls,
        body: Body,
        parameters: BodyParameters,
        camera: Camera,
        image_size: tuple[int, int],
        frame_times: Float[Tensor, " time"],
        frame_index: Int[Tensor, " time"] | None = None,
        confidence: Float[Tensor, " time"] | None = None,
        filled: Bool[Tensor, " time"] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> "Motion":
        """Create a motion with joints and keypoints from the body's forward kinematics, some frames at a time."""
        frames = len(frame_times)
        joints, keypoints = joints_and_keypoints(body, parameters)
        return cls(
            parameters=parameters,
            camera=camera,
            image_size=image_size,
            frame_index=torch.arange(frames) if frame_index is None else frame_index,
            frame_times=frame_times,
            joints_cam=camera.to_camera(joints),
            keypoints_cam=camera.to_camera(keypoints),
            confidence=torch.ones(frames) if confidence is None else confidence,
            filled=torch.zeros(frames, dtype=torch.bool) if filled is None else filled,
            body=body.identity,
            provenance=provenance or {},
        )

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, frames: Any) -> "Motion":
        """Return the motion in some frames, selected by a slice, a mask or a list of indices."""
        chosen = {name: getattr(self, name)[frames] for name in _FRAME_FIELDS}
        camera = self.camera
        if camera.R_cam_world.ndim > 2:
            camera = replace(
                camera, R_cam_world=camera.R_cam_world[frames], t_cam_world=camera.t_cam_world[frames]
            )
        fingers = None if self.fingers is None else self.fingers[frames]
        return replace(self, parameters=self.parameters[frames], camera=camera, fingers=fingers, **chosen)

    @property
    def all_parameters(self) -> BodyParameters:
        """The parameters with the fingers as joints 24 to 53, for `fingers.with_fingers`; without fingers those of 24
        joints."""
        if self.fingers is None:
            return self.parameters
        R = torch.cat(
            [self.parameters.R_parent_joint, self.fingers.to(self.parameters.R_parent_joint)], dim=1
        )
        return replace(self.parameters, R_parent_joint=R)

    @property
    def fps(self) -> float:
        """Median frame rate of the video, frames a second; 0 for a single frame."""
        return median_fps(self.frame_times, self.frame_index)

    def save(self, path: Path | str) -> None:
        """Write `motion.npz`, atomically."""
        tensors = {
            "rotations": self.parameters.R_parent_joint,
            "betas": self.parameters.betas,
            "p_world_root": self.parameters.p_world_root,
            **{
                name: getattr(self.camera, name) for name in ("R_cam_world", "t_cam_world", "focal", "center")
            },
            **{name: getattr(self, name) for name in _FRAME_FIELDS},
        }
        names: dict[str, Any] = {}
        if self.fingers is not None:
            tensors["fingers"], names["finger_names"] = self.fingers, np.array(FINGER_JOINT_NAMES)
        write_npz(
            path,
            {
                "format": MOTION_FORMAT,
                "version": 1 if self.fingers is None else MOTION_VERSION,
                "body": self.body,
                "joint_names": np.array(JOINT_NAMES),
                "keypoint_names": np.array(DEFAULT_KEYPOINTS.names),
                **names,
                "image_size": np.array(self.image_size),
                "provenance": json.dumps(self.provenance, sort_keys=True),
                **{name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()},
            },
        )

    @classmethod
    def load(cls, path: Path | str | NamedBytesIO) -> "Motion":
        """Read `motion.npz`. A ValueError names the problem of a damaged or foreign file."""
        arrays = read_npz(path)
        fingers = _FINGER_SHAPES if _FINGER_SHAPES.keys() & arrays.keys() else {}
        keys = _SHAPES.keys() | _CAMERA_SHAPES.keys() | fingers.keys()
        check_format(path, arrays, MOTION_FORMAT, MOTION_VERSION, keys)
        moving = arrays["R_cam_world"].ndim > 2
        cameras = _CAMERA_SHAPES if moving else {name: shape[1:] for name, shape in _CAMERA_SHAPES.items()}
        check_shapes(path, arrays, _SHAPES | cameras | fingers)
        texts = ("format", "body", "joint_names", "keypoint_names", "provenance", "finger_names")
        check_numbers(path, arrays, arrays.keys() - set(texts))
        check_kinds(path, arrays, _KINDS | dict.fromkeys(fingers.keys() & {"fingers"}, "f"))
        if tuple(arrays["joint_names"]) != JOINT_NAMES:
            raise ValueError(
                f"{path}: expected SMPL's 24 joints in SMPL's order, found {list(arrays['joint_names'])}"
            )
        if fingers and tuple(arrays["finger_names"]) != FINGER_JOINT_NAMES:
            raise ValueError(
                f"{path}: expected SMPL-H's 30 finger joints in its order, found {list(arrays['finger_names'])}"
            )
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.keys() - set(texts)}
        width, height = (int(n) for n in arrays["image_size"])
        return cls(
            parameters=BodyParameters(tensors["betas"], tensors["rotations"], tensors["p_world_root"]),
            camera=Camera(*(tensors[name] for name in ("focal", "center", "R_cam_world", "t_cam_world"))),
            image_size=(width, height),
            body=str(arrays["body"]),
            provenance=_provenance(path, str(arrays["provenance"])),
            fingers=tensors.get("fingers"),
            **{name: tensors[name] for name in _FRAME_FIELDS},
        )


def _provenance(path: Path | str | NamedBytesIO, text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected provenance as JSON, found other text ({error})") from error


@torch.no_grad()
def joints_and_keypoints(
    body: Body, parameters: BodyParameters
) -> tuple[Float[Tensor, "time 24 3"], Float[Tensor, "time 23 3"]]:
    """Compute the joints and the COCO-23 points of a body in the world, metres.

    Memory beyond the results does not grow with the clip."""
    p = parameters.p_world_root
    joints, keypoints = (p.new_empty(len(p), count, 3) for count in (24, len(DEFAULT_KEYPOINTS.names)))
    for rows in torch.arange(len(p)).split(_CHUNK_FRAMES):
        posed = body.pose(parameters[rows])
        joints[rows] = posed.joints
        keypoints[rows] = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    return joints, keypoints
