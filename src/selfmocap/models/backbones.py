"""Convolutional trunks: from a crop and its keypoint heatmaps to features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAKY_SLOPE = 0.2
"""Negative slope of every leaky ReLU."""


class PlainTrunk(nn.Module):
    """The paper's five blocks (Tung et al. 2017, section 3, and the authors' release).

    A block is a 5 x 5 convolution of stride 2 and a 3 x 3 one. Batch normalisation and a leaky ReLU follow every
    convolution, except that the last one has no normalisation."""

    heatmap_size = 128

    def __init__(self, keypoints: int, rgb: bool, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = keypoints + 3 * rgb
        for block in range(5):
            for kernel, stride in ((5, 2), (3, 1)):
                layers.append(nn.Conv2d(channels, width << block, kernel, stride, padding=kernel // 2))
                layers += [nn.BatchNorm2d(width << block), nn.LeakyReLU(LEAKY_SLOPE, inplace=True)]
                channels = width << block
        del layers[-2]
        self.layers = nn.Sequential(*layers)
        self.features = 16 * channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(
        self, rgb: Float[Tensor, "batch 3 128 128"] | None, maps: Float[Tensor, "batch keypoints 128 128"]
    ) -> Float[Tensor, "batch features"]:
        """Compute the features. RGB is in [-0.5, 0.5]; None for a network without RGB."""
        stacked = maps - 0.5 if rgb is None else torch.cat([maps - 0.5, rgb], dim=1)
        return self.layers(stacked).flatten(1)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: twice group normalisation, leaky ReLU and a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(channels // 16, channels),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(channels // 16, channels),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return x + self.layers(x)


class ResidualTrunk(nn.Module):
    """Four strided convolutions at 64 x 64 and below, each followed by a residual block.

    A strided convolution halves the RGB crop first; heatmaps are drawn at 64 x 64. With group normalisation the
    features of a frame depend on that frame only."""

    heatmap_size = 64

    def __init__(self, keypoints: int, rgb: bool, width: int) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, width // 2, 5, stride=2, padding=2) if rgb else None
        layers: list[nn.Module] = []
        channels = keypoints + (width // 2) * rgb
        for block in range(4):
            wider = width << min(block, 3)
            layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1), ResidualBlock(wider)]
            channels = wider
        layers += [nn.GroupNorm(channels // 16, channels), nn.LeakyReLU(LEAKY_SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.features = 16 * channels

    def forward(
        self, rgb: Float[Tensor, "batch 3 128 128"] | None, maps: Float[Tensor, "batch keypoints 64 64"]
    ) -> Float[Tensor, "batch features"]:
        """Compute the features. RGB is in [-0.5, 0.5]; None for a network without RGB."""
        if rgb is not None and self.image is not None:
            maps = torch.cat([maps, nn.functional.leaky_relu(self.image(rgb), LEAKY_SLOPE)], dim=1)
        return self.layers(maps).flatten(1)
