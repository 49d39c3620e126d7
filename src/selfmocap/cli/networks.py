"""The commands that train, measure and use networks by themselves."""

import json
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from selfmocap.cli.progress import stages

_console = Console()


def train(
    out: Annotated[Path, arg(aliases=["-o"])],
    preset: Literal["default", "keypoints", "residual", "paper"] = "default",
    steps: int | None = None,
    batch: int | None = None,
    motions: Path | None = None,
    backgrounds: Path | None = None,
    held_out: tuple[str, ...] = (),
    validation_frames: int = 640,
    begin: Path | None = None,
    resume: bool = False,
    workers: int = 1,
) -> None:
    """Train a frame network on synthetic people. Under torchrun, on several processes.

    Args:
        out: The folder for checkpoints, weights and TensorBoard's events.
        preset: default (keypoints corrected, and their depths told, by what the image shows), keypoints (the same
            without the image, to begin from), residual (convolutions over image and heatmaps), paper.
        steps: How many steps, instead of the preset's.
        batch: Images a step, instead of the preset's: a multiple of 32. Some 2000 keep a large GPU busy.
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures; procedural ones without it.
        held_out: Subjects of the recordings that are for validation only.
        validation_frames: How many frames to validate on.
        begin: Weights of a `keypoints` network to begin from.
        resume: Go on with the run in `out`.
        workers: Processes that make synthetic people.
    """
    from selfmocap.training.frame_recipe import MaterialChoice, train_frames

    material = MaterialChoice(motions, backgrounds, held_out, validation_frames)
    with stages() as progress:
        scores = train_frames(out, preset, steps, batch, material, begin, resume, workers, progress)
    _console.print(f"[bold]{out / 'network.safetensors'}[/]: {json.dumps(scores)}")


def validate(
    motions: Path | None = None,
    backgrounds: Path | None = None,
    held_out: tuple[str, ...] = (),
    frames: int = 2000,
    weights: Path | None = None,
) -> None:
    """Measure a network on synthetic people who move like recordings that it was not trained on; prints JSON.

    Args:
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures; procedural ones without it.
        held_out: The subjects of the recordings to validate on.
        frames: How many frames.
        weights: A network's weights instead of those that come with the project.
    """
    from selfmocap.training.frame_recipe import MaterialChoice, validate_weights

    with stages() as progress:
        scores = validate_weights(weights, MaterialChoice(motions, backgrounds, held_out, frames), progress)
    _console.print_json(json.dumps(scores))


def train_temporal(
    out: Annotated[Path, arg(aliases=["-o"])],
    preset: Literal["compact", "paper"] = "compact",
    steps: int | None = None,
    motions: Path | None = None,
    backgrounds: Path | None = None,
    held_out: tuple[str, ...] = (),
    untold: float = 0.0,
    unlabelled: Path | None = None,
    unlabelled_share: float = 1.0,
    validation_clips: int = 32,
    weights: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    workers: int = 1,
) -> None:
    """Train a temporal network on clips of synthetic people and unlabelled video. Under torchrun, on several processes.

    Args:
        out: The folder for checkpoints, weights and TensorBoard's events.
        preset: compact, for two cores, or paper.
        steps: How many steps, instead of the preset's.
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures, for a frame network that looks for keypoints; procedural ones without it.
        held_out: Subjects of the recordings that are for validation only.
        untold: Share of the other recordings that are unlabelled video: only detected keypoints of them are told.
        unlabelled: Real videos instead: shards of capture-many's pseudo-labels, or a folder with observations.npz, or
            Penn Action's.
        unlabelled_share: How much of the unlabelled video to use.
        validation_clips: How many clips to validate on.
        weights: Of the frame network to build on, which sees keypoints, as they are or corrected by pictures,
            instead of those of the project.
        seed: Another seed learns in another order.
        resume: Go on with the run in `out`.
        workers: Processes that make synthetic people.
    """
    from selfmocap.training.temporal_recipe import ClipChoice, train_clips

    choice = ClipChoice(
        motions, backgrounds, held_out, untold, unlabelled, unlabelled_share, validation_clips
    )
    with stages() as progress:
        scores = train_clips(out, preset, steps, choice, weights, seed, resume, workers, progress)
    _console.print(f"[bold]{out / 'network.safetensors'}[/]: {json.dumps(scores)}")


def validate_temporal(
    motions: Path | None = None,
    backgrounds: Path | None = None,
    held_out: tuple[str, ...] = (),
    clips: int = 64,
    weights: Path | None = None,
) -> None:
    """Measure a temporal network beside its frame network, plain and filtered, on synthetic clips; prints JSON.

    Args:
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures, for a network that looks for keypoints; procedural ones without it.
        held_out: The subjects of the recordings to validate on.
        clips: How many clips of 60 frames.
        weights: A temporal network's weights instead of those that come with the project.
    """
    from selfmocap.training.temporal_recipe import ClipChoice
    from selfmocap.training.temporal_recipe import validate_temporal as validated

    with stages() as progress:
        scores = validated(
            weights, ClipChoice(motions, backgrounds, held_out, validation_clips=clips), progress
        )
    _console.print_json(json.dumps(scores))


def predict(
    source: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o"])],
    people: str = "all",
    focal: float | None = None,
    weights: Path | None = None,
    export: tuple[str, ...] = ("bvh", "glb"),
) -> None:
    """Tell the past, present and future of the people in an image; of a video, what came before and comes next as well.

    Args:
        source: An image, a video, or a folder of pictures.
        out: The folder to write person-N/motion.npz, the exports and prediction.png to.
        people: all, largest, or the number of people, most visible first.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        weights: A temporal network's weights instead of those that come with the project.
        export: Formats to write: bvh, glb, usd, amass, smpl, csv, trc.
    """
    from selfmocap.pipeline.predict import predict as predict_motions

    with stages() as progress:
        motions = predict_motions(source, out, people, focal, weights, export, progress)
    _console.print(f"{len(motions)} people in [bold]{out}[/]")
