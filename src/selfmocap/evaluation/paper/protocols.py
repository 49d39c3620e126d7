"""Scores of bodies against a data set's own joints, as the papers and the literature define them.

Where a paper's text and its code disagree there is a score of each, named after what it does:
docs/how-to/reproduce-on-your-data.md says which is which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT, KEYPOINT_SETS, keypoint_set
from selfmocap.datasets.labelled.clip import LabelledClip
from selfmocap.evaluation.scores import FrameErrors
from selfmocap.export.smpl_fit import fit_parameters
from selfmocap.geometry.camera import project
from selfmocap.losses.metrics import (
    absolute_error,
    acceleration_error,
    correct_keypoints,
    procrustes_error,
    root_aligned_error,
    translation_aligned_error,
)

_FRAMES_PER_PASS = 64
_SMPL_24, _LSP_14 = KEYPOINT_SETS["smpl-24"], KEYPOINT_SETS["lsp-14"]


@dataclass(frozen=True, eq=False)
class ClipErrors:
    """Errors of one clip."""

    frames: FrameErrors
    """One value per frame that counts; for accelerations per three consecutive ones; for `pck` per keypoint."""
    sequence: str


@torch.no_grad()
def estimated_points(body: Body, bodies: BodyParameters, joint_set: str) -> Float[Tensor, "time points 3"]:
    """Pose a body and return the points of a keypoint set; the joints themselves for `smpl-24`."""
    parts = []
    for rows in torch.arange(len(bodies.p_world_root)).split(_FRAMES_PER_PASS):
        posed = body.pose(bodies[rows])
        parts.append(
            posed.joints if joint_set == _SMPL_24.name else body.keypoints(posed.vertices, joint_set)
        )
    return torch.cat(parts)


def joint_scores(
    estimate: Float[Tensor, "time points 3"], clip: LabelledClip, joint_set: str | None = None
) -> FrameErrors:
    """Compute the errors of the frames of a clip that count, of points of the clip's joint set in the camera frame.

    `joint_set` selects joints of another set, such as 14 of 17. Roots are the pelvis, or, in a set without it, the
    middle of the hips (Kanazawa et al. 2019). Accelerations are relative to the root, since the release predicts no
    translation; `acceleration_mm_per_frame2` is what it prints as an error: the estimate's own acceleration."""
    assert clip.joints is not None
    truth = clip.joints
    if joint_set is not None and joint_set != clip.joint_set:
        columns = list(keypoint_set(joint_set).indices_in(keypoint_set(clip.joint_set)))
        estimate, truth = estimate[:, columns], truth[:, columns]
    names = keypoint_set(joint_set or clip.joint_set).names
    root, true_root = _root(estimate, names), _root(truth, names)
    counts = counted_frames(clip)
    relative, true_relative = estimate - root[:, None], truth - true_root[:, None]
    triples = counts[:-2] & counts[1:-1] & counts[2:]
    errors = {
        "mpjpe_mm": root_aligned_error(estimate, truth, root, true_root),
        "pa_mpjpe_mm": procrustes_error(estimate, truth),
        "absolute_mpjpe_mm": absolute_error(estimate, truth),
        "translation_aligned_mpjpe_mm": translation_aligned_error(estimate, truth),
    }
    accelerations = {
        "acceleration_error_mm_per_frame2": acceleration_error(relative, true_relative),
        "acceleration_mm_per_frame2": relative.diff(n=2, dim=0).norm(dim=-1),
    }
    return {name: 1000 * error.mean(-1)[counts] for name, error in errors.items()} | {
        name: 1000 * error.mean(-1)[triples] for name, error in accelerations.items()
    }


def _root(points: Float[Tensor, "time points 3"], names: Sequence[str]) -> Float[Tensor, "time 3"]:
    columns = (
        [names.index("pelvis")] if "pelvis" in names else [names.index(f"{s}_hip") for s in ("left", "right")]
    )
    return points[:, columns].mean(1)


def counted_frames(clip: LabelledClip) -> Bool[Tensor, " time"]:
    """Return the frames of a clip that count."""
    return torch.ones(len(clip), dtype=torch.bool) if clip.scored is None else clip.scored


@torch.no_grad()
def smpl_surface_errors(
    bodies: BodyParameters, clip: LabelledClip, body: Body, models: Mapping[str, Body]
) -> FrameErrors:
    """Compute the errors of the vertices of SMPL, to which the bodies are converted, in the frames that count.

    `models` are by gender. `surface_mm`: relative to the pelvis. `unrotated_surface_mm`: the same without the rotation
    of the root, as the release of Tung et al. 2017. `absolute_surface_mm`: in the camera frame."""
    assert clip.smpl is not None
    model, counts = models[clip.smpl.gender], counted_frames(clip)
    with torch.enable_grad():
        estimate = fit_parameters(bodies, body, model).to(torch.float32)
    errors: dict[str, list[Tensor]] = {}
    for rows in counts.nonzero().squeeze(1).split(_FRAMES_PER_PASS):
        posed, true = model.pose(estimate[rows]), model.pose(clip.smpl.parameters[rows])
        root, true_root = posed.joints[:, JOINT["pelvis"]], true.joints[:, JOINT["pelvis"]]
        found = {
            "surface_mm": root_aligned_error(posed.vertices, true.vertices, root, true_root),
            "unrotated_surface_mm": absolute_error(
                _unrotated(posed.vertices - root[:, None], estimate[rows]),
                _unrotated(true.vertices - true_root[:, None], clip.smpl.parameters[rows]),
            ),
            "absolute_surface_mm": absolute_error(posed.vertices, true.vertices),
        }
        for name, error in found.items():
            errors.setdefault(name, []).append(1000 * error.mean(-1))
    return {name: torch.cat(parts) for name, parts in errors.items()}


def _unrotated(points: Tensor, bodies: BodyParameters) -> Tensor:
    return points @ bodies.R_parent_joint[:, 0]


def label_scores(estimate: Float[Tensor, "time points 3"], clip: LabelledClip) -> FrameErrors:
    """Compute `pck` (1 or 0 per labelled keypoint that counts) of points of the clip's labels in the camera frame."""
    observed = clip.observations
    pixels = project(estimate, clip.camera.focal, clip.camera.center)
    correct = correct_keypoints(pixels, observed.keypoints, observed.keypoint_confidence > 0)
    return {"pck": correct.float()}


# ---- averages -------------------------------------------------------------------------------------------------


def mean_over_frames(errors: Sequence[ClipErrors]) -> dict[str, float | None]:
    """Compute the mean of each score over all values."""
    return {name: _mean([one.frames[name] for one in errors]) for name in errors[0].frames}


def mean_over_sequences(errors: Sequence[ClipErrors]) -> dict[str, float | None]:
    """Compute the mean of each score over the values of a sequence, people together, then over the sequences
    (Kanazawa et al. 2019, the release). Sequences without a value do not count."""
    sequences = dict.fromkeys(one.sequence for one in errors)
    scores: dict[str, float | None] = {}
    for name in errors[0].frames:
        means = [
            _mean([one.frames[name] for one in errors if one.sequence == sequence]) for sequence in sequences
        ]
        known = [mean for mean in means if mean is not None]
        scores[name] = sum(known) / len(known) if known else None
    return scores


def _mean(parts: Sequence[Tensor]) -> float | None:
    values = torch.cat(list(parts)).double()
    return float(values.mean()) if len(values) else None
