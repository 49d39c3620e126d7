"""Forward and backward of the body beside the `smplx` library: the same random file in SMPL's format and sizes, the
same rotation matrices in, the same gradient on the vertices, turn by turn in one run.

    python benchmarks/body.py [--json] [--rounds 15] [--batch 32]
"""

import argparse
import contextlib
import io
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import roma
import smplx
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tests.helpers.smpl_files import write_smpl_pickle

from selfmocap import Body, BodyParameters


def candidates(path: Path, batch: int) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """For each contestant a step that gives the gradients of betas and rotations."""
    body = Body.load(path)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = smplx.SMPL(str(path), batch_size=batch)
    betas, place, pull = torch.randn(batch, 10), torch.randn(batch, 3), torch.randn(batch, 6890, 3)
    rotations = roma.rotvec_to_rotmat(torch.randn(batch, 24, 3) * 0.4)
    root = body.shape(betas).joints[:, 0] + place

    def step(vertices: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        inputs = betas.clone().requires_grad_(), rotations.clone().requires_grad_()
        vertices(*inputs).backward(pull)
        return inputs[0].grad, inputs[1].grad

    def by_smplx(b: Tensor, R: Tensor) -> Tensor:
        return reference(
            betas=b, global_orient=R[:, :1], body_pose=R[:, 1:], transl=place, pose2rot=False
        ).vertices

    compiled = torch.compile(body.pose)
    return {
        "smplx": lambda: step(by_smplx),
        "eager": lambda: step(lambda b, R: body.pose(BodyParameters(b, R, root)).vertices),
        "compiled": lambda: step(lambda b, R: compiled(BodyParameters(b, R, root)).vertices),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        steps = candidates(write_smpl_pickle(Path(folder) / "SMPL_NEUTRAL.pkl"), options.batch)
        reference = steps["smplx"]()[1]
        errors = {
            name: float((step()[1] - reference).norm() / reference.norm()) for name, step in steps.items()
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(options.rounds):
            for name in sorted(steps, reverse=bool(turn % 2)):
                start = time.perf_counter()
                steps[name]()
                times[name].append(time.perf_counter() - start)

    def ratio(name: str) -> float:
        return statistics.median(a / b for a, b in zip(times["smplx"], times[name], strict=True))

    result = {
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
        "milliseconds": {name: round(statistics.median(values) * 1e3, 2) for name, values in times.items()},
        "rotation_gradient_relative_error": errors,
        "ratio_vs_smplx": round(ratio("compiled"), 2),
        "ratio_vs_smplx_uncompiled": round(ratio("eager"), 2),
    }
    if not options.json:
        print(f"forward + backward, batch {options.batch}: ", result["milliseconds"])
        print(
            f"faster than smplx: {result['ratio_vs_smplx']} compiled, {result['ratio_vs_smplx_uncompiled']} eager"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
