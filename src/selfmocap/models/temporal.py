"""The temporal network: from the frames of a clip to its motion, and from one frame to its past and future (Kanazawa et
al. 2019, "Learning 3D Human Dynamics from Video")."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import UPRIGHT, FrameInputs, FrameNetwork, Prediction
from selfmocap.models.heatmaps import view_angles

POSE = 6 * len(JOINT_NAMES)
"""Numbers of a pose: the first two columns of every joint's rotation, the root's in the camera frame."""
_ITERATIONS = 3
_CAMERA = 3
_GROUPS = 32
_AVERAGED, _SMOOTH = 10, 3.5
"""How many frames to both sides answers are averaged over, and the standard deviation of the first average."""
_PLACE_SMOOTH = (2.0, 2.0, 5.0)
"""Standard deviations, frames, of the average of the pelvis' ray and of the logarithm of its depth."""
_MOST_TRUST = 5.0
"""Natural logarithm of how many times more than another an answer can count."""


@dataclass(frozen=True)
class TemporalConfig:
    """A temporal network; the defaults are the compact one that trains on two cores."""

    width: int = 256
    """Of a frame's features and of the movie strip."""
    hidden: int = 256
    """Of the regressors' two layers."""
    blocks: int = 3
    """Residual blocks of the movie strip, each of which sees two frames further to both sides."""
    start: Literal["frame", "mean"] = "frame"
    """Where regression starts: at the frame network's answer, which is then also seen, and what is found is averaged
    over the frames around as far as it is trusted; or, as in the paper, at one learned person."""
    dropout: float = 0.0
    """In the regressors."""
    frames: int = 30
    """Of a training clip and of a window at test time: group normalisation sees all of them."""
    reach: int = 5
    """How many frames past and future are away."""

    def __post_init__(self) -> None:
        if self.width % _GROUPS or self.frames < max(2 * self.reach, 4 * self.blocks) + 1:
            raise ValueError(
                f"a width of {self.width} and {self.frames} frames: expected a multiple of {_GROUPS}, and more frames "
                f"than past and future, or both margins, take"
            )

    @classmethod
    def paper(cls) -> "TemporalConfig":
        """The network of Kanazawa et al. 2019."""
        return cls(width=2048, hidden=1024, start="mean", dropout=0.5, frames=20)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TemporalConfig":
        """The configuration that `asdict` gave; a ValueError names a field that this version does not know."""
        if unknown := sorted(values.keys() - asdict(cls()).keys()):
            raise ValueError(f"temporal network with unknown {', '.join(unknown)}: made by a newer version?")
        return cls(**values)

    @property
    def margin(self) -> int:
        """How far f_movie looks to both sides (but for normalisation)."""
        return 2 * self.blocks


class Glimpses(NamedTuple):
    """What a frame network makes of the frames of some clips: it may be stored, and costs most of the time."""

    features: Float[Tensor, "*clips time features"]
    """With the crop's place in the field of view as the last three."""
    answers: Float[Tensor, "*clips time numbers"]
    """Its predictions, as `numbers_of` gives them."""


class Dynamics(NamedTuple):
    """What a temporal network says of clips; each a row of numbers for `prediction_of`."""

    present: Float[Tensor, "clips time numbers"]
    past: Float[Tensor, "chosen numbers"]
    future: Float[Tensor, "chosen numbers"]
    hallucinated_present: Float[Tensor, "chosen numbers"]
    """The rest from one frame alone."""
    hallucinated_past: Float[Tensor, "chosen numbers"]
    hallucinated_future: Float[Tensor, "chosen numbers"]
    hallucination: Float[Tensor, " chosen"]
    """Mean squared distance of the hallucinated movie strip from the real one, which this does not move."""


def numbers_of(prediction: Prediction) -> Float[Tensor, "*batch numbers"]:
    """A prediction as a row of numbers: rotations in 6D, betas, crop camera."""
    pose = matrix_to_6d(prediction.R_parent_joint).flatten(-2)
    return torch.cat([pose, prediction.betas, prediction.crop_camera], dim=-1)


def prediction_of(numbers: Float[Tensor, "*batch numbers"]) -> Prediction:
    """The inverse of `numbers_of`."""
    pose, betas, crop_camera = numbers.split([POSE, numbers.shape[-1] - POSE - _CAMERA, _CAMERA], dim=-1)
    return Prediction(matrix_from_6d(pose.unflatten(-1, (-1, 6))), betas, crop_camera)


