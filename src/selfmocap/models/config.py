"""What a network is made of, and what it predicts."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS


@dataclass(frozen=True)
class NetworkConfig:
    """A frame network; the defaults are the compact one that is shipped."""

    trunk: Literal["residual", "plain", "none"] = "residual"
    """`plain` is the paper's five blocks of 5 x 5 stride 2 and 3 x 3 convolutions with batch normalisation;
    `residual` has group normalisation, which does not depend on what else is in the batch; with `none` the heads see
    the keypoints' coordinates alone: ten times cheaper, a start for the training of a larger one."""
    width: int = 16
    """Channels of the first block; each further block doubles them (`residual`: up to eight times)."""
    rotations: Literal["6d", "paper"] = "6d"
    """`paper`: Euler (sin, cos) for the root, unit axis times angle for joints."""
    rgb: bool = True
    """Whether the image is seen beside the heatmaps."""
    coordinates: bool = True
    """Whether the heads also get the keypoints as numbers, beside the heatmaps that the trunk sees."""
    corrector: bool = False
    """Whether keypoints are looked for in the picture, RGB and mask, before anything is made of them."""
    keypoint_set: str = DEFAULT_KEYPOINTS.name
    num_betas: int = 16

    def __post_init__(self) -> None:
        if self.trunk == "none" and (self.rgb or not self.coordinates):
            raise ValueError(
                "a network without a trunk gives its heads coordinates and no image: set coordinates and not rgb"
            )
        if self.corrector and self.rgb:
            raise ValueError(
                "pictures are for the corrector or for the trunk: set corrector or rgb, not both"
            )

    @property
    def images(self) -> tuple[str, ...]:
        """The images of `Observations` that it looks at; none for a network that sees keypoints alone."""
        return ("crops", "masks") if self.corrector else ("crops",) * self.rgb

    @classmethod
    def paper(cls) -> "NetworkConfig":
        """The network of Tung et al. 2017: five plain blocks from 64 channels, 10 betas, heatmaps and RGB."""
        return cls(trunk="plain", width=64, rotations="paper", coordinates=False, num_betas=10)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """The configuration that `asdict` gave; a ValueError names a field that this version does not know."""
        if unknown := sorted(values.keys() - asdict(cls()).keys()):
            raise ValueError(
                f"network configuration with unknown {', '.join(unknown)}: made by a newer version?"
            )
        return cls(**values)
