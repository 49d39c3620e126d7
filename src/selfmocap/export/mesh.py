"""One posed body as a mesh file."""

from pathlib import Path

import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.io.atomic import atomic_write

MESH_SUFFIXES = (".glb", ".ply", ".obj", ".stl")


def write_mesh(
    path: Path | str, vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]
) -> None:
    """Write a mesh (metres, y up) in the format of the suffix of the path, atomically.

    Raises ValueError for a suffix that is not in MESH_SUFFIXES."""
    path = Path(path)
    if path.suffix not in MESH_SUFFIXES:
        raise ValueError(
            f"{path}: expected a suffix out of {', '.join(MESH_SUFFIXES)}, found {path.suffix or 'none'}"
        )
    mesh = trimesh.Trimesh(vertices.detach().cpu().numpy(), faces.cpu().numpy(), process=False)
    with atomic_write(path) as temporary:
        mesh.export(temporary, file_type=path.suffix[1:])
