"""Layers and patterns of a dressed body as functions of a point of the rest pose."""

from functools import partial

import numpy as np

from selfmocap.geometry.kernels import njit_cached
from selfmocap.synthetic.figure import HELD_FACE, SKIRT_FACE

_inlined = partial(njit_cached, inline=True)

SKIN, TOP, BOTTOM, SHOES, SOCKS, HAIR, EYES, LIPS, BROWS, OBJECT, FURNITURE_A, FURNITURE_B = range(12)
NUM_LAYERS = 12
"""Number of layers: the materials of a point of the surface."""

PLAIN, BANDS, PINSTRIPES, PLAID, BLOTCHES, DOTS, PRINT = range(7)
NUM_PATTERNS = 7

(SLEEVE, SHOULDER, COLLAR, NECKLINE, HEM, WAIST, CUFF, SOCK, SHOE, HAIRLINE, NAPE, EAR, CHIN, SLOPE) = range(
    14
)
NUM_EDGES = 14
"""Number of edges between layers, in metres of the rest pose. SLEEVE and SHOULDER are |x|, EAR and CHIN are z. NECKLINE
is the depth of the neckline below COLLAR, SLOPE one over half its width. The others are heights y."""

COLOUR, SECOND, PATTERN, SCALE, WRINKLE, THICKNESS = 0, 3, 6, 7, 8, 9
MATERIAL_SIZE = 10
"""Numbers of a layer: two linear colours, the pattern, its period (m), the roughness of the surface, the thickness
above the skin (m)."""


@_inlined
def layer_of(kind, x, y, z, edges, face_points):
    """Return the layer at a point of a face of some kind."""
    if kind == SKIRT_FACE:
        return BOTTOM
    if kind >= HELD_FACE:
        return OBJECT + kind - HELD_FACE
    found = layer_at(x, y, z, edges)
    if found == SKIN and z > edges[CHIN] and y > edges[COLLAR]:
        return _feature(x, y, z, face_points)
    return found


@_inlined
def layer_at(x, y, z, edges):
    """Return the layer at a point of the body."""
    # From the feet upwards, later layers replace earlier ones: without branches, which would be mispredicted.
    found = SOCKS if y < edges[SOCK] else SKIN
    found = SHOES if y < edges[SHOE] else found
    found = BOTTOM if y > edges[CUFF] else found
    found = SKIN if y > edges[WAIST] else found
    found = TOP if y > edges[HEM] else found
    side = abs(x)
    dip = max(0.0, 1.0 - side * edges[SLOPE]) if z > 0 else 0.25
    hairy = (y > edges[HAIRLINE] - 6.0 * x * x) | ((z < edges[EAR]) & (y > edges[NAPE]))
    found = (HAIR if hairy else SKIN) if y > edges[COLLAR] - edges[NECKLINE] * dip else found
    arm = TOP if side < edges[SLEEVE] else SKIN
    return arm if side > edges[SHOULDER] else found


@_inlined
def _feature(x, y, z, face_points):
    for eye in range(2):
        dx, dy = (x - face_points[eye, 0]) / 0.015, (y - face_points[eye, 1]) / 0.008
        if dx * dx + dy * dy < 1.0:
            return EYES
        dy = (y - face_points[eye, 1] - 0.019 + 12.0 * (x - face_points[eye, 0]) ** 2) / 0.0045
        dx = (x - face_points[eye, 0]) / 0.021
        if dx * dx + dy * dy < 1.0:
            return BROWS
    dx, dy = (x - face_points[3, 0]) / 0.025, (y - face_points[3, 1]) / 0.009
    return LIPS if dx * dx + dy * dy < 1.0 else SKIN


@_inlined
def noise_at(noise, x, y, z, frequency, seed):
    """Return three values of smooth noise at a point, by trilinear interpolation in a periodic table of 16 cells."""
    u, v, w = x * frequency + seed[0], y * frequency + seed[1], z * frequency + seed[2]
    fu, fv, fw = np.floor(u), np.floor(v), np.floor(w)
    i, j, k = int(fu) & 15, int(fv) & 15, int(fw) & 15
    u, v, w = u - fu, v - fv, w - fw
    i1, j1, k1 = (i + 1) & 15, (j + 1) & 15, (k + 1) & 15
    r0, r1, r2 = 0.0, 0.0, 0.0
    for corner in range(4):
        a, b = (i1 if corner & 1 else i), (j1 if corner & 2 else j)
        near = (u if corner & 1 else 1 - u) * (v if corner & 2 else 1 - v)
        far = near * w
        near -= far
        r0 += near * noise[a, b, k, 0] + far * noise[a, b, k1, 0]
        r1 += near * noise[a, b, k, 1] + far * noise[a, b, k1, 1]
        r2 += near * noise[a, b, k, 2] + far * noise[a, b, k1, 2]
    return r0, r1, r2


@_inlined
def second_colour_fraction(layers, layer, x, y, z, noise, seed):
    """Return the fraction of a layer's second colour at a point, in [0, 1]."""
    pattern = int(layers[layer, PATTERN])
    if pattern == PLAIN:
        return 0.0
    scale = 1.0 / layers[layer, SCALE]
    if pattern == BANDS:
        return 1.0 if _phase(y * scale) < 0.5 else 0.0
    if pattern == PINSTRIPES:
        return 1.0 if _phase(np.arctan2(x, z + 0.3) * 0.35 * scale) < 0.3 else 0.0
    if pattern == PLAID:
        return (0.5 if _phase(y * scale) < 0.4 else 0.0) + (0.5 if _phase(x * scale) < 0.4 else 0.0)
    if pattern == DOTS:
        u, v = _phase(x * scale) - 0.5, _phase(y * scale) - 0.5
        return 1.0 if u * u + v * v < 0.09 else 0.0
    if pattern == PRINT and not (abs(x) < 0.10 and abs(y - 1.20) < 0.10 and z > 0):
        return 0.0
    u, v, _ = noise_at(noise, x, y, z, 0.5 * scale, seed)
    return min(max(0.5 + 2.5 * u if pattern == BLOTCHES else 0.6 + 3.0 * v, 0.0), 1.0)


@_inlined
def _phase(position):
    return position - np.floor(position)
