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
    """Writes a mesh (metres, y up) in the format of the path's suffix, whole or not at all; ValueError for a suffix
    that is not in MESH_SUFFIXES."""
    path = Path(path)
    if path.suffix not in MESH_SUFFIXES:
        raise ValueError(
            f"{path}: a mesh is written as {', '.join(MESH_SUFFIXES)}, not as {path.suffix or 'no suffix'}"
        )
    mesh = trimesh.Trimesh(vertices.detach().cpu().numpy(), faces.cpu().numpy(), process=False)
    with atomic_write(path) as partial:
        mesh.export(partial, file_type=path.suffix[1:])
