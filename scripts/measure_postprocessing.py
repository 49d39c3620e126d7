"""Print the measures of captured motions after each stage: the network's answer, the fit, and each stage of
post-processing.

    python scripts/measure_postprocessing.py OUT [OUT ...]

OUT is the output folder of a capture before a static camera. Columns: `pops` is the share of frames in which a knee
or an elbow accelerates by more than 10 degrees/frame^2 at 30 frames a second, and the largest such acceleration;
`change` the largest change of their flexion between frames, degrees; `px` the median distance from the visible
keypoints, and the median vertical offset of head and ankles (positive: the body is too low); `jitter` m/s^3; `slide`
mm/frame; `soles` the lowest, median and highest height of the lower foot, metres.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.lens import Lens
from selfmocap.models.inference import mean_confidence, to_world
from selfmocap.pipeline.config import PostprocessConfig
from selfmocap.pipeline.postprocessing.acceptance import keypoint_distance_px, keypoint_offsets_px
from selfmocap.pipeline.postprocessing.confidence import joint_confidence
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, rest_heights
from selfmocap.pipeline.postprocessing.gaps import fill_gaps
from selfmocap.pipeline.postprocessing.ground import level_rotation
from selfmocap.pipeline.postprocessing.joint_angles import flexion_change_deg, pop_metrics
from selfmocap.pipeline.postprocessing.postprocess import postprocess_stages
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm, jitter
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.pipeline.solve import Estimate

HEAD, ANKLES = ("nose", "left_ear", "right_ear"), ("left_ankle", "right_ankle")


def row(name: str, motion: Motion, body: Body, person: CapturedPerson) -> str:
    """Format the measures of a motion."""
    pops, change = pop_metrics(motion), flexion_change_deg(motion).abs()
    offsets = keypoint_offsets_px(motion, person.observations)[..., 1]
    head, ankles = (
        float(offsets[:, [DEFAULT_KEYPOINTS.index(n) for n in names]].nanmedian()) for names in (HEAD, ANKLES)
    )
    soles = (keypoints_world(motion, FOOT_POINTS)[..., 1] - rest_heights(body, motion.parameters.betas)).amin(
        1
    )
    return (
        f"  {name:12} pops {100 * pops['fraction']:5.1f} % {pops['largest_deg']:6.1f}"
        f"  change {float(change.max()) if len(change) else 0.0:6.1f}"
        f"  px {keypoint_distance_px(motion, person.observations):6.2f} head {head:+6.2f} ankles {ankles:+6.2f}"
        f"  jitter {jitter(motion):7.1f}  slide {foot_slide_mm(motion):6.2f}"
        f"  soles {float(soles.min()):6.3f} {float(soles.median()):6.3f} {float(soles.max()):6.3f}"
    )


def estimated(folder: Path, person: CapturedPerson, camera: Camera, body: Body) -> dict[str, Motion]:
    """Return the person's motion by the network and after the fit."""
    estimate, observations = (
        Estimate.load(folder / ".capture" / f"person-{person.number}.npz"),
        person.observations,
    )
    return {
        name: Motion.from_parameters(
            keypoint_body(body),
            to_world(parameters, camera),
            camera,
            observations.image_size,
            observations.frame_times,
            observations.frame_index,
            mean_confidence(observations.keypoint_confidence),
        )
        for name, parameters in (("network", estimate.before), ("fit", estimate.after))
    }


def lens_of(motion: Motion) -> Lens:
    """Return the lens of a captured motion, without distortion."""
    (fx, fy), (x, y) = motion.camera.focal.tolist(), motion.camera.center.tolist()
    return Lens(motion.image_size, (fx, fy), (x, y))


def measured(folder: Path, body: Body) -> Iterator[str]:
    """Yield the lines of a capture."""
    files = sorted(folder.glob("person-*/motion.npz"))
    captured = [Motion.load(file) for file in files]
    people = [
        CapturedPerson.load(int(file.parent.name.split("-")[1]), file.parent, lens_of(motion))
        for file, motion in zip(files, captured, strict=True)
    ]
    motions = [estimated(folder, person, person.camera, body) for person in people]
    R_level_world = level_rotation([one["fit"] for one in motions], body)
    for person, motion, estimates in zip(people, captured, motions, strict=True):
        yield f"{folder} person {person.number}"
        for name, one in estimates.items():
            yield row(name, one, body, person)
        fit = estimates["fit"]
        filled, confidence = (
            fill_gaps(fit, keypoint_body(body)),
            joint_confidence(person.observations, fit.frame_index),
        )
        spread = confidence.new_zeros(len(filled), confidence.shape[1])
        spread[torch.isin(filled.frame_index, fit.frame_index)] = confidence
        static = "soles" in motion.provenance["postprocessing"]["stages"]
        for stage in postprocess_stages(
            filled, body, spread, static, R_level_world, person.observations, PostprocessConfig()
        ):
            kept = "" if stage.strength is None else f" {stage.strength:g}"
            yield row(stage.name + kept, stage.motion, body, person)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the lines of each folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="OUT")
    body = Body.load()
    for folder in parser.parse_args(arguments).folders:
        for line in measured(folder, body):
            print(line)


if __name__ == "__main__":
    main()
