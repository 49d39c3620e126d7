"""Configuration of the frame network: architecture, inputs and outputs."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS


@dataclass(frozen=True)
class NetworkConfig:
    """Configure a frame network. The defaults are the compact residual network."""

    trunk: Literal["residual", "plain", "none"] = "residual"
    """Convolutional trunk: the paper's plain one, a residual one, or none.

    `plain`: the paper's five blocks of 5 x 5 (stride 2) and 3 x 3 convolutions with batch normalisation. `residual`:
    group normalisation, which does not depend on the other samples of the batch. `none`: the heads get keypoint
    coordinates only, which is ten times cheaper and a start for the training of a larger network."""
    width: int = 16
    """Channels of the first block. Each further block doubles them (`residual`: up to eight times)."""
    rotations: Literal["6d", "paper"] = "6d"
    """Rotation representation: 6D, or the paper's (sine and cosine of Euler angles for the root, unit axis and angle
    for the joints)."""
    rgb: bool = True
    """Give the RGB crop to the trunk, beside the heatmaps."""
    coordinates: bool = True
    """Give keypoint coordinates to the heads, beside the features of the trunk."""
    corrector: bool = False
    """Refine the keypoints from the RGB crop and the mask first (`models.corrector`)."""
    keypoint_set: str = DEFAULT_KEYPOINTS.name
    """Name of the keypoint set of the inputs."""
    num_betas: int = 16
    """Number of shape coefficients."""

    def __post_init__(self) -> None:
        if self.trunk == "none" and (self.rgb or not self.coordinates):
            raise ValueError(
                "a network without a trunk takes keypoint coordinates and no image: set coordinates=True and rgb=False"
            )
        if self.corrector and self.rgb:
            raise ValueError("images go to the corrector or to the trunk: set corrector or rgb, not both")

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the image fields of `Observations` that the network takes; empty for keypoints only."""
        return ("crops", "masks") if self.corrector else ("crops",) * self.rgb

    @classmethod
    def paper(cls) -> "NetworkConfig":
        """Return the network of Tung et al. 2017: five plain blocks from 64 channels, 10 betas, heatmaps and RGB."""
        return cls(trunk="plain", width=64, rotations="paper", coordinates=False, num_betas=10)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """Build the configuration from the output of `asdict`.

        Raises ValueError for a field that this version does not know."""
        if unknown := sorted(values.keys() - asdict(cls()).keys()):
            raise ValueError(
                f"network configuration with unknown fields {', '.join(unknown)}: was it written by a newer version?"
            )
        return cls(**values)