class _Block(nn.Module):
    """Two convolutions over time after a normalisation each; near the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, width, eps=1e-6) for _ in range(2))
        self.first, self.second = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        nn.init.xavier_uniform_(self.first.weight)
        _near_zero(self.second, 0.001)

    def forward(self, x: Float[Tensor, "clips width time"]) -> Float[Tensor, "clips width time"]:
        inner = self.first(self.norms[0](x).relu())
        return x + self.second(self.norms[1](inner).relu())


class MovieStrip(nn.Module):
    """f_movie: each frame's features with those around it."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))

    def forward(self, features: Float[Tensor, "clips time width"]) -> Float[Tensor, "clips time width"]:
        return self.blocks(features.mT).mT


class TrustedMean(nn.Module):
    """The mean of the answers for the frames around each one; how much an answer counts depends on how far away it is
    and on how far the movie strip trusts it, for every number by itself. At first a Gaussian, and all trusted."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.trust = nn.Linear(width, numbers)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.trust.bias)
        away = torch.arange(-_AVERAGED, _AVERAGED + 1)
        self.nearness = nn.Parameter((-0.5 * (away / _SMOOTH) ** 2).repeat(numbers, 1, 1))

    def forward(
        self, strip: Float[Tensor, "clips time width"], answers: Float[Tensor, "clips time numbers"]
    ) -> Float[Tensor, "clips time numbers"]:
        trust = self.trust(strip).clamp(-_MOST_TRUST, _MOST_TRUST).exp()
        near = self.nearness.softmax(-1)
        return _around(trust * answers, near) / _around(trust, near)


def _around(x: Float[Tensor, "clips time numbers"], near: Float[Tensor, "numbers 1 frames"]) -> Tensor:
    return nn.functional.conv1d(x.mT, near, padding=_AVERAGED, groups=len(near)).mT


def steady_place(
    crop_camera: Float[Tensor, "clips time 3"], angles: Float[Tensor, "clips time 3"]
) -> Float[Tensor, "clips time 3"]:
    """Crop cameras of which the pelvis' path is smooth, wherever the crops lie (`angles` of `heatmaps.view_angles`):
    its ray and the logarithm of its depth are averaged over time. Not learned: judged by places, an average would
    become as narrow as it may, and the path would tremble."""
    middle, width = angles[..., :2], angles[..., 2:]
    path = torch.cat([middle + crop_camera[..., :2] * width, crop_camera[..., 2:] - width.log()], dim=-1)
    away = torch.arange(-_AVERAGED, _AVERAGED + 1).to(path) / torch.tensor(_PLACE_SMOOTH).to(path)[:, None]
    near = (-0.5 * away.square()).exp().unsqueeze(1)
    ray, depth = (_around(path, near) / _around(torch.ones_like(path), near)).split([2, 1], dim=-1)
    return torch.cat([(ray - middle) / width, depth + width.log()], dim=-1)


class Regressor(nn.Module):
    """Corrects its own answer, three times with the same weights, in the light of the features."""

    def __init__(self, features: int, numbers: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features + numbers, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.correction = nn.Linear(hidden, numbers)
        _near_zero(self.correction, 0.01)

    def forward(
        self, features: Float[Tensor, "*batch features"], answer: Float[Tensor, "*batch numbers"]
    ) -> Float[Tensor, "*batch numbers"]:
        for _ in range(_ITERATIONS):
            answer = answer + self.correction(self.layers(torch.cat([features, answer], dim=-1)))
        return answer


class Hallucinator(nn.Module):
    """The movie strip's features that go with the features of one frame alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        _near_zero(self.layers[-1], 0.001)

    def forward(self, features: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return features + self.layers(features)


def _near_zero(layer: nn.Module, factor: float) -> None:
    """Variance scaling by `factor` over the mean of fan in and fan out, uniform."""
    assert isinstance(layer, nn.Linear | nn.Conv1d) and layer.bias is not None
    nn.init.xavier_uniform_(layer.weight, gain=factor**0.5)
    nn.init.zeros_(layer.bias)


class TemporalNetwork(nn.Module):
    """A frame network, which stays as it is while this is trained, and what understands its glimpses in time.

    All of the paper: f_movie, the iterative regressor f_3D, the two delta regressors, and the hallucinator with which
    the same regressors read a single frame."""

    def __init__(self, frame: NetworkConfig, config: TemporalConfig) -> None:
        super().__init__()
        self.config = config
        self.frame = FrameNetwork(frame).requires_grad_(False)
        numbers = POSE + frame.num_betas + _CAMERA
        features = self.frame.heads.stem.in_features + 3 + numbers * (config.start == "frame")
        self.embed = nn.Linear(features, config.width)
        self.movie = MovieStrip(config.width, config.blocks)
        sizes = config.width, config.hidden, config.dropout
        self.now = Regressor(sizes[0], numbers, *sizes[1:])
        self.before, self.after = (Regressor(sizes[0], POSE, *sizes[1:]) for _ in range(2))
        self.hallucinator = Hallucinator(config.width)
        self.mean = nn.Parameter(_standing(frame.num_betas)) if config.start == "mean" else None
        self.trusted = None if self.mean is not None else TrustedMean(sizes[0], numbers - _CAMERA)

    def train(self, mode: bool = True) -> "TemporalNetwork":
        super().train(mode)
        self.frame.eval()
        return self

    def glimpses(self, inputs: FrameInputs) -> Glimpses:
        """What the frame network makes of each frame, one row a frame."""
        features = self.frame.features(inputs)
        angles = view_angles(inputs.boxes, inputs.focal, inputs.center)
        answers = numbers_of(self.frame.answer(features, inputs))
        return Glimpses(torch.cat([features, angles], dim=-1), answers)

    def embedded(self, seen: Glimpses) -> Float[Tensor, "*clips time width"]:
        """The features phi of each frame by itself."""
        whole = seen.features if self.mean is not None else torch.cat(seen, dim=-1)
        return self.embed(whole)

    def present(self, seen: Glimpses) -> Float[Tensor, "clips time numbers"]:
        """Clips of consecutive frames as the movie strip sees them, for `prediction_of`."""
        return self._present(self.movie(self.embedded(seen)), seen)

    def _present(self, strip: Tensor, seen: Glimpses) -> Tensor:
        found = self.now(strip, self._start(seen.answers))
        if self.trusted is None:
            return found
        told, crop_camera = found[..., :-_CAMERA], found[..., -_CAMERA:]
        place = steady_place(crop_camera, seen.features[..., -_CAMERA:])
        return torch.cat([self.trusted(strip, told), place], dim=-1)

    def _start(self, answers: Tensor) -> Tensor:
        return answers if self.mean is None else self.mean.expand(answers.shape)

    def around(self, seen: Glimpses) -> tuple[Prediction, Prediction, Prediction]:
        """Past, present and future of each frame by itself, hallucinated; shape and camera are the present's."""
        strip = self.hallucinator(self.embedded(seen))
        now = self.now(strip, self._start(seen.answers))
        past, future = self._deltas(strip, now)
        return prediction_of(past), prediction_of(now), prediction_of(future)

    def _deltas(self, strip: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        pose, rest = now[..., :POSE], now[..., POSE:]
        return (
            torch.cat([self.before(strip, pose), rest], dim=-1),
            torch.cat([self.after(strip, pose), rest], dim=-1),
        )

    def forward(self, features: Tensor, answers: Tensor, chosen: Int[Tensor, " chosen"]) -> Dynamics:
        """Everything that is trained, for `Glimpses` of clips: the present of all frames, the rest of the `chosen`
        ones (rows of clips and frames in one axis). The rest learns from what the present has made of the frames, and
        does not move it: taught together, the present got worse by 2 mm."""
        seen = Glimpses(features, answers)
        phi = self.embedded(seen)
        strip = self.movie(phi)
        present = self._present(strip, seen)
        some_strip, some_phi = strip.flatten(0, 1)[chosen], phi.flatten(0, 1)[chosen]
        past, future = self._deltas(some_strip.detach(), present.flatten(0, 1)[chosen].detach())
        dream = self.hallucinator(some_phi.detach())
        as_it_is = {name: weight.detach() for name, weight in self.now.named_parameters()}
        start = self._start(answers.flatten(0, 1)[chosen]).detach()
        dreamt = torch.func.functional_call(self.now, as_it_is, (dream, start))
        apart = (dream - some_strip.detach()).square().mean(-1)
        return Dynamics(present, past, future, dreamt, *self._deltas(dream, dreamt), apart)


def _standing(num_betas: int) -> Float[Tensor, " numbers"]:
    """Upright, facing the camera, arms down, of mean shape, in the middle of the crop."""
    R = torch.cat([UPRIGHT[None], named_pose("arms-down")[1:]])
    return torch.cat([matrix_to_6d(R).flatten(), torch.zeros(num_betas + _CAMERA)])
