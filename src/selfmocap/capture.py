"""The main job: from a video file to the motions of its people (observe, infer, adapt, refine, export)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap import __version__
from selfmocap.adapt import Adaptation, AdaptConfig, adapt, predict, with_shared_shape
from selfmocap.body import Body, BodyParameters
from selfmocap.camera import Camera
from selfmocap.cleaning.clean import clean
from selfmocap.cleaning.confidence import joint_confidence
from selfmocap.export.write import export
from selfmocap.files import written_whole
from selfmocap.frontend.observe import Settings, observe
from selfmocap.motion import Motion
from selfmocap.network.frame import FrameNetwork
from selfmocap.network.infer import camera_of, infer, inputs_of, to_world
from selfmocap.network.weights import load_network
from selfmocap.objective import Evidence, LossWeights, gather_evidence, self_check_px
from selfmocap.observations import Observations
from selfmocap.optimise import AFTER_ADAPTATION, OptimiseConfig, optimise
from selfmocap.overlay import write_bodies
from selfmocap.tensors import frames_a_second
from selfmocap.video import open_video

Report = Callable[[str, int, int], None]
"""Called with the name of a stage, how far it is, and how far it has to go."""

KEPT_OUT = 0.1
"""Share of keypoints that adaptation never sees."""

_RATE_OF_ONE_FRAME = 30.0
_EPOCHS = {"fast": 0, "balanced": 24, "best": 60}


@dataclass(frozen=True)
class CaptureConfig:
    """What to capture, and how well."""

    people: str = "all"
    """`all`, `largest`, or a number of people."""
    quality: Literal["fast", "balanced", "best"] = "balanced"
    """`fast` does not adapt the network's weights."""
    focal: float | None = None
    """Focal length, px; None assumes 1.2 times the longer side of the image."""
    weights: Path | None = None
    """A network's weights; None for those that come with the project."""
    height: float | None = None
    """The person's stature, metres, which sets the scale."""
    export: tuple[str, ...] = ("bvh", "glb")
    """Formats of `export.write`."""


def capture(
    video: Path,
    out: Path,
    config: CaptureConfig | None = None,
    report: Report = lambda stage, done, total: None,
) -> list[Motion]:
    """The motions of the people in `video`, cleaned: `out/person-N/motion.npz` with the exports beside it,
    `out/overlay.mp4` and `out/report.json`. Observations that are already in `out` are used again. Raises
    FileNotFoundError or ValueError where the video cannot be used."""
    config = config or CaptureConfig()
    body = Body.load()
    network, about = load_network(config.weights)
    folders = [path.parent for path in observe(video, out, Settings(people=config.people), report)]
    people = [
        Observations.load(folder / "observations.npz").in_set(network.config.keypoint_set)
        for folder in folders
    ]
    cameras = [camera_of(seen, config.focal) for seen in people]
    checked, whole = (_evidence(people, cameras, network, share) for share in (KEPT_OUT, 0.0))
    adaptation = _adapted(network, body, checked, config, report)
    answer = _answer(network, adaptation, body, whole, report)
    scores = _scores(network, adaptation, body, checked)
    motions = []
    for number, (folder, seen, camera) in enumerate(zip(folders, people, cameras, strict=True)):
        provenance = {
            "version": __version__,
            "weights": about["sha256"],
            "settings": {name: str(value) for name, value in asdict(config).items()},
            **scores[number],
        }
        raw = _motion(body, answer, whole, number, seen, camera, provenance)
        motion = clean(raw, body, config.height, joint_confidence(seen, raw.frame_index))
        motion.save(folder / "motion.npz")
        export(motion, body, folder, config.export)
        motions.append(motion)
    write_bodies(
        out / "overlay.mp4", open_video(video), motions, body, lambda done, total: report("draw", done, total)
    )
    with written_whole(out / "report.json") as partial:
        partial.write_text(json.dumps({"video": {"path": video.name}, "people": scores}, indent=1))
    return motions


