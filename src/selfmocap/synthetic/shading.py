"""Kernels that render dressed people; see `rendering`.

The rasteriser is the float twin of `geometry.rasterizer.rasterize` for points well in front of the camera: screen-space
edge functions, several samples per pixel, and everything that a pixel needs is computed while it is in the cache. All
samples count for coverage and depth, every second one for colour."""

from functools import partial
from typing import NamedTuple

import numpy as np

from selfmocap.geometry.kernels import njit_cached, parallel_for
from selfmocap.synthetic.figure import BODY_FACE, HELD_FACE, SKIRT_FACE
from selfmocap.synthetic.surface import (
    COLOUR,
    SECOND,
    THICKNESS,
    WRINKLE,
    layer_at,
    layer_of,
    noise_at,
    second_colour_fraction,
)

MIN_DEPTH = 0.1
"""Metres from the camera's plane within which nothing is rendered."""

_inlined = partial(njit_cached, inline=True)

SIMD_LANES = 8
"""Samples that are tested at once, in double precision."""


class FigureAppearance(NamedTuple):
    """Appearance of figures; the first axis of each array is the image."""

    edges: np.ndarray
    """(images, NUM_EDGES) float32; see `surface`."""
    layers: np.ndarray
    """(images, NUM_LAYERS, MATERIAL_SIZE) float32."""
    light: np.ndarray
    """(images, 3, 10) float32: for each colour the light on a surface with normal n (camera frame) as the quadratic
    form c + b.n + n.M n of second-order spherical harmonics (Ramamoorthi and Hanrahan 2001): c, b, and M as xx, yy, zz,
    xy, xz, yz."""
    seed: np.ndarray
    """(images, 3) float32: the position of the image's patterns in the noise."""


class FigureModel(NamedTuple):
    """Data that all images share."""

    faces: np.ndarray
    """(faces, 3) int32."""
    face_kind: np.ndarray
    """(faces,) uint8, as in `figure`."""
    rest_vertices: np.ndarray
    """(3, vertices) float32."""
    face_points: np.ndarray
    """(4, 3) float32: left eye, right eye, nose, mouth in the rest pose."""
    noise: np.ndarray
    """(16, 16, 16, 3) float32 in [-1, 1], smooth, periodic."""


class RenderedFigures(NamedTuple):
    """Rendered figures; colours are averages over the samples that the figure covers."""

    colour: np.ndarray
    """(images, height, width, 3) float32 in [0, 1], gamma-encoded, times `coverage`."""
    coverage: np.ndarray
    """(images, height, width) float32: fraction of the pixel that any of the figure covers."""
    person: np.ndarray
    """(images, height, width) float32: fraction that the person (body, clothes) covers."""
    held: np.ndarray
    """(images, height, width) float32: fraction that a held object covers."""
    depth: np.ndarray
    """(images, height, width) float32: nearest depth, metres; infinity for the background."""


