"""Draws dressed people into pictures, and nothing else: the kernels. See `pictures`.

The rasteriser is the float twin of `raster.rasterize` for points well in front of the camera: screen-space edge
functions, several samples a pixel, everything that a pixel needs computed while it is in the cache.
"""

from typing import NamedTuple

import numpy as np

from selfmocap.kernels import compiled, over_batch
from selfmocap.synthetic.figure import BODY, HELD, SKIRT

SKIN, TOP, BOTTOM, SHOES, SOCKS, HAIR, EYES, LIPS, BROWS, OBJECT, FURNITURE_A, FURNITURE_B = range(12)
LAYERS = 12
"""What a point of the surface is made of."""

PLAIN, BANDS, PINSTRIPES, PLAID, BLOTCHES, DOTS, PRINT = range(7)
PATTERNS = 7

(SLEEVE, SHOULDER, COLLAR, NECKLINE, HEM, WAIST, CUFF, SOCK, SHOE, HAIRLINE, NAPE, EAR, CHIN, OVERALL) = (
    range(14)
)
EDGES = 14
"""Where one layer ends and the next begins, in metres of the rest pose. SLEEVE and SHOULDER are |x|, EAR and CHIN are
z, OVERALL is a depth of the neckline's V; the others are heights y."""

COLOUR, SECOND, PATTERN, SCALE, WRINKLE, THICKNESS = 0, 3, 6, 7, 8, 9
MATERIAL = 10
"""A layer's numbers: two linear colours, which pattern, its period (m), how rough the surface is, how far it stands off
the skin (m)."""


class Look(NamedTuple):
    """How figures look; the first axis of each array is the picture."""

    edges: np.ndarray
    """(pictures, EDGES) float32."""
    layers: np.ndarray
    """(pictures, LAYERS, MATERIAL) float32."""
    light: np.ndarray
    """(pictures, 3, 10) float32: for each colour the light that falls on a surface with normal n (camera frame) as the
    quadratic form c + b.n + n.M n of second-order spherical harmonics (Ramamoorthi and Hanrahan 2001): c, b, and M as
    xx, yy, zz, xy, xz, yz."""
    seed: np.ndarray
    """(pictures, 3) float32: where in the noise the picture's patterns lie."""


class Model(NamedTuple):
    """What all pictures share."""

    faces: np.ndarray
    """(faces, 3) int32."""
    kind: np.ndarray
    """(faces,) uint8, as in `figure`."""
    rest: np.ndarray
    """(3, vertices) float32."""
    face_points: np.ndarray
    """(4, 3) float32: left eye, right eye, nose, mouth in the rest pose."""
    noise: np.ndarray
    """(32, 32, 32, 3) float32 in [-1, 1], smooth, periodic."""


class Drawn(NamedTuple):
    """What is drawn of figures; colours are averages over the samples that the figure covers."""

    colour: np.ndarray
    """(pictures, height, width, 3) float32 in [0, 1], gamma-encoded, times `coverage`."""
    coverage: np.ndarray
    """(pictures, height, width) float32: share of the pixel that any of the figure covers."""
    person: np.ndarray
    """(pictures, height, width) float32: share that the person (body, clothes) covers."""
    held: np.ndarray
    """(pictures, height, width) float32: share that a thing in a hand covers."""
    depth: np.ndarray
    """(pictures, height, width) float32: nearest depth, metres; infinity where there is nothing."""


