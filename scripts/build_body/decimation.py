"""Half-edge collapse of a mirror-symmetric mesh by quadric error (Garland and Heckbert 1997), on one half of it.

Collapsing the left half, whose boundary is the midline, and reflecting what is left keeps the mesh exactly
symmetric, and its vertices a subset of the old ones. The midline collapses only along itself.
"""

import heapq

import numpy as np

_SLIVER = 1e-4
"""Weight of the fourth power of an edge's length in the error, which keeps triangles well shaped."""
_MIN_NORMAL_COSINE = 0.3
"""Maximum rotation of a face's normal by a collapse."""


class HalfMesh:
    """The half of a closed symmetric mesh with x >= 0, and the quadrics that its collapses accumulate."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        """Take the vertices (V, 3), metres, of the full mesh, and the faces (F, 3) of its half."""
        self.vertices = vertices
        self.faces = {index: tuple(int(v) for v in face) for index, face in enumerate(faces)}
        self.faces_at: dict[int, set[int]] = {}
        for index, face in self.faces.items():
            for vertex in face:
                self.faces_at.setdefault(vertex, set()).add(index)
        self.middle = {v for v in self.faces_at if vertices[v, 0] == 0}
        self.quadrics = _vertex_quadrics(vertices, faces)

    def size(self) -> int:
        """Return the number of vertices of the full mesh."""
        return 2 * len(self.faces_at) - len(self.middle & self.faces_at.keys())

    def neighbours(self, vertex: int) -> set[int]:
        """Return the vertices that share an edge with this one."""
        return {v for face in self.faces_at[vertex] for v in self.faces[face]} - {vertex}

    def cost(self, gone: int, kept: int) -> float:
        """Compute the quadric error of moving `gone` onto `kept`: area times squared distance, m^4."""
        point = np.append(self.vertices[kept], 1.0)
        length = ((self.vertices[kept] - self.vertices[gone]) ** 2).sum()
        return float(point @ (self.quadrics[gone] + self.quadrics[kept]) @ point + _SLIVER * length**2)

    def may_collapse(self, gone: int, kept: int) -> bool:
        """Test whether the full mesh stays a closed 2-manifold, and no face flips."""
        shared = self.faces_at[gone] & self.faces_at[kept]
        opposite = {v for face in shared for v in self.faces[face]} - {gone, kept}
        around_gone, around_kept = self.neighbours(gone), self.neighbours(kept)
        if around_gone & around_kept != opposite or len(opposite) != len(shared):
            return False
        if gone in self.middle and (kept not in self.middle or len(shared) != 1):
            return False  # the midline stays on the midline, and keeps its edges
        if (
            gone not in self.middle
            and kept in self.middle
            and around_gone & self.middle - around_kept - {kept}
        ):
            return False  # no edge between two points of the midline but along it
        if len(around_gone | around_kept) - 2 < 3:
            return False
        return all(self._keeps_direction(face, gone, kept) for face in self.faces_at[gone] - shared)

    def _keeps_direction(self, face: int, gone: int, kept: int) -> bool:
        corners = self.faces[face]
        after = tuple(kept if v == gone else v for v in corners)
        if all(v in self.middle for v in after):
            return False
        old, new = _normal(self.vertices[list(corners)]), _normal(self.vertices[list(after)])
        return float(old @ new) > _MIN_NORMAL_COSINE * float(np.sqrt((old @ old) * (new @ new)))

    def collapse(self, gone: int, kept: int) -> None:
        """Move `gone` onto `kept`; their common faces are removed."""
        for face in self.faces_at.pop(gone):
            corners = self.faces[face]
            if kept in corners:
                for v in corners:
                    if v != gone:
                        self.faces_at[v].discard(face)
                del self.faces[face]
            else:
                self.faces[face] = tuple(kept if v == gone else v for v in corners)
                self.faces_at[kept].add(face)
        self.quadrics[kept] += self.quadrics[gone]

    def collapse_to(self, size: int, protected: set[int]) -> None:
        """Collapse the cheapest edges until the full mesh has at most `size` vertices; keep the `protected` ones."""
        queue = [
            (self.cost(gone, kept), gone, kept)
            for gone in self.faces_at
            if gone not in protected
            for kept in self.neighbours(gone)
        ]
        heapq.heapify(queue)
        refused: dict[int, set[int]] = {}
        while self.size() > size and queue:
            cost, gone, kept = heapq.heappop(queue)
            if gone not in self.faces_at or kept not in self.neighbours(gone):
                continue
            now = self.cost(gone, kept)
            if now > cost * (1 + 1e-9):
                heapq.heappush(queue, (now, gone, kept))
                continue
            if not self.may_collapse(gone, kept):
                refused.setdefault(gone, set()).add(kept)
                continue
            around = self.neighbours(gone)
            self.collapse(gone, kept)
            for vertex in around:
                edges = {(kept, vertex), (vertex, kept)} | {(vertex, v) for v in refused.pop(vertex, ())}
                for a, b in edges:
                    if a != b and a not in protected and a in self.faces_at and b in self.neighbours(a):
                        heapq.heappush(queue, (self.cost(a, b), a, b))

    def both_sides(self, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the full mesh: sorted indices (V',) of the vertices kept, and faces (F', 3) of positions in them."""
        left = np.array(list(self.faces.values()))
        faces = np.concatenate([left, mirror[left][:, ::-1]])
        kept = np.unique(faces)
        return kept, np.searchsorted(kept, faces)


def _normal(corners: np.ndarray) -> np.ndarray:
    a, b = corners[1] - corners[0], corners[2] - corners[0]
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _vertex_quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Compute (V, 4, 4) sums of the faces' squared-distance forms times their area; the midline has both sides'."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    double_area = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.maximum(double_area, 1e-300)
    planes = np.concatenate([normals, -(normals * a).sum(1, keepdims=True)], 1)
    forms = planes[:, :, None] * planes[:, None, :] * (double_area[..., None] / 2)
    quadrics = np.zeros((len(vertices), 4, 4))
    np.add.at(quadrics, faces, forms[:, None])
    flip = np.array([-1.0, 1.0, 1.0, 1.0])
    middle = vertices[:, 0] == 0
    quadrics[middle] += quadrics[middle] * flip[:, None] * flip
    return quadrics


def mesh_defects(faces: np.ndarray, vertices: int) -> dict[str, int]:
    """Return counts that show whether a mesh is closed, consistently wound and of genus 0 (all 0, `euler` 2)."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in edges.tolist()}
    return {
        "repeated_directed_edges": len(edges) - len(directed),
        "open_edges": sum((b, a) not in directed for a, b in directed),
        "euler": vertices - len(directed) // 2 + len(faces),
    }


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Compute the signed volume, m^3; positive where faces are counter-clockwise from outside."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)
