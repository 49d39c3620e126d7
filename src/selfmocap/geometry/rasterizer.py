"""Exact rasterisation of triangles through a pinhole: occlusion of face centroids, and the face at each pixel.

For a triangle (a, b, c) and a ray t d from the camera's centre, the three determinants d . (b x c), d . (c x a) and
d . (a x b) are the barycentric coordinates of the hit, times det(a, b, c) / t. They are linear in d, need no division,
and remain valid if a triangle reaches behind the camera. All points are in the camera frame, metres. All arithmetic is
in double precision.
"""

import numpy as np

from selfmocap.geometry.kernels import njit_cached, parallel_for

MIN_RAY_NORMAL = 1e-8
"""m^2. A ray does not hit a face whose normal (of length twice the area) has a smaller component along the ray: the
first of the three conditions of Tung et al. 2017."""

_MAX_CELLS = 512
"""Maximum number of cells along a side of the grid of centroids."""


def unoccluded_faces(p_cam: np.ndarray, faces: np.ndarray, near: float, cull: bool) -> np.ndarray:
    """Compute (batch, faces) bool: whether the ray through a face's centroid meets no other face before the centroid.

    Faces with a centroid nearer than `near` along z are not visible. p_cam: (batch, vertices, 3) floats. faces:
    (faces, 3) int32, counter-clockwise from outside. With `cull`, back faces are neither visible nor occlude others:
    the result is equal and faster for a closed mesh that does not intersect itself."""
    visible = np.zeros((len(p_cam), len(faces)), np.bool_)
    parallel_for(_unoccluded_faces, len(p_cam), p_cam, faces, near, cull, visible)
    return visible