def render_figures(
    vertices: np.ndarray, intrinsics: np.ndarray, appearance: FigureAppearance, model: FigureModel,
    size: int | tuple[int, int], samples: int, coloured: bool,
) -> RenderedFigures:  # fmt: skip
    """Render figures with `vertices` (images, 3, vertices) float32 in the camera frame through pinholes `intrinsics`
    (images, 4: fx, fy, cx, cy, px of the image).

    Images have a `size` (a side, or height and width) and `samples` x `samples` samples per pixel; colours are computed
    only if `coloured`. It runs in as many threads as torch uses."""
    height, width = (size, size) if isinstance(size, int) else size
    shape = (len(vertices), height, width)
    out = RenderedFigures(
        np.zeros((*shape, 3) if coloured else (len(vertices), 1, 1, 3), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.full(shape, np.inf, np.float32),
    )
    parallel_for(_render, len(vertices), vertices, intrinsics, appearance, model, out, samples, coloured)
    return out


def dressed_vertices(vertices: np.ndarray, appearance: FigureAppearance, model: FigureModel) -> np.ndarray:
    """Compute (images, 3, vertices): the vertices as rendered, on the outside of clothes and hair."""
    out = np.empty_like(vertices)
    parallel_for(_dress_figures, len(vertices), vertices, appearance, model, out)
    return out


@njit_cached
def _dress_figures(first, last, vertices, appearance, model, out):
    for n in range(first, last):
        normals = _normals(vertices[n], model.faces)
        _dress(vertices[n], normals, appearance.edges[n], appearance.layers[n], model.rest_vertices, out[n])


@njit_cached
def _render(first, last, vertices, intrinsics, appearance, model, out, samples, coloured):
    height, width = out.coverage.shape[1:]
    inverse = np.zeros((height * samples, width * samples + SIMD_LANES), np.float32)
    face = np.zeros(inverse.shape, np.int32)
    points = np.empty((vertices.shape[2], 9), np.float32)
    dressed = np.empty(vertices.shape[1:], np.float32)
    for n in range(first, last):
        normals = _normals(vertices[n], model.faces)
        _dress(vertices[n], normals, appearance.edges[n], appearance.layers[n], model.rest_vertices, dressed)
        _project(dressed, normals, intrinsics[n], model.rest_vertices, samples, points)
        inverse[:] = 0.0
        face[:] = -1
        _scan(points, model.faces, inverse, face)
        _write_coverage(n, model, inverse, face, samples, out)
        if coloured:
            _write_colour(points, appearance, n, model, inverse, face, samples, out)


@njit_cached
def _normals(p, faces):
    """Compute unit normals of vertices, each the area-weighted mean of its faces'."""
    normals = np.zeros(p.shape, np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
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


@njit_cached
def _dress(p, normals, edges, layers, rest, dressed):
    """Move the vertices to the outside of the layer that covers them."""
    for v in range(p.shape[1]):
        thickness = layers[layer_at(rest[0, v], rest[1, v], rest[2, v], edges), THICKNESS]
        for axis in range(3):
            dressed[axis, v] = p[axis, v] + thickness * normals[axis, v]


@njit_cached
def _project(p, normals, lens, rest, samples, points):
    """Write all that a sample needs of a vertex side by side into `points`: column and row of the sample grid, 1 / z,
    normal, position in the rest pose."""
    scale, shift = float(samples), 0.5 * (samples - 1)
    for v in range(p.shape[1]):
        inverse = 1.0 / max(p[2, v], 1e-3)
        points[v, 0] = (lens[0] * p[0, v] * inverse + lens[2]) * scale + shift
        points[v, 1] = (lens[1] * p[1, v] * inverse + lens[3]) * scale + shift
        points[v, 2] = inverse
        if p[2, v] < MIN_DEPTH:
            points[v, 0] = np.nan
        for axis in range(3):
            points[v, 3 + axis], points[v, 6 + axis] = normals[axis, v], rest[axis, v]


@njit_cached
def _areas(points, faces):
    """Compute twice the area of each triangle on the sample grid; negative if its front faces the camera."""
    x, y = points[:, 0].copy(), points[:, 1].copy()
    areas = np.empty(len(faces), np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        areas[f] = (x[j] - x[i]) * (y[k] - y[i]) - (x[k] - x[i]) * (y[j] - y[i])
    return areas


@njit_cached
def _scan(points, faces, inverse, face):
    """Find the nearest front-facing triangle at each sample, by its 1 / z.

    Triangles that reach within MIN_DEPTH, which have no area, are left out. The last SIMD_LANES columns are no samples;
    their content is undefined."""
    height, width = face.shape[0], face.shape[1] - SIMD_LANES
    areas = _areas(points, faces)
    for f in range(len(faces)):
        area = areas[f]
        if not area < -1e-12:
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        xi, xj, xk = points[i, 0], points[j, 0], points[k, 0]
        yi, yj, yk = points[i, 1], points[j, 1], points[k, 1]
        low, high = min(xi, xj, xk), max(xi, xj, xk)
        if high < 0 or low > width - 1:
            continue
        left, right = int(np.ceil(max(low, 0.0))), int(np.floor(min(high, width - 1.0)))
        if left > right:
            continue
        low, high = min(yi, yj, yk), max(yi, yj, yk)
        if high < 0 or low > height - 1:
            continue
        top, bottom = int(np.ceil(max(low, 0.0))), int(np.floor(min(high, height - 1.0)))
        if top > bottom:
            continue
        scale = 1.0 / area
        bx, by = (yk - yi) * scale, (xi - xk) * scale
        cx, cy = (yi - yj) * scale, (xj - xi) * scale
        wi = points[i, 2]
        dj, dk = points[j, 2] - wi, points[k, 2] - wi
        for row in range(top, bottom + 1):
            nearest, owner = inverse[row, left:], face[row, left:]
            first_b = (left - xi) * bx + (row - yi) * by
            first_c = (left - xi) * cx + (row - yi) * cy
            # A whole number of LANES: one step of a vector unit. The samples beyond the last are outside.
            for step in range((right - left) // SIMD_LANES * SIMD_LANES + SIMD_LANES):
                b, c = first_b + step * bx, first_c + step * cx
                near = np.float32(wi + b * dj + c * dk)
                if (min(min(b, c), 1.0 - (b + c)) >= 0.0) & (near > nearest[step]):
                    nearest[step] = near
                    owner[step] = f


@njit_cached
def _write_coverage(n, model, inverse, face, samples, out):
    """Write coverage and depth of each pixel."""
    kind, coverage, depth = model.face_kind, out.coverage[n], out.depth[n]
    person_fraction, held_fraction = out.person[n], out.held[n]
    sample_weight = 1.0 / (samples * samples)
    for row in range(coverage.shape[0]):
        for column in range(coverage.shape[1]):
            covered, person, held, nearest = 0, 0, 0, 0.0
            for down in range(row * samples, (row + 1) * samples):
                for across in range(column * samples, (column + 1) * samples):
                    f = face[down, across]
                    if f >= 0:
                        covered += 1
                        person += kind[f] in (BODY_FACE, SKIRT_FACE)
                        held += kind[f] == HELD_FACE
                        nearest = max(nearest, inverse[down, across])
            if covered > 0:
                coverage[row, column] = covered * sample_weight
                person_fraction[row, column] = person * sample_weight
                held_fraction[row, column] = held * sample_weight
                depth[row, column] = 1.0 / nearest


@njit_cached
def _write_colour(points, appearance, n, model, inverse, face, samples, out):
    """Write the colour of each covered pixel, from its even samples (the white squares of a chessboard) where these are
    covered, else from the others.

    It is one long loop with all functions inlined: passing tuples or arrays to a function at every sample costs more
    than the shading."""
    edges, layers, light, seed = (
        appearance.edges[n],
        appearance.layers[n],
        appearance.light[n],
        appearance.seed[n],
    )
    faces, kind, face_points, noise = model.faces, model.face_kind, model.face_points, model.noise
    colour, coverage = out.colour[n], out.coverage[n]
    for r in range(colour.shape[0]):
        for s in range(colour.shape[1]):
            if coverage[r, s] == 0.0:
                continue
            even, covered = 0, 0
            for row in range(r * samples, (r + 1) * samples):
                for column in range(s * samples, (s + 1) * samples):
                    if face[row, column] >= 0:
                        covered += 1
                        even += 1 - ((row + column) & 1)
            weight = coverage[r, s] / (even if even > 0 else covered)
            for row in range(r * samples, (r + 1) * samples):
                for column in range(s * samples, (s + 1) * samples):
                    f = face[row, column]
                    if f < 0 or (even > 0 and (row + column) & 1):
                        continue
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    # Perspective-correct barycentric coordinates.
                    xi, yi = points[i, 0], points[i, 1]
                    xj, yj, xk, yk = (
                        points[j, 0] - xi,
                        points[j, 1] - yi,
                        points[k, 0] - xi,
                        points[k, 1] - yi,
                    )
                    depth = 1.0 / inverse[row, column]
                    scale = depth / (xj * yk - xk * yj)
                    b = ((column - xi) * yk - (row - yi) * xk) * scale
                    c = ((row - yi) * xj - (column - xi) * yj) * scale
                    a = (depth - b - c) * points[i, 2]
                    b, c = b * points[j, 2], c * points[k, 2]
                    nx = a * points[i, 3] + b * points[j, 3] + c * points[k, 3]
                    ny = a * points[i, 4] + b * points[j, 4] + c * points[k, 4]
                    nz = a * points[i, 5] + b * points[j, 5] + c * points[k, 5]
                    x = a * points[i, 6] + b * points[j, 6] + c * points[k, 6]
                    y = a * points[i, 7] + b * points[j, 7] + c * points[k, 7]
                    z = a * points[i, 8] + b * points[j, 8] + c * points[k, 8]
                    layer = layer_of(kind[f], x, y, z, edges, face_points)
                    rough = layers[layer, WRINKLE]
                    u, v, w = noise_at(noise, x, y, z, 9.0, seed)
                    nx, ny, nz = nx + rough * u, ny + rough * v, nz + rough * w
                    scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                    nx, ny, nz = nx * scale, ny * scale, nz * scale
                    shade = 1.0 + 0.25 * rough * (u + v)
                    second = shade * second_colour_fraction(layers, layer, x, y, z, noise, seed)
                    first = shade - second
                    for channel in range(3):
                        value = _encoded(layers, layer, light, channel, first, second, nx, ny, nz)
                        colour[r, s, channel] += weight * value


@_inlined
def _encoded(layers, layer, light, channel, first, second, nx, ny, nz):
    """Compute one colour of a lit surface, gamma-encoded."""
    albedo = layers[layer, COLOUR + channel] * first + layers[layer, SECOND + channel] * second
    return np.sqrt(min(max(albedo * _light(light, channel, nx, ny, nz), 0.0), 1.0))


@_inlined
def _light(light, c, x, y, z):
    linear = light[c, 0] + light[c, 1] * x + light[c, 2] * y + light[c, 3] * z
    squares = light[c, 4] * x * x + light[c, 5] * y * y + light[c, 6] * z * z
    return linear + squares + light[c, 7] * x * y + light[c, 8] * x * z + light[c, 9] * y * z
