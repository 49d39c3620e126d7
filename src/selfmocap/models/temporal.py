"""The temporal network: motion from the frames of a clip, past and future from one frame (Kanazawa et al. 2019).

Kanazawa et al. 2019 is "Learning 3D Human Dynamics from Video". Its `theta` is a body as one vector: rotations in 6D
here, then betas, then the crop camera."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs, FrameNetwork, Prediction
from selfmocap.models.heatmaps import view_angles

POSE_SIZE = 6 * len(JOINT_NAMES)
"""Elements of a pose: the first two columns of the rotation of every joint, the root's in the camera frame."""
_REGRESSION_ITERATIONS = 3
_CAMERA_SIZE = 3
_NORM_GROUPS = 32
_FILTER_RADIUS, _FILTER_SIGMA = 10, 3.5
"""Frames to each side that the temporal filter averages, and the standard deviation of its initial kernel, frames."""
_TRANSLATION_SIGMA = (2.0, 2.0, 5.0)
"""Standard deviations, frames, of the filter of the pelvis: x and y of its ray, logarithm of its depth."""
_MAX_LOG_CONFIDENCE = 5.0
"""Bound of the logarithm of the confidence of an estimate."""


@dataclass(frozen=True)
class TemporalConfig:
    """Configure a temporal network. The defaults are the compact one that trains on two cores."""

    width: int = 256
    """Channels of the features of a frame and of the movie strip."""
    hidden: int = 256
    """Units of the two hidden layers of the regressors."""
    blocks: int = 3
    """Residual blocks of the movie strip; each widens its receptive field by two frames to each side."""
    start: Literal["frame", "mean"] = "frame"
    """Start of the iterative regression: the frame network's estimate, or the paper's learned mean.

    With `frame` the estimate is also an input, and a confidence-weighted filter averages the results over time."""
    dropout: float = 0.0
    """Dropout rate in the regressors."""
    frames: int = 30
    """Frames of a training clip and of a window at test time; group normalisation runs over all of them."""
    reach: int = 5
    """Frames from the present to the past and to the future."""

    def __post_init__(self) -> None:
        minimum = max(2 * self.reach, 4 * self.blocks) + 1
        if self.width % _NORM_GROUPS or self.frames < minimum:
            raise ValueError(
                f"temporal network of width {self.width} and {self.frames} frames: expected a multiple of "
                f"{_NORM_GROUPS} and at least {minimum} frames (more than 2 * reach and 4 * blocks)"
            )

    @classmethod
    def paper(cls) -> "TemporalConfig":
        """Return the network of Kanazawa et al. 2019."""
        return cls(width=2048, hidden=1024, start="mean", dropout=0.5, frames=20)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TemporalConfig":
        """Build the configuration from the output of `asdict`.

        Raises ValueError for a field that this version does not know."""
        if unknown := sorted(values.keys() - asdict(cls()).keys()):
            raise ValueError(
                f"temporal network with unknown fields {', '.join(unknown)}: was it written by a newer version?"
            )
        return cls(**values)

    @property
    def margin(self) -> int:
        """Receptive field of the movie strip to each side, frames (without normalisation)."""
        return 2 * self.blocks


class FrameFeatures(NamedTuple):
    """Output of the frame network for the frames of clips; it costs most of the time and may be stored."""

    features: Float[Tensor, "*clips time features"]
    """Features; the last three are the `view_angles` of the crop."""
    theta: Float[Tensor, "*clips time theta"]
    """Predictions, packed by `pack_theta`."""


class TemporalOutput(NamedTuple):
    """Output of a temporal network for training clips; `theta` is unpacked by `unpack_theta`."""

    present: Float[Tensor, "clips time theta"]
    past: Float[Tensor, "rows theta"]
    future: Float[Tensor, "rows theta"]
    hallucinated_present: Float[Tensor, "rows theta"]
    """From one frame only, as are the next two."""
    hallucinated_past: Float[Tensor, "rows theta"]
    hallucinated_future: Float[Tensor, "rows theta"]
    hallucination_error: Float[Tensor, " rows"]
    """Mean squared distance of the hallucinated movie strip from the real one; no gradient to the real one."""


def pack_theta(prediction: Prediction) -> Float[Tensor, "*batch theta"]:
    """Pack a prediction into vectors: rotations in 6D, betas, crop camera."""
    pose = matrix_to_6d(prediction.R_parent_joint).flatten(-2)
    return torch.cat([pose, prediction.betas, prediction.crop_camera], dim=-1)


def unpack_theta(theta: Float[Tensor, "*batch theta"]) -> Prediction:
    """Unpack vectors of `pack_theta`; rotations are orthonormalised."""
    pose, betas, crop_camera = theta.split(
        [POSE_SIZE, theta.shape[-1] - POSE_SIZE - _CAMERA_SIZE, _CAMERA_SIZE], dim=-1
    )
    return Prediction(matrix_from_6d(pose.unflatten(-1, (-1, 6))), betas, crop_camera)


