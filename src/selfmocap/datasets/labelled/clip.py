"""A clip of a data set: the observations of one person, and the true joints."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.geometry.camera import CROP_SIZE, Camera
from selfmocap.io.stray_files import is_stray
from selfmocap.io.video import open_video
from selfmocap.tracking.crop_boxes import smoothed_boxes
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.optical_flow import WORK_SIZE, crop_flow, dis_flow

MAX_CLIPS = 200_000
_SHAPE_PRIOR = 1e-6
"""m^2 per squared coefficient and frame: a prior of the shape at the mean."""


@dataclass(frozen=True, eq=False)
class SmplTruth:
    """Parameters of the user's SMPL model."""

    gender: str
    """`female`, `male` or `neutral`."""
    parameters: BodyParameters
    """Camera frame, metres."""


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """One person in one clip of a data set."""

    name: str
    observations: Observations
    """With true or labelled keypoints; with crops, masks and flow where the set has them."""
    camera: Camera
    fps: float
    joint_set: str
    """Keypoint set of `joints`."""
    joints: Float[Tensor, "time joints 3"] | None
    """True joints in the camera frame, metres; None for a set with labels in the image only."""
    bodies: BodyParameters | None = None
    """The default body with the clip's rotations, in the shape that fits its joints best; camera frame."""
    smpl: SmplTruth | None = None
    scored: Bool[Tensor, " time"] | None = None
    """Frames that count; None for all."""
    sequence: str | None = None
    """Video, where several people are in one; None for `name`."""

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, frames: slice) -> "LabelledClip":
        """Select frames."""
        camera = self.camera
        if camera.R_cam_world.ndim > 2:
            camera = replace(
                camera, R_cam_world=camera.R_cam_world[frames], t_cam_world=camera.t_cam_world[frames]
            )
        return replace(
            self,
            observations=self.observations[frames],
            camera=camera,
            joints=None if self.joints is None else self.joints[frames],
            bodies=None if self.bodies is None else self.bodies[frames],
            smpl=None if self.smpl is None else replace(self.smpl, parameters=self.smpl.parameters[frames]),
            scored=None if self.scored is None else self.scored[frames],
        )