def infer_folder(
    observations: Path, out: Path, focal: float | None, weights: Path | None, report: Report
) -> list[Path]:
    """Writes `out/person-N/motion.npz` for an `observations.npz`, or for all in a folder's `person-N`: the network's
    own answer. Raises FileNotFoundError where there are none, ValueError for a file that is not one."""
    found = (
        sorted(observations.glob("person-*/observations.npz")) if observations.is_dir() else [observations]
    )
    if not found:
        raise FileNotFoundError(f"{observations}: no person-N/observations.npz in it; observe a video first")
    (network, about), body, paths = load_network(weights), Body.load(), []
    for number, path in enumerate(found):
        motion = infer(
            network, body, Observations.load(path), focal, version=__version__, weights=about["sha256"]
        )
        folder = out / (path.parent.name if len(found) > 1 else "person-1")
        folder.mkdir(parents=True, exist_ok=True)
        motion.save(folder / "motion.npz")
        paths.append(folder / "motion.npz")
        report("infer", number + 1, len(found))
    return paths


def _evidence(
    people: Sequence[Observations], cameras: Sequence[Camera], network: FrameNetwork, keep_out: float
) -> Evidence:
    clips = [
        (
            seen,
            inputs_of(seen, camera, network),
            frames_a_second(seen.frame_times, seen.frame_index) or _RATE_OF_ONE_FRAME,
        )
        for seen, camera in zip(people, cameras, strict=True)
    ]
    return gather_evidence(clips, keep_out)


def _adapted(
    network: FrameNetwork, body: Body, evidence: Evidence, config: CaptureConfig, report: Report
) -> Adaptation | None:
    if config.quality == "fast":
        return None
    settings = AdaptConfig(epochs=_EPOCHS[config.quality], weights=LossWeights())
    return adapt(network, body, evidence, settings, lambda done, total, _: report("adapt", done, total))


def _answer(
    network: FrameNetwork, adaptation: Adaptation | None, body: Body, evidence: Evidence, report: Report
) -> BodyParameters:
    """Each clip's answer by the adapted network where that was accepted, refined frame by frame."""
    first = with_shared_shape(predict(network, evidence), evidence)
    settings = OptimiseConfig()
    if adaptation is not None and adaptation.accepted.any():
        adapted = with_shared_shape(predict(adaptation.network, evidence), evidence)
        first = _chosen(adaptation.accepted[evidence.clip], adapted, first)
        settings = AFTER_ADAPTATION
    return optimise(body, first, evidence, settings, lambda done, total, _: report("refine", done, total))


def _chosen(choice: Tensor, one: BodyParameters, other: BodyParameters) -> BodyParameters:
    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(choice.view(-1, *[1] * (a.ndim - 1)), a, b)

    return BodyParameters(*(pick(getattr(one, name), getattr(other, name)) for name in vars(one)))


def _scores(
    network: FrameNetwork, adaptation: Adaptation | None, body: Body, evidence: Evidence
) -> list[dict[str, Any]]:
    """For `report.json`: each person's self-check before and after, and whether adaptation was accepted."""
    clips = int(evidence.clip.max()) + 1
    if adaptation is None:
        before = self_check_px(body, with_shared_shape(predict(network, evidence), evidence), evidence)
        return [{"accepted": False, "before": {"self_check_px": _number(before[n])}} for n in range(clips)]
    return [
        {
            "accepted": bool(adaptation.accepted[n]),
            "before": {"self_check_px": _number(adaptation.before_px[n])},
            "after": {"self_check_px": _number(adaptation.after_px[n])},
        }
        for n in range(clips)
    ]


def _number(value: Float[Tensor, ""]) -> float | None:
    """None where nothing could be measured."""
    return round(float(value), 3) if value.isfinite() else None


def _motion(
    body: Body,
    answer: BodyParameters,
    evidence: Evidence,
    number: int,
    seen: Observations,
    camera: Camera,
    provenance: dict[str, Any],
) -> Motion:
    mine = evidence.clip == number
    parameters = BodyParameters(answer.betas[mine][0], answer.R_parent_joint[mine], answer.p_world_root[mine])
    return Motion.from_parameters(
        body,
        to_world(parameters, camera),
        camera,
        seen.image_size,
        seen.frame_times,
        seen.frame_index,
        seen.keypoint_confidence.mean(-1),
        provenance=provenance,
    )
