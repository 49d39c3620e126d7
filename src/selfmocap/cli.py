"""The command line: one thin command a procedure. A user's mistake ends in one line and exit code 2."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from tyro.conf import Positional, arg

from selfmocap import __version__

_console = Console()
_errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def body(
    out: Annotated[Path, arg(aliases=["-o"])],
    pose: str = "t",
    betas: tuple[float, ...] = (),
    model: Path | None = None,
    yaw: float = 20.0,
) -> None:
    """Pose the body and write a picture or a mesh.

    Args:
        out: The file to write: .png, .glb, .ply, .obj or .stl.
        pose: The name of a pose, a motion.npz (its first frame), or a .json file {joint: [x, y, z]} of rotation
            vectors in degrees.
        betas: Shape coefficients.
        model: Your own SMPL, SMPL-H or SMPL-X file (.npz, .pkl) instead of the default body.
        yaw: For a picture: degrees that the body is turned about the vertical, to its left.
    """
    from selfmocap.pose_body import pose_body

    pose_body(out, pose, betas, model, yaw)
    _console.print(f"wrote [bold]{out}[/]")


def doctor(as_json: Annotated[bool, arg(name="json")] = False) -> int:
    """Say what this machine has of what selfmocap needs, each missing thing with its remedy.

    Args:
        as_json: Print JSON.
    """
    from selfmocap.doctor import examine

    checks = examine()
    missing = any(not check.ok for check in checks)
    if as_json:
        _console.print_json(
            json.dumps({"selfmocap": __version__, "ok": not missing, "checks": [*map(asdict, checks)]})
        )
        return int(missing)
    _console.print(f"selfmocap {__version__}")
    for check in checks:
        _console.print(
            f"{'[green]ok[/]' if check.ok else '[red]missing[/]':<14} [bold]{check.name}[/] {check.found}"
        )
        if not check.ok:
            _console.print(f"{'':8}remedy: {check.remedy}")
    return int(missing)


def observe(
    video: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o", "--output-folder"])],
    people: str = "all",
    person_box: tuple[float, float, float, float] | None = None,
    detector: Literal["mediapipe", "mediapipe-legacy", "rtmpose"] = "mediapipe",
    flow: Literal["dis", "raft"] = "dis",
    keypoints: Path | None = None,
    masks: Path | None = None,
    flow_folder: Path | None = None,
) -> None:
    """Find, follow and measure the people of a video.

    Args:
        video: A video file, a GIF, or a folder of pictures.
        out: The folder to write to; a run that was interrupted goes on there.
        people: all, largest, or the number of people, most visible first.
        person_box: Left, top, right, bottom (px) around the one person wanted, in the first frame.
        detector: What finds keypoints.
        flow: What measures optical flow.
        keypoints: Keypoints of another detector instead: OpenPose or COCO JSON.
        masks: Mask pictures instead of the detector's.
        flow_folder: Flow files instead of measuring it.
    """
    from selfmocap.frontend.observe import Settings
    from selfmocap.frontend.observe import observe as observe_video

    settings = Settings(people, person_box, detector, flow, keypoints, masks, flow_folder)
    with _stages() as report:
        paths = observe_video(video, out, settings, report)
    _console.print(f"{len(paths)} people in [bold]{out}[/]")


def train(
    out: Annotated[Path, arg(aliases=["-o"])],
    preset: Literal["default", "keypoints", "paper"] = "default",
    steps: int | None = None,
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
        preset: default (the shipped network), keypoints (a small network that sees no image, to begin from), paper.
        steps: How many steps, instead of the preset's.
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures; procedural ones without it.
        held_out: Subjects of the recordings that are for validation only.
        validation_frames: How many frames to validate on.
        begin: Weights of a `keypoints` network to begin from.
        resume: Go on with the run in `out`.
        workers: Processes that make synthetic people.
    """
    from selfmocap.train_frames import MaterialChoice, train_frames

    material = MaterialChoice(motions, backgrounds, held_out, validation_frames)
    with _stages() as report:
        scores = train_frames(out, preset, steps, material, begin, resume, workers, report)
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
    from selfmocap.train_frames import MaterialChoice, validate_weights

    with _stages() as report:
        scores = validate_weights(weights, MaterialChoice(motions, backgrounds, held_out, frames), report)
    _console.print_json(json.dumps(scores))


