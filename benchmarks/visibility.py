"""Visible vertices of posed bodies, one pose after the other with everything rebuilt, beside Open3D's RaycastingScene,
trimesh with embreex, and the paper's own way, every ray against every face, in torch. Turn by turn in one run.

    python benchmarks/visibility.py [--json] [--rounds 9] [--poses 32]

The peers are not needed by the project: pip install open3d trimesh embreex (Debian: apt-get install libusb-1.0-0).
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from posed_bodies import CAMERA, interleaved, median_ratio, random_bodies
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.geometry.visibility import visible_faces_by_ray_casting, visible_vertices

try:
    import open3d
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector
except ImportError as error:
    print(
        f"a peer is missing ({error}): pip install open3d trimesh embreex; apt-get install libusb-1.0-0",
        file=sys.stderr,
    )
    sys.exit(2)


def marked(faces: np.ndarray, first_hit: np.ndarray, count: int) -> np.ndarray:
    """The vertices of the faces that their own rays hit first."""
    visible = np.zeros(count, bool)
    visible[faces[first_hit == np.arange(len(faces))]] = True
    return visible


def by_open3d(points: np.ndarray, faces: np.ndarray, threads: int) -> np.ndarray:
    scene = open3d.t.geometry.RaycastingScene(nthreads=threads)
    scene.add_triangles(points, faces.astype(np.uint32))
    rays = np.zeros((len(faces), 6), np.float32)
    rays[:, 3:] = points[faces].mean(1)
    hit = scene.cast_rays(open3d.core.Tensor(rays), nthreads=threads)["primitive_ids"].numpy()
    return marked(faces, hit.astype(np.int64), len(points))


def by_embreex(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    mesh = trimesh.Trimesh(points, faces, process=False)
    rays = points[faces].mean(1)
    return marked(faces, RayMeshIntersector(mesh).intersects_first(np.zeros_like(rays), rays), len(points))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def contestants(p_cam: Tensor, faces: Tensor) -> dict[str, Callable[[], np.ndarray]]:
    points, triangles = p_cam.numpy(), faces.numpy().astype(np.int32)

    def ours(count: int, cull: bool = True) -> np.ndarray:
        with threads(count):
            return visible_vertices(p_cam, faces, cull).numpy()

    return {
        "ours, 1 thread": lambda: ours(1),
        "ours, 2 threads": lambda: ours(2),
        "ours without culling, 1 thread": lambda: ours(1, cull=False),
        "Open3D, 1 thread": lambda: np.stack([by_open3d(item, triangles, 1) for item in points]),
        "Open3D, all threads": lambda: np.stack([by_open3d(item, triangles, 0) for item in points]),
        "trimesh + embreex": lambda: np.stack([by_embreex(item, triangles) for item in points]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--poses", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    body = Body.load()
    p_cam = CAMERA.to_camera(body.pose(random_bodies(body, options.poses)).vertices).contiguous()
    methods = contestants(p_cam, body.faces)
    reference = methods["ours without culling, 1 thread"]()
    with threads(2):
        start = time.perf_counter()
        seen = visible_faces_by_ray_casting(p_cam[0], body.faces)
        brute = time.perf_counter() - start
    by_brute_force = np.zeros(len(body.vertex_joint), bool)
    by_brute_force[body.faces[seen]] = True
    times = interleaved(methods, options.rounds)
    per_pose = {name: statistics.median(values) / options.poses for name, values in times.items()}
    result = {
        "poses": options.poses,
        "vertices": len(body.vertex_joint),
        "faces": len(body.faces),
        "milliseconds_per_pose": {name: round(value * 1e3, 3) for name, value in per_pose.items()}
        | {"brute force in torch, 2 threads, 1 pose": round(brute * 1e3)},
        "ms_per_pose": round(per_pose["ours, 1 thread"] * 1e3, 3),
        "ms_per_pose_two_threads": round(per_pose["ours, 2 threads"] * 1e3, 3),
        "ratio_vs_open3d": round(median_ratio(times["Open3D, all threads"], times["ours, 2 threads"]), 1),
        "ratio_vs_open3d_one_thread": round(
            median_ratio(times["Open3D, 1 thread"], times["ours, 1 thread"]), 1
        ),
        "ratio_vs_embreex": round(median_ratio(times["trimesh + embreex"], times["ours, 1 thread"]), 1),
        "ratio_vs_brute_force": round(brute / per_pose["ours, 2 threads"]),
        "agreement": float((methods["ours, 1 thread"]() == reference).mean()),
        "agreement_of": {
            "ours without culling, with brute force": float((reference[0] == by_brute_force).mean()),
            "Open3D": float((methods["Open3D, 1 thread"]() == reference).mean()),
            "embreex": float((methods["trimesh + embreex"]() == reference).mean()),
        },
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