def draw(
    vertices: np.ndarray, intrinsics: np.ndarray, look: Look, model: Model, size: int | tuple[int, int],
    samples: int, coloured: bool,
) -> Drawn:  # fmt: skip
    """Figures with `vertices` (pictures, 3, vertices) float32 in the camera frame, through pinholes `intrinsics`
    (pictures, 4: fx, fy, cx, cy in px of the picture), in pictures of `size` (a side, or height and width), with
    `samples` x `samples` samples a pixel; without colours unless `coloured`. In as many threads as torch uses."""
    height, width = (size, size) if isinstance(size, int) else size
    shape = (len(vertices), height, width)
    drawn = Drawn(
        np.zeros((*shape, 3) if coloured else (len(vertices), 1, 1, 3), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.full(shape, np.inf, np.float32),
    )
    over_batch(_draw, len(vertices), vertices, intrinsics, look, model, drawn, samples, coloured)
    return drawn


@compiled
def _draw(first, last, vertices, intrinsics, look, model, drawn, samples, coloured):
    height, width = drawn.coverage.shape[1:]
    inverse = np.zeros((height * samples, width * samples), np.float32)
    face = np.zeros((height * samples, width * samples), np.int32)
    points = np.empty((6, vertices.shape[2]), np.float32)
    for n in range(first, last):
        normals = _normals(vertices[n], model.faces)
        _project(vertices[n], normals, look.edges[n], look.layers[n], intrinsics[n], model, samples, points)
        inverse[:] = 0.0
        face[:] = -1
        _scan(points, model.faces, inverse, face)
        if coloured:
            _colour(points, normals, look, n, model, inverse, face, samples, drawn)
        else:
            _cover(n, model, inverse, face, samples, drawn)


@compiled
def _normals(p, faces):
    """Unit normals of vertices, each the area-weighted mean of its faces'."""
    normals = np.zeros(p.shape, np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f]
        ux, uy, uz = p[0, j] - p[0, i], p[1, j] - p[1, i], p[2, j] - p[2, i]
        vx, vy, vz = p[0, k] - p[0, i], p[1, k] - p[1, i], p[2, k] - p[2, i]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (i, j, k):
            normals[0, v] += nx
            normals[1, v] += ny
            normals[2, v] += nz
    for v in range(p.shape[1]):
        length = np.sqrt(normals[0, v] ** 2 + normals[1, v] ** 2 + normals[2, v] ** 2)
        scale = 1.0 / max(length, 1e-20)
        normals[0, v] *= scale
        normals[1, v] *= scale
        normals[2, v] *= scale
    return normals


@compiled
def _project(p, normals, edges, layers, lens, model, samples, points):
    """Rows of `points`: column and row of the sample grid, 1 / z, and the dressed vertex in the camera frame."""
    body = p.shape[1]
    scale, shift = float(samples), 0.5 * (samples - 1)
    for v in range(body):
        x, y, z = model.rest[0, v], model.rest[1, v], model.rest[2, v]
        thickness = layers[_layer(x, y, z, edges), THICKNESS]
        px = p[0, v] + thickness * normals[0, v]
        py = p[1, v] + thickness * normals[1, v]
        pz = p[2, v] + thickness * normals[2, v]
        inverse = 1.0 / max(pz, 1e-3)
        points[0, v] = (lens[0] * px * inverse + lens[2]) * scale + shift
        points[1, v] = (lens[1] * py * inverse + lens[3]) * scale + shift
        points[2, v] = inverse if pz > 0.1 else 0.0


@compiled
def _scan(points, faces, inverse, face):
    """Nearest front-facing triangle at each sample, by its 1 / z. Triangles that reach within 10 cm are left out."""
    height, width = face.shape
    x, y, w = points[0], points[1], points[2]
    for f in range(len(faces)):
        i, j, k = faces[f]
        xi, yi, xj, yj, xk, yk = x[i], y[i], x[j], y[j], x[k], y[k]
        area = (xj - xi) * (yk - yi) - (xk - xi) * (yj - yi)
        if not area < -1e-12 or w[i] <= 0 or w[j] <= 0 or w[k] <= 0:
            continue
        least, most = min(xi, xj, xk), max(xi, xj, xk)
        if most < 0 or least > width - 1:
            continue
        left, right = int(np.ceil(max(least, 0.0))), int(np.floor(min(most, width - 1.0)))
        if left > right:
            continue
        least, most = min(yi, yj, yk), max(yi, yj, yk)
        if most < 0 or least > height - 1:
            continue
        top, bottom = int(np.ceil(max(least, 0.0))), int(np.floor(min(most, height - 1.0)))
        if top > bottom:
            continue
        scale = 1.0 / area
        bx, by = (yk - yi) * scale, (xi - xk) * scale
        cx, cy = (yi - yj) * scale, (xj - xi) * scale
        wi = w[i]
        dj, dk = w[j] - wi, w[k] - wi
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                b = (column - xi) * bx + (row - yi) * by
                c = (column - xi) * cx + (row - yi) * cy
                if b >= 0.0 and c >= 0.0 and b + c <= 1.0:
                    near = wi + b * dj + c * dk
                    if near > inverse[row, column]:
                        inverse[row, column] = near
                        face[row, column] = f


@compiled
def _cover(n, model, inverse, face, samples, drawn):
    height, width = drawn.coverage.shape[1:]
    share = 1.0 / (samples * samples)
    for row in range(height * samples):
        for column in range(width * samples):
            f = face[row, column]
            if f >= 0:
                _count(drawn, n, row // samples, column // samples, model.kind[f], 1.0 / inverse[row, column], share)


@compiled
def _count(drawn, n, row, column, kind, depth, share):
    drawn.coverage[n, row, column] += share
    if kind == BODY or kind == SKIRT:
        drawn.person[n, row, column] += share
    elif kind == HELD:
        drawn.held[n, row, column] += share
    drawn.depth[n, row, column] = min(drawn.depth[n, row, column], depth)


@compiled
def _colour(points, normals, look, n, model, inverse, face, samples, drawn):
    """`_cover`, and the colour of each sample."""
    height, width = drawn.coverage.shape[1:]
    edges, layers, light, seed = look.edges[n], look.layers[n], look.light[n], look.seed[n]
    faces, kind, rest = model.faces, model.kind, model.rest
    share = 1.0 / (samples * samples)
    for row in range(height * samples):
        for column in range(width * samples):
            f = face[row, column]
            if f < 0:
                continue
            i, j, k = faces[f]
            a, b, c = _weights(points, i, j, k, column, row, inverse[row, column])
            x = a * rest[0, i] + b * rest[0, j] + c * rest[0, k]
            y = a * rest[1, i] + b * rest[1, j] + c * rest[1, k]
            z = a * rest[2, i] + b * rest[2, j] + c * rest[2, k]
            nx = a * normals[0, i] + b * normals[0, j] + c * normals[0, k]
            ny = a * normals[1, i] + b * normals[1, j] + c * normals[1, k]
            nz = a * normals[2, i] + b * normals[2, j] + c * normals[2, k]
            layer = _layer_of(kind[f], x, y, z, edges, model.face_points)
            material = layers[layer]
            rough = material[WRINKLE]
            u, v, w = _noise(model.noise, x, y, z, 9.0, seed)
            nx, ny, nz = nx + rough * u, ny + rough * v, nz + rough * w
            scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            mix = _mix(material, x, y, z, model.noise, seed)
            shade = 1.0 + 0.25 * rough * (u + v)
            r, s = row // samples, column // samples
            for channel in range(3):
                albedo = material[COLOUR + channel] * (1.0 - mix) + material[SECOND + channel] * mix
                value = max(albedo * shade * _light(light[channel], nx, ny, nz), 0.0)
                drawn.colour[n, r, s, channel] += share * np.sqrt(min(value, 1.0))
            _count(drawn, n, r, s, kind[f], 1.0 / inverse[row, column], share)


@compiled
def _weights(points, i, j, k, column, row, inverse):
    """Perspective-correct barycentric coordinates of a sample."""
    xi, yi = points[0, i], points[1, i]
    xj, yj, xk, yk = points[0, j] - xi, points[1, j] - yi, points[0, k] - xi, points[1, k] - yi
    area = xj * yk - xk * yj
    b = ((column - xi) * yk - (row - yi) * xk) / area
    c = ((row - yi) * xj - (column - xi) * yj) / area
    a = (1.0 - b - c) * points[2, i] / inverse
    return a, b * points[2, j] / inverse, c * points[2, k] / inverse


@compiled
def _light(light, x, y, z):
    linear = light[0] + light[1] * x + light[2] * y + light[3] * z
    squares = light[4] * x * x + light[5] * y * y + light[6] * z * z
    return linear + squares + light[7] * x * y + light[8] * x * z + light[9] * y * z


@compiled
def _layer_of(kind, x, y, z, edges, face_points):
    """The layer at a point of a face of some kind."""
    if kind == SKIRT:
        return BOTTOM
    if kind >= HELD:
        return OBJECT + kind - HELD
    layer = _layer(x, y, z, edges)
    if layer == SKIN and z > edges[CHIN] and y > edges[COLLAR]:
        return _feature(x, y, z, face_points)
    return layer


@compiled
def _layer(x, y, z, edges):
    """What covers a point of the body."""
    side = abs(x)
    if side > edges[SHOULDER]:
        return TOP if side < edges[SLEEVE] else SKIN
    dip = edges[NECKLINE] * max(0.0, 1.0 - abs(x) * edges[OVERALL]) if z > 0 else 0.25 * edges[NECKLINE]
    if y > edges[COLLAR] - dip:
        if y > edges[HAIRLINE] - 6.0 * x * x or (z < edges[EAR] and y > edges[NAPE]):
            return HAIR
        return SKIN
    if y > edges[HEM]:
        return TOP
    if y > edges[WAIST]:
        return SKIN
    if y > edges[CUFF]:
        return BOTTOM
    if y < edges[SHOE]:
        return SHOES
    return SOCKS if y < edges[SOCK] else SKIN


@compiled
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


@compiled
def _noise(noise, x, y, z, frequency, seed):
    """Smooth noise, three values, at a point; trilinear in a periodic table of 32 cells."""
    u, v, w = x * frequency + seed[0], y * frequency + seed[1], z * frequency + seed[2]
    fu, fv, fw = np.floor(u), np.floor(v), np.floor(w)
    i, j, k = int(fu) & 31, int(fv) & 31, int(fw) & 31
    u, v, w = u - fu, v - fv, w - fw
    i1, j1, k1 = (i + 1) & 31, (j + 1) & 31, (k + 1) & 31
    r0, r1, r2 = 0.0, 0.0, 0.0
    for a, i_, wa in ((0, i, 1 - u), (1, i1, u)):
        for b, j_, wb in ((0, j, 1 - v), (1, j1, v)):
            near, far = noise[i_, j_, k], noise[i_, j_, k1]
            weight = wa * wb
            r0 += weight * (near[0] * (1 - w) + far[0] * w)
            r1 += weight * (near[1] * (1 - w) + far[1] * w)
            r2 += weight * (near[2] * (1 - w) + far[2] * w)
    return r0, r1, r2


@compiled
def _mix(material, x, y, z, noise, seed):
    """How much of the second colour there is at a point, in [0, 1]."""
    pattern = int(material[PATTERN])
    if pattern == PLAIN:
        return 0.0
    scale = 1.0 / material[SCALE]
    if pattern == BANDS:
        return 1.0 if (y * scale) % 1.0 < 0.5 else 0.0
    if pattern == PINSTRIPES:
        return 1.0 if (np.arctan2(x, z + 0.3) * 0.35 * scale) % 1.0 < 0.3 else 0.0
    if pattern == PLAID:
        return (0.5 if (y * scale) % 1.0 < 0.4 else 0.0) + (0.5 if (x * scale) % 1.0 < 0.4 else 0.0)
    if pattern == DOTS:
        u, v = (x * scale) % 1.0 - 0.5, (y * scale) % 1.0 - 0.5
        return 1.0 if u * u + v * v < 0.09 else 0.0
    u, v, _ = _noise(noise, x, y, z, 0.5 * scale, seed)
    if pattern == BLOTCHES:
        return min(max(0.5 + 2.5 * u, 0.0), 1.0)
    inside = abs(x) < 0.10 and abs(y - 1.20) < 0.10 and z > 0
    return min(max(0.6 + 3.0 * v, 0.0), 1.0) if inside else 0.0
