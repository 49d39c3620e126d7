"""What the stages of a capture share: its inputs, the record of its stages, and the motions that they have written."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.atomic import remove_temporaries
from selfmocap.io.files import read_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import StageCache, StageRecord, fingerprint
from selfmocap.models.inference import mean_confidence, to_world
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.pipeline.solve import Estimate

STAGES_VERSION = 3
"""Version of the stages' results in `.capture`."""

StageOutput = tuple[dict[str, Any], Sequence[Path]]
"""A stage's result (JSON data) and the files that it wrote."""


@dataclass(frozen=True)
class CaptureRun:
    """A capture's inputs, and the record of its stages."""

    video: Path
    name: str
    """Name of the video's source."""
    out: Path
    config: CaptureConfig
    progress: ProgressCallback
    device: torch.device
    weights_sha256: str
    stages: StageCache
    unlinked: frozenset[str] = frozenset()
    """Names of files to which the page has no links."""

    def file(self, name: str) -> Path:
        """A stage's intermediate file."""
        return self.stages.folder / name


@functools.cache
def default_body() -> Body:
    """Load the embedded body, once."""
    return Body.load()


@functools.cache
def _small_body() -> Body:
    return keypoint_body(default_body())


def remove_partial_files(out: Path) -> None:
    """Delete the temporary files of a killed run."""
    for folder in (out, *out.glob("person-*")):
        for stems in ("motion*", "scene", "overlay", "report", "observations"):
            remove_temporaries(folder, stems)
    remove_temporaries(out / ".capture")


def load_observed(out: Path) -> StageRecord:
    """Return the observations as a stage that others follow."""
    report = read_json(out / "observations.json")
    return StageRecord("observe", fingerprint(report["settings"]), report, report["stages"][-1]["seconds"])


def load_motion(job: CaptureRun, person: CapturedPerson, when: Literal["before", "after"]) -> Motion:
    """Load a person's motion `before` adaptation and refinement or `after` them."""
    estimate = Estimate.load(job.file(f"person-{person.number}.npz"))
    return Motion.from_parameters(
        _small_body(),
        to_world(getattr(estimate, when), person.camera),
        person.camera,
        person.observations.image_size,
        person.observations.frame_times,
        person.observations.frame_index,
        mean_confidence(person.observations.keypoint_confidence),
    )
