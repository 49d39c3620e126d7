"""The body in time that explains a clip."""

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
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT_NAMES
from selfmocap.geometry.camera import Camera
from selfmocap.io.npz import NamedBytesIO, check_format, check_shapes, read_npz, write_npz

FORMAT, VERSION = "selfmocap-motion", 1

_POSED_AT_ONCE = 256
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
_MOVING: dict[str, tuple[str | int, ...]] = {"R_cam_world": ("time", 3, 3), "t_cam_world": ("time", 3)}


@dataclass(frozen=True, eq=False)
class Motion:
    """One body through the frames of one clip, and the camera that saw it."""

    parameters: BodyParameters
    """Shape (one for the clip), joint rotations and root position a frame, in the world frame."""
    camera: Camera
    """One for the clip, or one a frame."""
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
    """In [0, 1]: how far each frame is to be trusted."""
    filled: Bool[Tensor, " time"]
    """Frames in which the person was not seen, interpolated from their neighbours."""
    body: str
    """Which body the parameters belong to: its name and the SHA-256 of its file."""
    provenance: dict[str, Any]
    """What made this motion: version, weights, settings, what was measured (JSON data)."""

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
        """A motion whose joints and keypoints follow from the body's forward kinematics, some frames at a time."""
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
        """The motion in some frames, chosen by a slice, or a mask or list of indices."""
        chosen = {name: getattr(self, name)[frames] for name in _FRAME_FIELDS}
        camera = self.camera
        if camera.R_cam_world.ndim > 2:
            camera = replace(
                camera, R_cam_world=camera.R_cam_world[frames], t_cam_world=camera.t_cam_world[frames]
            )
        return replace(self, parameters=self.parameters[frames], camera=camera, **chosen)

    @property
    def fps(self) -> float:
        """Frames a second of the video: the median over frames that follow each other, 0 for a single frame."""
        return median_fps(self.frame_times, self.frame_index)

    def save(self, path: Path | str) -> None:
        """Writes `motion.npz`, whole or not at all."""
        tensors = {
            "rotations": self.parameters.R_parent_joint,
            "betas": self.parameters.betas,
            "p_world_root": self.parameters.p_world_root,
            **{
                name: getattr(self.camera, name) for name in ("R_cam_world", "t_cam_world", "focal", "center")
            },
            **{name: getattr(self, name) for name in _FRAME_FIELDS},
        }
        write_npz(
            path,
            {
                "format": FORMAT,
                "version": VERSION,
                "body": self.body,
                "joint_names": np.array(JOINT_NAMES),
                "keypoint_names": np.array(DEFAULT_KEYPOINTS.names),
                "image_size": np.array(self.image_size),
                "provenance": json.dumps(self.provenance, sort_keys=True),
                **{name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()},
            },
        )

    @classmethod
    def load(cls, path: Path | str | NamedBytesIO) -> "Motion":
        """Reads `motion.npz`; a ValueError names what is wrong with a damaged or foreign file."""
        arrays = read_npz(path)
        check_format(path, arrays, FORMAT, VERSION, _SHAPES.keys() | _MOVING)
        moving = arrays["R_cam_world"].ndim > 2
        cameras = _MOVING if moving else {name: shape[1:] for name, shape in _MOVING.items()}
        check_shapes(path, arrays, _SHAPES | cameras)
        if tuple(arrays["joint_names"]) != JOINT_NAMES:
            raise ValueError(
                f"{path}: its joints are not SMPL's 24 in SMPL's order: {list(arrays['joint_names'])}"
            )
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind != "U"}
        width, height = (int(n) for n in arrays["image_size"])
        return cls(
            parameters=BodyParameters(tensors["betas"], tensors["rotations"], tensors["p_world_root"]),
            camera=Camera(*(tensors[name] for name in ("focal", "center", "R_cam_world", "t_cam_world"))),
            image_size=(width, height),
            body=str(arrays["body"]),
            provenance=json.loads(str(arrays["provenance"])),
            **{name: tensors[name] for name in _FRAME_FIELDS},
        )


@torch.no_grad()
def joints_and_keypoints(
    body: Body, parameters: BodyParameters
) -> tuple[Float[Tensor, "time 24 3"], Float[Tensor, "time 23 3"]]:
    """A body's joints and its COCO-23 points in the world, metres. Memory beyond them does not grow with the clip."""
    p = parameters.p_world_root
    joints, keypoints = (p.new_empty(len(p), count, 3) for count in (24, len(DEFAULT_KEYPOINTS.names)))
    for rows in torch.arange(len(p)).split(_POSED_AT_ONCE):
        posed = body.pose(parameters[rows])
        joints[rows] = posed.joints
        keypoints[rows] = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    return joints, keypoints
