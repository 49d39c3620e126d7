"""Measure people before moving cameras in the world: what post-processing makes of fitted bodies, beside the fit alone.
Synthetic people, a corrupted detector, the true path of the camera; so what is measured is the error of the bodies.

    python benchmarks/moving_captures.py MOTIONS [--clips 1] [--frames 90] [--moves pan walk circle]

MOTIONS is a folder of recordings that no network was trained on.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from selfmocap.adaptation.adapt import predict_bodies, with_shared_shape
from selfmocap.adaptation.fit import FitConfig, fit
from selfmocap.adaptation.objective import gather_fitting_data
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.evaluation.paper.clips import with_swaps_undone
from selfmocap.evaluation.world_scores import world_errors
from selfmocap.geometry.camera import Camera, project
from selfmocap.models.inference import mean_confidence, network_inputs, to_world
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.postprocessing.confidence import joint_confidence
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.batches import inside_image, person_sizes, relative_distances
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, sample_poses, scale_root_path
from selfmocap.synthetic.room_clips import CAMERA_MOVES, CameraMove, sample_room_camera
from selfmocap.tracking.observations import Observations
from selfmocap.training.temporal_data import clip_boxes

FPS, SIZE = 30.0, (640, 360)
STANDING_STEP = 0.01
"""Metres a frame: a true foot point that moves less stands."""


def film(
    seed: int, move: CameraMove, frames: int, motions: list[MotionClip], body: Body, small: Body
) -> tuple[Observations, Motion]:
    """Return the detections of one person before a moving camera, and the truth."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, CAMERA_MOVES.index(move)]))
    poses = sample_poses(rng, motions, 1, frames, FPS)
    betas = torch.from_numpy(rng.normal(size=(1, body.num_betas)).clip(-2, 2)).float()
    path = scale_root_path(body, betas, poses.p_world_root)
    views = sample_room_camera(rng, move, path[0].double().numpy(), FPS, SIZE, 1.0)
    camera = Camera(views.focal[0, 0], views.center[0, 0], views.R_cam_world[0], views.t_cam_world[0])
    times = torch.arange(frames).double() / FPS
    parameters = BodyParameters(betas[0], poses.R_parent_joint[0], path[0])
    truth = Motion.from_parameters(small, parameters, camera, SIZE, times)
    true_px = project(truth.keypoints_cam, camera.focal, camera.center)[None].double().numpy()
    errors, size = corrupt.sample_errors(rng, KeypointErrors(), 1, frames), person_sizes(true_px)
    px = corrupt.displaced_keypoints(errors, true_px, size)
    inside = inside_image(px, np.array(SIZE)[None, None, None])
    confidence = corrupt.sample_confidence(rng, errors, relative_distances(px, true_px, size), inside)
    keypoints, sure = torch.from_numpy(px).float(), torch.from_numpy(confidence).float()
    observations = Observations(
        frame_index=torch.arange(frames),
        frame_times=times,
        image_size=SIZE,
        boxes=clip_boxes(keypoints, sure)[0],
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=keypoints[0],
        keypoint_confidence=sure[0],
    )
    return with_swaps_undone(observations), truth


def fitted_motions(films: list[tuple[Observations, Motion]], body: Body, small: Body) -> list[Motion]:
    """Return the refined estimates of the temporal network, seen by the true cameras."""
    network, _ = load_temporal()
    lens = Camera.looking_along_z(float(max(SIZE)), *SIZE)
    data = gather_fitting_data([(o, network_inputs(o, lens, network.frame), FPS) for o, _ in films])
    bodies = fit(body, with_shared_shape(predict_bodies(network, data), data), data, FitConfig())
    motions = []
    for number, (seen, truth) in enumerate(films):
        rows = data.clip == number
        one = BodyParameters(bodies.betas[rows][0], bodies.R_parent_joint[rows], bodies.p_world_root[rows])
        sure = mean_confidence(seen.keypoint_confidence)
        motions.append(
            Motion.from_parameters(
                small, to_world(one, truth.camera), truth.camera, SIZE, seen.frame_times, confidence=sure
            )
        )
    return motions


def scores(motion: Motion, truth: Motion) -> list[float]:
    """Return WA-MPJPE (mm), RTE (%), foot slide (mm a frame), and the fraction of the standing steps in contact."""
    errors = world_errors(motion, truth, FPS)
    standing = keypoints_world(truth, FOOT_POINTS).diff(dim=0).norm(dim=-1) < STANDING_STEP
    contacts = find_contacts(motion)
    found = (contacts[1:] & contacts[:-1])[standing].double().mean()
    names = ("wa_mpjpe_mm", "rte_percent", "foot_slide_mm")
    return [*(float(errors[name].mean()) for name in names), float(found)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--clips", type=int, default=1, help="clips of each kind of camera")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--moves", nargs="+", choices=CAMERA_MOVES, default=["pan", "walk", "circle"])
    options = parser.parse_args()
    body = Body.load()
    small = keypoint_body(body)
    recordings: list[MotionClip] = [
        from_recording(clip, body) for clip in load_motions(options.motions, body)
    ]
    kinds = [(move, seed) for move in options.moves for seed in range(options.clips)]
    films = [film(seed, move, options.frames, recordings, body, small) for move, seed in kinds]
    print("| clip | | WA-MPJPE, mm | RTE, % | foot slide, mm a frame | standing steps found |")
    print("|---|---|---|---|---|---|")
    rows: dict[str, list[list[float]]] = {"fit": [], "post-processed": []}
    for (move, seed), (seen, truth), motion in zip(
        kinds, films, fitted_motions(films, body, small), strict=True
    ):
        sure = joint_confidence(seen, motion.frame_index)
        processed = postprocess(motion, body, joint_confidence=sure, observations=seen)
        for name, one in (("fit", motion), ("post-processed", processed)):
            rows[name].append(scores(one, truth))
            _print_row(f"{move}-{seed}", name, rows[name][-1])
    for name, values in rows.items():
        _print_row("mean", name, np.mean(values, axis=0).tolist())


def _print_row(clip: str, name: str, values: list[float]) -> None:
    wa, rte, slide, found = values
    print(f"| {clip} | {name} | {wa:.0f} | {rte:.1f} | {slide:.1f} | {found:.0%} |", flush=True)


if __name__ == "__main__":
    main()
