import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.export.formats import BLENDER_FORMATS, FORMAT_SUFFIXES
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import split_into_segments
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion


def test_a_long_gap_ends_a_segment_and_a_short_one_does_not(body: Body, tmp_path: Path) -> None:
    index = [*range(10), *range(24, 30), *range(46, 50)]
    motion = wandering_motion(body, index=index)
    first, second = split_into_segments(motion)
    assert (len(first), len(second)) == (16, 4)
    whole = first.at_rate()
    assert len(whole) == 30
    assert whole.filled.tolist() == [10 <= frame < 24 for frame in range(30)]
    seen = torch.tensor(index[:16])
    assert torch.allclose(
        whole.parameters.R_parent_joint[seen].float(), motion.parameters.R_parent_joint[:16], atol=1e-6
    )
    paths = export_motion(motion, body, tmp_path, ["bvh", "csv"])
    assert [path.name for path in paths] == ["motion-1.bvh", "motion-2.bvh", "motion.csv"]
    assert paths[1].read_text().count("Frames: 4") == 1


def test_resampling_equals_a_motion_recorded_at_the_other_rate(body: Body) -> None:
    (slow,) = split_into_segments(wandering_motion(body, frames=60, fps=30))
    (fast,) = split_into_segments(wandering_motion(body, frames=240, fps=120))
    found = slow.at_rate(120.0)
    assert len(found) == 237
    error = found.parameters.R_parent_joint - fast.parameters.R_parent_joint[: len(found)]
    assert error.abs().max() < 0.01
    assert (found.parameters.p_world_root - fast.parameters.p_world_root[: len(found)]).abs().max() < 0.003
    again = found.at_rate(30.0)
    assert torch.allclose(again.parameters.R_parent_joint, slow.parameters.R_parent_joint, atol=1e-9)


def test_every_format_of_one_frame_and_of_a_varying_rate(body: Body, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="pip install 'selfmocap[usd]'")
    formats = [name for name in FORMAT_SUFFIXES if name not in BLENDER_FORMATS]
    one = wandering_motion(body, frames=1)
    varying = wandering_motion(body, frames=12)
    varying = replace(varying, frame_times=varying.frame_times + 0.01 * torch.rand(12, dtype=torch.float64))
    for motion in (one, varying):
        paths = export_motion(motion, body, tmp_path, formats)
        assert [path.name for path in paths] == [f"motion{FORMAT_SUFFIXES[name]}" for name in formats]
        assert all(path.stat().st_size > 0 for path in paths)
    assert len(list(tmp_path.iterdir())) == len(formats)


def test_errors_name_the_mistake(body: Body, small_body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, frames=2)
    with pytest.raises(ValueError, match="no format 'obj'; choose from bvh, glb"):
        export_motion(motion, body, tmp_path, ["bvh", "obj"])
    with pytest.raises(ValueError, match="pass the motion's body"):
        export_motion(motion, small_body, tmp_path, ["bvh"])
    with pytest.raises(FileNotFoundError, match="create it"):
        export_motion(motion, body, tmp_path / "none", ["bvh"])
    with pytest.raises(ValueError, match="motion with frames"):
        export_motion(motion[:0], body, tmp_path, ["bvh"])
    with pytest.raises(ValueError, match="1 to 1000"):
        ExportOptions(fps=0.0)
    assert list(tmp_path.iterdir()) == []


_LONG = """
import resource, sys, torch
from dataclasses import replace
from pathlib import Path
from selfmocap.body_model.body import Body
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion
body = Body.load()
short = wandering_motion(body, 300)
for frames in (600, 3600):
    index = torch.arange(frames)
    long = replace(short[index % 300], frame_index=index, frame_times=index.double() / 30)
    export_motion(postprocess(long, body), body, Path(sys.argv[1]), ["bvh", "glb"])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory has other units")
def test_postprocessing_and_export_need_little_memory_per_frame(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _LONG, tmp_path], capture_output=True, text=True, check=True)
    short, long = (1024 * int(line) for line in done.stdout.split())
    assert (long - short) / 3000 < 24_000  # A frame of a motion has 1.5 kB, in float64 twice as much.