def rasterize(
    p_cam: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, height: int, width: int, cull: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest face in front of the camera at the centre of each pixel.

    Returns the face, (batch, height, width) int32, -1 where there is none; its depth along z in metres, float32,
    infinity where there is none; and the perspective-correct barycentric coordinates of its three vertices, (batch,
    height, width, 3) float32. p_cam: (batch, vertices, 3) floats. faces: (faces, 3) int32. intrinsics: (batch, 4)
    float64: focal lengths and principal point (fx, fy, cx, cy), px, with pixel centres at whole numbers. With `cull`,
    back faces are left out."""
    shape = (len(p_cam), height, width)
    face, depth = np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)
    barycentric = np.zeros((*shape, 3), np.float32)
    parallel_for(_rasterize, len(p_cam), p_cam, faces, intrinsics, cull, face, depth, barycentric)
    return face, depth, barycentric


def face_vertices_mask(visible: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """Compute (batch, count) bool: the vertices of the faces (faces, 3) that are set in `visible` (batch, faces)."""
    marked = np.zeros((len(visible), count), np.bool_)
    parallel_for(_face_vertices_mask, len(visible), visible, faces, marked)
    return marked


@njit_cached
def _cross(ax, ay, az, bx, by, bz):
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@njit_cached
def _clamped_cell(position, cells):
    """Return the cell of a position in units of cells: one of range(cells) for any position, NaN included."""
    if not position > 0:
        return 0
    if position >= cells:
        return cells - 1
    return int(position)


@njit_cached
def _facing_away(x, y, z, i, j, k):
    """Compute the triangle's normal (of length twice the area) times any of its points: negative for a front face."""
    nx, ny, nz = _cross(x[j] - x[i], y[j] - y[i], z[j] - z[i], x[k] - x[i], y[k] - y[i], z[k] - z[i])
    return nx * x[i] + ny * y[i] + nz * z[i]


@njit_cached
def _axes(points):
    x, y, z = np.empty(len(points)), np.empty(len(points)), np.empty(len(points))
    for i in range(len(points)):
        x[i], y[i], z[i] = points[i, 0], points[i, 1], points[i, 2]
    return x, y, z


# ---- occlusion of centroids ----------------------------------------------------------------------------


@njit_cached
def _candidates(x, y, z, faces, near, cull):
    """Find the faces that may be visible, and where the rays through their centroids meet the plane z = 1."""
    face, u, v, depth = (
        np.empty(len(faces), np.int32),
        np.empty(len(faces)),
        np.empty(len(faces)),
        np.empty(len(faces)),
    )
    count = 0
    for f in range(len(faces)):
        i, j, k = faces[f]
        cx, cy, cz = (x[i] + x[j] + x[k]) / 3, (y[i] + y[j] + y[k]) / 3, (z[i] + z[j] + z[k]) / 3
        facing_away = _facing_away(x, y, z, i, j, k)
        hit = MIN_RAY_NORMAL * np.sqrt(cx * cx + cy * cy + cz * cz) <= abs(facing_away) < np.inf
        if cz > near and hit and (facing_away < 0 or not cull):
            face[count], u[count], v[count], depth[count] = f, cx / cz, cy / cz, cz
            count += 1
    return face[:count], u[:count], v[:count], depth[:count]


@njit_cached
def _binned(face, u, v, depth, low_u, low_v, scale_u, scale_v, cells):
    """Sort candidates by grid cell, row by row, and return the start of each cell."""
    cell = np.empty(len(face), np.int32)
    start = np.zeros(cells * cells + 1, np.int32)
    for n in range(len(face)):
        row, column = (
            _clamped_cell((v[n] - low_v) * scale_v, cells),
            _clamped_cell((u[n] - low_u) * scale_u, cells),
        )
        cell[n] = row * cells + column
        start[cell[n] + 1] += 1
    for c in range(cells * cells):
        start[c + 1] += start[c]
    slot = start[:-1].copy()
    order = np.empty(len(face), np.int32)
    for n in range(len(face)):
        order[slot[cell[n]]] = n
        slot[cell[n]] += 1
    return face[order], u[order], v[order], depth[order], start


@njit_cached
def _hide(x, y, z, i, j, k, f, first, last, face, u, v, depth, hidden):
    """Mark the centroids first..last that lie behind triangle f = (i, j, k)."""
    ax, ay, az = _cross(x[j], y[j], z[j], x[k], y[k], z[k])
    bx, by, bz = _cross(x[k], y[k], z[k], x[i], y[i], z[i])
    cx, cy, cz = _cross(x[i], y[i], z[i], x[j], y[j], z[j])
    volume = x[i] * ax + y[i] * ay + z[i] * az
    sign = 1.0 if volume > 0 else -1.0
    volume = abs(volume)
    for n in range(first, last):
        a = sign * (u[n] * ax + v[n] * ay + az)
        b = sign * (u[n] * bx + v[n] * by + bz)
        c = sign * (u[n] * cx + v[n] * cy + cz)
        inside = (a >= 0) & (b >= 0) & (c >= 0)
        hidden[n] |= inside & (volume < depth[n] * (a + b + c)) & (face[n] != f)


@njit_cached
def _unoccluded_faces(first, last, p_cam, faces, near, cull, visible):
    for item in range(first, last):
        x, y, z = _axes(p_cam[item])
        face, u, v, depth = _candidates(x, y, z, faces, near, cull)
        if len(face) == 0:
            continue
        cells = min(_MAX_CELLS, int(np.sqrt(4.0 * len(face))) + 1)
        low_u, low_v = u.min(), v.min()
        scale_u, scale_v = cells / max(u.max() - low_u, 1e-12), cells / max(v.max() - low_v, 1e-12)
        face, u, v, depth, start = _binned(face, u, v, depth, low_u, low_v, scale_u, scale_v, cells)
        hidden = np.zeros(len(face), np.bool_)
        pu, pv = (x / z - low_u) * scale_u, (y / z - low_v) * scale_v
        for f in range(len(faces)):
            i, j, k = faces[f]
            ahead = (z[i] > 0) + (z[j] > 0) + (z[k] > 0)
            if ahead == 0 or (cull and _facing_away(x, y, z, i, j, k) >= 0):
                continue
            if ahead < 3:
                _hide(x, y, z, i, j, k, f, 0, len(face), face, u, v, depth, hidden)
                continue
            right, bottom = max(pu[i], pu[j], pu[k]), max(pv[i], pv[j], pv[k])
            left, top = min(pu[i], pu[j], pu[k]), min(pv[i], pv[j], pv[k])
            if right < 0 or bottom < 0 or left > cells or top > cells:
                continue
            left, right = _clamped_cell(left, cells), _clamped_cell(right, cells)
            for row in range(_clamped_cell(top, cells), _clamped_cell(bottom, cells) + 1):
                begin, end = start[row * cells + left], start[row * cells + right + 1]
                _hide(x, y, z, i, j, k, f, begin, end, face, u, v, depth, hidden)
        for n in range(len(face)):
            visible[item, face[n]] = not hidden[n]


@njit_cached
def _face_vertices_mask(first, last, visible, faces, marked):
    for item in range(first, last):
        for f in range(len(faces)):
            if visible[item, f]:
                for corner in range(3):
                    marked[item, faces[f, corner]] = True


# ---- faces at pixels ------------------------------------------------------------------------------------------


@njit_cached
def _pixel_range(lowest, highest, size):
    """Return the first pixel, and one past the last, whose centres lie in the interval."""
    first = 0 if not lowest > 0 else (size if lowest > size else int(np.ceil(lowest)))
    last = size if highest >= size - 1 else (0 if not highest >= 0 else int(np.floor(highest)) + 1)
    return first, last


@njit_cached
def _fill(x, y, z, i, j, k, f, left, right, top, bottom, face, depth, barycentric):
    """Draw triangle f = (i, j, k) into a rectangle of pixels; (x, y, z) is scaled so that d = (column, row, 1)."""
    ax, ay, az = _cross(x[j], y[j], z[j], x[k], y[k], z[k])
    bx, by, bz = _cross(x[k], y[k], z[k], x[i], y[i], z[i])
    cx, cy, cz = _cross(x[i], y[i], z[i], x[j], y[j], z[j])
    volume = x[i] * ax + y[i] * ay + z[i] * az
    if volume < 0:
        volume, ax, ay, az, bx, by, bz, cx, cy, cz = -volume, -ax, -ay, -az, -bx, -by, -bz, -cx, -cy, -cz
    for row in range(top, bottom):
        a_row, b_row, c_row = ay * row + az, by * row + bz, cy * row + cz
        for column in range(left, right):
            a, b, c = ax * column + a_row, bx * column + b_row, cx * column + c_row
            total = a + b + c
            if ((a >= 0) & (b >= 0) & (c >= 0)) & (volume < depth[row, column] * total):
                inverse = 1 / total
                depth[row, column], face[row, column] = volume * inverse, f
                weights = barycentric[row, column]
                weights[0], weights[1], weights[2] = a * inverse, b * inverse, c * inverse


@njit_cached
def _rasterize(first, last, p_cam, faces, intrinsics, cull, face, depth, barycentric):
    height, width = face.shape[1:]
    for item in range(first, last):
        x, y, z = _axes(p_cam[item])
        fx, fy, cx, cy = intrinsics[item]
        # The pinhole as a change of basis: a point's pixel is then (x / z, y / z).
        x, y = fx * x + cx * z, fy * y + cy * z
        column, row = x / z, y / z
        for f in range(len(faces)):
            i, j, k = faces[f]
            ahead = (z[i] > 0) + (z[j] > 0) + (z[k] > 0)
            if ahead == 0 or (cull and _facing_away(x, y, z, i, j, k) >= 0):
                continue
            left, right, top, bottom = 0, width, 0, height
            if ahead == 3:
                least, most = min(column[i], column[j], column[k]), max(column[i], column[j], column[k])
                left, right = _pixel_range(least, most, width)
                least, most = min(row[i], row[j], row[k]), max(row[i], row[j], row[k])
                top, bottom = _pixel_range(least, most, height)
            if left < right and top < bottom:
                box = left, right, top, bottom
                _fill(x, y, z, i, j, k, f, *box, face[item], depth[item], barycentric[item])