class _TemporalBlock(nn.Module):
    """Residual block over time: twice group normalisation, ReLU and a convolution; near the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(_NORM_GROUPS, width, eps=1e-6) for _ in range(2))
        self.first, self.second = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        nn.init.xavier_uniform_(self.first.weight)
        _init_near_zero(self.second, 0.001)

    def forward(self, x: Float[Tensor, "clips width time"]) -> Float[Tensor, "clips width time"]:
        inner = self.first(self.norms[0](x).relu())
        return x + self.second(self.norms[1](inner).relu())


class MovieStrip(nn.Module):
    """f_movie: combine the features of each frame with those of the frames around it."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_TemporalBlock(width) for _ in range(blocks)))

    def forward(self, features: Float[Tensor, "clips time width"]) -> Float[Tensor, "clips time width"]:
        return self.blocks(features.mT).mT


class ConfidenceWeightedFilter(nn.Module):
    """Average theta over time with a learned kernel and a learned confidence, both per element of theta.

    The confidence is predicted from the movie strip. Initially the kernel is Gaussian and all confidences are equal."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.confidence = nn.Linear(width, size)
        nn.init.zeros_(self.confidence.weight)
        nn.init.zeros_(self.confidence.bias)
        offsets = torch.arange(-_FILTER_RADIUS, _FILTER_RADIUS + 1)
        self.temporal_kernel = nn.Parameter((-0.5 * (offsets / _FILTER_SIGMA) ** 2).repeat(size, 1, 1))

    def forward(
        self, strip: Float[Tensor, "clips time width"], theta: Float[Tensor, "clips time theta"]
    ) -> Float[Tensor, "clips time theta"]:
        confidence = self.confidence(strip).clamp(-_MAX_LOG_CONFIDENCE, _MAX_LOG_CONFIDENCE).exp()
        kernel = self.temporal_kernel.softmax(-1)
        return _convolve_time(confidence * theta, kernel) / _convolve_time(confidence, kernel)


def _convolve_time(x: Float[Tensor, "clips time theta"], kernel: Float[Tensor, "theta 1 frames"]) -> Tensor:
    return nn.functional.conv1d(x.mT, kernel, padding=_FILTER_RADIUS, groups=len(kernel)).mT


def smooth_translation(
    crop_camera: Float[Tensor, "clips time 3"], angles: Float[Tensor, "clips time 3"]
) -> Float[Tensor, "clips time 3"]:
    """Smooth the path of the pelvis, whatever the crops: average its ray and the logarithm of its depth over time.

    `angles` are `heatmaps.view_angles` of the crops. The kernel is fixed: trained on position errors it would become
    as narrow as it can, and the path would jitter."""
    middle, width = angles[..., :2], angles[..., 2:]
    path = torch.cat([middle + crop_camera[..., :2] * width, crop_camera[..., 2:] - width.log()], dim=-1)
    offsets = torch.arange(-_FILTER_RADIUS, _FILTER_RADIUS + 1).to(path)
    scaled = offsets / torch.tensor(_TRANSLATION_SIGMA).to(path)[:, None]
    kernel = (-0.5 * scaled.square()).exp().unsqueeze(1)
    mean = _convolve_time(path, kernel) / _convolve_time(torch.ones_like(path), kernel)
    ray, depth = mean.split([2, 1], dim=-1)
    return torch.cat([(ray - middle) / width, depth + width.log()], dim=-1)


class ThetaRegressor(nn.Module):
    """Iterative regression: add a correction to theta three times, with the same weights, given the features."""

    def __init__(self, features: int, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features + size, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.correction = nn.Linear(hidden, size)
        _init_near_zero(self.correction, 0.01)

    def forward(
        self, features: Float[Tensor, "*batch features"], theta: Float[Tensor, "*batch theta"]
    ) -> Float[Tensor, "*batch theta"]:
        for _ in range(_REGRESSION_ITERATIONS):
            theta = theta + self.correction(self.layers(torch.cat([features, theta], dim=-1)))
        return theta


class Hallucinator(nn.Module):
    """Predict the movie strip's features from the features of one frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        _init_near_zero(self.layers[-1], 0.001)

    def forward(self, features: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return features + self.layers(features)


def _init_near_zero(layer: nn.Module, factor: float) -> None:
    """Initialise by uniform variance scaling: `factor` over the mean of fan in and fan out."""
    assert isinstance(layer, nn.Linear | nn.Conv1d) and layer.bias is not None
    nn.init.xavier_uniform_(layer.weight, gain=factor**0.5)
    nn.init.zeros_(layer.bias)


class TemporalNetwork(nn.Module):
    """A frozen frame network and the temporal layers over its features.

    All parts of the paper: f_movie, the iterative regressor f_3D, the two delta regressors, and the hallucinator,
    with which the same regressors work on a single frame."""

    def __init__(self, frame: NetworkConfig, config: TemporalConfig) -> None:
        super().__init__()
        self.config = config
        self.frame = FrameNetwork(frame).requires_grad_(False)
        size = POSE_SIZE + frame.num_betas + _CAMERA_SIZE
        features = self.frame.heads.stem.in_features + 3 + size * (config.start == "frame")
        self.embed = nn.Linear(features, config.width)
        self.movie = MovieStrip(config.width, config.blocks)
        widths = config.width, config.hidden, config.dropout
        self.regressor = ThetaRegressor(widths[0], size, *widths[1:])
        self.past_regressor, self.future_regressor = (
            ThetaRegressor(widths[0], POSE_SIZE, *widths[1:]) for _ in range(2)
        )
        self.hallucinator = Hallucinator(config.width)
        self.mean = nn.Parameter(_mean_theta(frame.num_betas)) if config.start == "mean" else None
        self.temporal_filter = (
            None if self.mean is not None else ConfidenceWeightedFilter(widths[0], size - _CAMERA_SIZE)
        )

    def train(self, mode: bool = True) -> "TemporalNetwork":
        """Set the mode of all parts but the frame network, which stays in evaluation mode."""
        super().train(mode)
        self.frame.eval()
        return self

    def frame_features(self, inputs: FrameInputs) -> FrameFeatures:
        """Run the frame network, one row a frame."""
        features = self.frame.features(inputs)
        angles = view_angles(inputs.boxes, inputs.focal, inputs.center)
        theta = pack_theta(self.frame.predict_from(features, inputs))
        return FrameFeatures(torch.cat([features, angles], dim=-1), theta)

    def embedding(self, frames: FrameFeatures) -> Float[Tensor, "*clips time width"]:
        """Compute the features phi of each frame by itself."""
        columns = frames.features if self.mean is not None else torch.cat(frames, dim=-1)
        return self.embed(columns)

    def present(self, frames: FrameFeatures) -> Float[Tensor, "clips time theta"]:
        """Predict the present of all frames of clips of consecutive frames."""
        return self._present(self.movie(self.embedding(frames)), frames)

    def _present(self, strip: Tensor, frames: FrameFeatures) -> Tensor:
        theta = self.regressor(strip, self._start(frames.theta))
        if self.temporal_filter is None:
            return theta
        body, crop_camera = theta[..., :-_CAMERA_SIZE], theta[..., -_CAMERA_SIZE:]
        smooth = smooth_translation(crop_camera, frames.features[..., -_CAMERA_SIZE:])
        return torch.cat([self.temporal_filter(strip, body), smooth], dim=-1)

    def _start(self, theta: Tensor) -> Tensor:
        return theta if self.mean is None else self.mean.expand(theta.shape)

    def hallucinate(self, frames: FrameFeatures) -> tuple[Prediction, Prediction, Prediction]:
        """Hallucinate past, present and future of each frame by itself; shape and camera are the present's."""
        strip = self.hallucinator(self.embedding(frames))
        present = self.regressor(strip, self._start(frames.theta))
        past, future = self._deltas(strip, present)
        return unpack_theta(past), unpack_theta(present), unpack_theta(future)

    def _deltas(self, strip: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        pose, rest = present[..., :POSE_SIZE], present[..., POSE_SIZE:]
        return (
            torch.cat([self.past_regressor(strip, pose), rest], dim=-1),
            torch.cat([self.future_regressor(strip, pose), rest], dim=-1),
        )

    def forward(self, features: Tensor, theta: Tensor, rows: Int[Tensor, " rows"]) -> TemporalOutput:
        """Predict all that is trained: the present of all frames, and past, future and hallucinations at `rows`.

        `features` and `theta` are the `FrameFeatures` of clips; `rows` index clips and frames in one axis. Past,
        future and hallucinations have no gradient to the present: trained jointly, the present was worse by 2 mm."""
        frames = FrameFeatures(features, theta)
        phi = self.embedding(frames)
        strip = self.movie(phi)
        present = self._present(strip, frames)
        strip_rows, phi_rows = strip.flatten(0, 1)[rows], phi.flatten(0, 1)[rows]
        past, future = self._deltas(strip_rows.detach(), present.flatten(0, 1)[rows].detach())
        hallucinated_strip = self.hallucinator(phi_rows.detach())
        frozen_weights = {name: weight.detach() for name, weight in self.regressor.named_parameters()}
        start = self._start(theta.flatten(0, 1)[rows]).detach()
        hallucinated = torch.func.functional_call(self.regressor, frozen_weights, (hallucinated_strip, start))
        error = (hallucinated_strip - strip_rows.detach()).square().mean(-1)
        deltas = self._deltas(hallucinated_strip, hallucinated)
        return TemporalOutput(present, past, future, hallucinated, *deltas, error)


def _mean_theta(num_betas: int) -> Float[Tensor, " theta"]:
    """Pack a person of mean shape who stands upright, arms down, facing the camera, in the middle of the crop."""
    R = torch.cat([R_CAM_UPRIGHT[None], named_pose("arms-down")[1:]])
    return torch.cat([matrix_to_6d(R).flatten(), torch.zeros(num_betas + _CAMERA_SIZE)])