def spread(count: int, wanted: int | None) -> list[int]:
    """Return `wanted` indices of `count` at equal distances, in order; None, or more than there are, returns all."""
    wanted = min(count, wanted or count)
    return [i * count // wanted for i in range(wanted)]


def middle(count: int, wanted: int | None) -> slice:
    """Return the `wanted` indices in the middle of `count`; None, or more than there are, returns all."""
    wanted = min(count, wanted or count)
    first = (count - wanted) // 2
    return slice(first, first + wanted)


def find_files(folder: Path, pattern: str, what: str) -> list[Path]:
    """Find the files of a data set below a folder, in alphabetical order.

    Raises FileNotFoundError that says `what` is expected, or ValueError for too many files."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected {what}")
    found = sorted(path for path in folder.rglob(pattern) if path.is_file() and not is_stray(path, folder))
    if not found:
        raise FileNotFoundError(f"{folder}: no {pattern} in it; expected {what}")
    if len(found) > MAX_CLIPS:
        raise ValueError(f"{folder}: {len(found)} files {pattern}, more than {MAX_CLIPS}; name a part of it")
    return found


def fit_betas(
    body: Body, R: Float[Tensor, "time 24 3 3"], joints: Float[Tensor, "time 24 3"]
) -> Float[Tensor, " betas"]:
    """Compute the shape in which a body with rotations `R` has joints nearest to `joints` (least squares, relative to
    the pelvis; joints are linear in the shape)."""
    body, R, joints = body.to(torch.float64), R.double(), joints.double()
    origin = torch.zeros_like(joints[:, 0])

    def posed(rest: Float[Tensor, "24 3"]) -> Float[Tensor, " coordinates"]:
        return (forward_kinematics(R, rest, origin)[1] - origin[:, None]).flatten()

    mean = posed(body.J_template)
    columns = [posed(body.J_template + change) - mean for change in body.J_shapedirs.unflatten(1, (-1, 3))]
    A = torch.stack(columns, dim=1)
    residual = (joints - joints[:, :1]).flatten() - mean
    prior = _SHAPE_PRIOR * len(joints) * torch.eye(A.shape[1], dtype=A.dtype)
    return torch.linalg.solve(A.T @ A + prior, A.T @ residual).float()


def with_crops(
    observations: Observations, images: Iterable[RgbImage], masks: Iterable[np.ndarray] | None = None
) -> Observations:
    """Cut crops, and masks (height, width) bool, out of the images of the frames of the observations."""
    windows = _windows(observations)
    crops = [crop_window(image, window, CROP_SIZE) for image, window in zip(images, windows, strict=True)]
    observations = replace(observations, crops=torch.from_numpy(np.stack(crops)))
    if masks is None:
        return observations
    grey = (np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=-1) for mask in masks)
    cut = [crop_window(mask, window, CROP_SIZE) for mask, window in zip(grey, windows, strict=True)]
    return replace(observations, masks=torch.from_numpy(np.stack(cut)[..., 0] > 127))


def with_flow(observations: Observations, images: Sequence[RgbImage]) -> Observations:
    """Measure the flow from each frame of the observations to the next."""
    side = (len(observations), CROP_SIZE, CROP_SIZE)
    flow, confidence = np.zeros((*side, 2), np.float32), np.zeros(side, np.float32)
    for row, window in enumerate(_windows(observations)[:-1]):
        before, after = (crop_window(image, window, WORK_SIZE) for image in images[row : row + 2])
        measured = crop_flow(before, after, dis_flow)
        flow[row], confidence[row] = measured.flow, measured.confidence
    return replace(observations, flow=torch.from_numpy(flow), flow_confidence=torch.from_numpy(confidence))


def _windows(observations: Observations) -> list[Window]:
    return [Window(float(x), float(y), 2 * float(half)) for x, y, half in observations.boxes]


def video_images(path: Path, rows: Sequence[int], flipped: bool = False) -> Iterator[RgbImage]:
    """Yield the frames of a video, or of a folder of pictures, with the given increasing indices. Raises ValueError if
    there are fewer."""
    wanted = iter(rows)
    row = next(wanted, None)
    for frame in open_video(path).frames():
        if row is None:
            return
        if frame.index == row:
            yield np.ascontiguousarray(frame.image[:, ::-1]) if flipped else frame.image
            row = next(wanted, None)
    if row is not None:
        raise ValueError(f"{path}: frame {row} is missing; copy or unpack it again")


def keypoint_observations(
    keypoints: Float[Tensor, "time keypoints 2"],
    visible: Bool[Tensor, "time keypoints"] | Float[Tensor, "time keypoints"],
    keypoint_set: str,
    image_size: tuple[int, int],
    fps: float,
    frame_index: Int[Tensor, " time"] | None = None,
) -> Observations:
    """Make observations without images, in smoothed boxes (Kanazawa et al. 2019). `visible` are confidences; without
    `frame_index` the frames are all of a clip."""
    index = torch.arange(len(keypoints)) if frame_index is None else frame_index
    confidence = visible.float()
    boxes = smoothed_boxes(keypoints.double().numpy(), confidence.numpy(), index.numpy())
    return Observations(
        frame_index=index,
        frame_times=index.double() / fps,
        image_size=image_size,
        boxes=torch.from_numpy(boxes),
        keypoint_set=keypoint_set,
        keypoints=keypoints.float(),
        keypoint_confidence=confidence,
    )


def in_frame(pixels: Float[Tensor, "*batch 2"], image_size: tuple[int, int]) -> Bool[Tensor, "*batch"]:
    """Test whether pixels lie in an image of this width and height."""
    return ((pixels > -0.5) & (pixels < torch.tensor(image_size) - 0.5)).all(-1)
