"""Tone-map high dynamic range (PQ and HLG, BT.2100) to pictures for common displays (BT.709 primaries, sRGB curve).

PyAV's FFmpeg has no zscale filter, so the three steps are here: display light from the signal, BT.2020 to BT.709
primaries, and a curve that keeps light up to KNEE of diffuse white and compresses highlights smoothly.
"""

import functools

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt16

PQ, HLG = 16, 18
"""Transfer characteristics of frames (ITU-T H.273, table 3)."""

WHITE_NITS = 203.0
"""Diffuse white (BT.2408), cd/m2."""
KNEE = 0.6
"""Light, of diffuse white, from which highlights are compressed."""

_HLG_PEAK_NITS = 1000.0
_MAX_LIGHT = 8.0
"""Light, of diffuse white, that the curve maps to the brightest value."""
_LEVELS = 1 << 16
_BT709_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""BT.2087: linear BT.709 RGB of linear BT.2020 RGB."""


def tone_mapped(
    signal: UInt16[np.ndarray, "height width 3"], transfer: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Convert BT.2020 RGB with the transfer PQ or HLG (0 to 65535) to sRGB."""
    import cv2

    light = _light_table(transfer)[signal]
    light = cv2.transform(light, _BT709_BT2020)
    index = (light * ((_LEVELS - 1) / _MAX_LIGHT)).clip(0, _LEVELS - 1).astype(np.uint16)
    return _display_table()[index]


@functools.cache
def _light_table(transfer: int) -> Float32[np.ndarray, " levels"]:
    """Tabulate display light, of diffuse white, by the signal."""
    signal = np.linspace(0, 1, _LEVELS)
    nits = _pq_nits(signal) if transfer == PQ else _hlg_nits(signal)
    return (nits / WHITE_NITS).clip(0, _MAX_LIGHT).astype(np.float32)


def _pq_nits(signal: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Evaluate the EOTF of SMPTE ST 2084."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def _hlg_nits(signal: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Evaluate the EOTF of ARIB STD-B67 on a display of 1000 cd/m2, its gamma of 1.2 applied to each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return _HLG_PEAK_NITS * scene**1.2


@functools.cache
def _display_table() -> UInt8[np.ndarray, " levels"]:
    """Tabulate sRGB values by light from 0 to _MAX_LIGHT."""
    light = np.linspace(0, _MAX_LIGHT, _LEVELS)
    over = np.maximum(light - KNEE, 0) / (1 - KNEE)
    shown = np.where(light < KNEE, light, KNEE + (1 - KNEE) * (1 - np.exp(-over)))
    srgb = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    return np.rint(255 * srgb).astype(np.uint8)
