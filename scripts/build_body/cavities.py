"""Close mouth, nostrils and eye sockets: remove their inside and cover each rim by a surface of least area."""

import numpy as np


def without_cavities(vertices: np.ndarray, faces: np.ndarray, cavity: np.ndarray) -> np.ndarray:
    """Return the faces (F', 3) of the left half of a symmetric mesh, from its faces (F, 3), vertices (V, 3) and the
    cavities' vertices (V,) bool. The mouth's rim, which ends on the midline, is closed along the midline."""
    kept = faces[~cavity[faces].any(1)]
    caps = [_membrane(rim, vertices) for rim in _rims(kept, vertices[:, 0] == 0)]
    return np.concatenate([kept, *caps])


def _rims(faces: np.ndarray, middle: np.ndarray) -> list[list[int]]:
    """Find the chains of vertices along the open edges off the midline, in the order in which a cap's faces run."""
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    following = {b: a for a, b in edges if (b, a) not in edges and not (middle[a] and middle[b])}
    rims = []
    while following:
        ends = following.keys() - following.values()
        rim = [min(ends or following)]
        while rim[-1] in following:
            rim.append(following.pop(rim[-1]))
        rims.append(rim if rim[0] != rim[-1] else rim[:-1])
    return rims


def _membrane(rim: list[int], vertices: np.ndarray) -> np.ndarray:
    """Compute the triangulation (len(rim) - 2, 3) of a closed polygon that has the least area, by dynamic programming
    (Barequet and Sharir 1995)."""
    count = len(rim)
    points = vertices[rim]
    cost = np.zeros((count, count))
    apex = np.zeros((count, count), int)
    for span in range(2, count):
        for start in range(count - span):
            end = start + span
            middle = np.arange(start + 1, end)
            area = np.linalg.norm(
                np.cross(points[middle] - points[start], points[end] - points[start]), axis=1
            )
            total = cost[start, middle] + cost[middle, end] + area
            apex[start, end] = middle[total.argmin()]
            cost[start, end] = total.min()
    triangles, spans = [], [(0, count - 1)]
    while spans:
        start, end = spans.pop()
        if end - start >= 2:
            middle = apex[start, end]
            triangles.append((rim[start], rim[middle], rim[end]))
            spans += [(start, middle), (middle, end)]
    return np.array(triangles)