def infer(
    observations: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o"])],
    focal: float | None = None,
    weights: Path | None = None,
) -> None:
    """Write the motions that the network sees in observations, without adapting it.

    Args:
        observations: An observations.npz, or a folder with person-N/observations.npz.
        out: The folder to write person-N/motion.npz to.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        weights: A network's weights instead of those that come with the project.
    """
    from selfmocap.capture import infer_folder

    with _stages() as report:
        paths = infer_folder(observations, out, focal, weights, report)
    _console.print("wrote " + ", ".join(f"[bold]{path}[/]" for path in paths))


def capture(
    video: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o", "--output-folder"])],
    people: str = "all",
    quality: Literal["fast", "balanced", "best"] = "balanced",
    focal: float | None = None,
    weights: Path | None = None,
    height: float | None = None,
    export: tuple[str, ...] = ("bvh", "glb"),
) -> None:
    """Capture the motion of the people in a video: the main job.

    Args:
        video: A video file, a GIF, or a folder of pictures.
        out: The folder to write to.
        people: all, largest, or the number of people, most visible first.
        quality: fast does not adapt the network to the video; best adapts it longer.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        weights: A network's weights instead of those that come with the project.
        height: The person's stature, metres, which sets the scale.
        export: Formats to write: bvh, glb, usd, amass, smpl, csv, trc.
    """
    from selfmocap.capture import CaptureConfig
    from selfmocap.capture import capture as capture_video

    with _stages() as report:
        motions = capture_video(
            video, out, CaptureConfig(people, quality, focal, weights, height, export), report
        )
    _console.print(f"{len(motions)} people in [bold]{out}[/]")


def export(
    motion: Positional[Path],
    to: tuple[str, ...] = ("bvh", "glb"),
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    names: Literal["smpl", "mixamo"] = "smpl",
    up_axis: Literal["y", "z"] = "y",
    unit: Literal["m", "cm", "mm"] | None = None,
    fps: float | None = None,
    smpl_model: Path | None = None,
) -> None:
    """Write a motion in the formats of other programs.

    Args:
        motion: A motion.npz.
        to: The formats: bvh, glb, usd, amass, smpl, csv, trc.
        out: The folder to write to; without it, the motion's own.
        names: Whose names the joints get.
        up_axis: The vertical, for bvh, usd, csv and trc.
        unit: Of length, for bvh, usd, csv and trc; without it, the format's custom.
        fps: Frames a second to resample to.
        smpl_model: Your own SMPL, SMPL-H or SMPL-X file, to which smpl and amass are fitted.
    """
    from selfmocap.body import Body
    from selfmocap.export.options import ExportOptions
    from selfmocap.export.write import export as export_motion
    from selfmocap.motion import Motion

    options = ExportOptions(names, up_axis, unit, fps, smpl_model)
    folder = motion.parent if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    paths = export_motion(Motion.load(motion), Body.load(), folder, to, options)
    _console.print("wrote " + ", ".join(f"[bold]{path}[/]" for path in paths))


def synthesize(
    out: Annotated[Path, arg(aliases=["-o"])],
    clips: int = 8,
    frames: int = 60,
    seed: int = 0,
    motions: Path | None = None,
    backgrounds: Path | None = None,
    layout: Literal["selfmocap", "surreal"] = "selfmocap",
    workers: int = 1,
) -> None:
    """Make clips of synthetic people, with the whole truth about them.

    Args:
        out: The folder to write to; a run that was interrupted goes on there.
        clips: How many clips.
        frames: Frames a clip.
        seed: Another seed gives other clips.
        motions: A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it.
        backgrounds: A folder of pictures; procedural ones without it.
        layout: Our own files, or SURREAL's.
        workers: Processes that make them.
    """
    from selfmocap.synthetic.write import synthesize as write_clips

    with _stages() as report:
        write_clips(
            out, clips, frames, seed, motions, backgrounds, layout, workers,
            lambda done, total, name: report("synthesize", done, total),
        )  # fmt: skip
    _console.print(f"{clips} clips in [bold]{out}[/]")


@contextlib.contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for every stage that reports itself."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total or None)
            progress.update(tasks[stage], completed=done, total=total or None)

        yield report


_COMMANDS = {
    "capture": capture, "export": export, "observe": observe, "infer": infer, "train": train, "validate": validate,
    "synthesize": synthesize, "body": body, "doctor": doctor,
}  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Runs one command; the process' exit code is 0, 1 where a check failed, 2 for a user's mistake."""
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, prog="selfmocap", args=args, config=(tyro.conf.OmitArgPrefixes,)
        )
    except (ValueError, OSError, ImportError) as error:
        _errors.print(f"selfmocap: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        _errors.print("selfmocap: interrupted")
        sys.exit(130)
    sys.exit(code or 0)
