"""The command line: one thin command a procedure. A user's mistake ends in one line and exit code 2."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional, arg

from selfmocap._version import __version__
from selfmocap.cli.aliases import ours
from selfmocap.cli.bulk import capture_many
from selfmocap.cli.networks import predict, train, train_temporal, validate, validate_temporal
from selfmocap.cli.progress import stages

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
    from selfmocap.visualization.body_picture import write_posed_body

    write_posed_body(out, pose, betas, model, yaw)
    _console.print(f"wrote [bold]{out}[/]")


def doctor(as_json: Annotated[bool, arg(name="json")] = False) -> int:
    """Say what this machine has of what selfmocap needs, each missing thing with its remedy.

    Args:
        as_json: Print JSON.
    """
    from selfmocap.cli.doctor import examine

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
    from selfmocap.tracking.observe import ObserveConfig
    from selfmocap.tracking.observe import observe as observe_video

    settings = ObserveConfig(people, person_box, detector, flow, keypoints, masks, flow_folder)
    with stages() as progress:
        paths = observe_video(video, out, settings, progress)
    _console.print(f"{len(paths)} people in [bold]{out}[/]")


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
    from selfmocap.pipeline.infer_folder import infer_folder

    with stages() as progress:
        paths = infer_folder(observations, out, focal, weights, progress)
    _console.print("wrote " + ", ".join(f"[bold]{path}[/]" for path in paths))


def adapt(
    observations: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o"])],
    focal: float | None = None,
    learn_from: Path | None = None,
    save_weights: Path | None = None,
) -> None:
    """Adapt the network to observations, all together, and write the motions that it then sees.

    Args:
        observations: An observations.npz, or a folder of them.
        out: The folder to write person-N/motion.npz to.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        learn_from: Weights to begin with instead of those that come with the project.
        save_weights: A file to write the adapted weights to, for the next video.
    """
    from selfmocap.pipeline.adapt_folder import AdaptFolderConfig, adapt_folder

    with stages() as progress:
        clips = adapt_folder(observations, out, AdaptFolderConfig(focal, learn_from, save_weights), progress)
    _console.print(f"{len(clips)} motions in [bold]{out}[/], {sum(c['accepted'] for c in clips)} adapted")


def evaluate(
    estimates: Positional[Path],
    truth: Positional[Path],
    out: Annotated[Path | None, arg(name="json")] = None,
    smpl_model: Path | None = None,
) -> None:
    """Score estimated motions against true ones.

    Args:
        estimates: A motion.npz, AMASS .npz or 3DPW .pkl file, or a folder of them.
        truth: The same; a clip has the same place in both folders. Or Penn Action's folder, for PCK.
        out: A file to write the scores to.
        smpl_model: Your own SMPL file, or a folder with one for each gender, for AMASS and 3DPW.
    """
    from selfmocap.evaluation.evaluate import table_of
    from selfmocap.evaluation.pck import evaluate_any
    from selfmocap.io.atomic import atomic_write

    with stages() as progress:
        scores = evaluate_any(estimates, truth, smpl_model, progress)
    if out is not None:
        with atomic_write(out) as partial:
            partial.write_text(json.dumps(scores, indent=1))
    _console.print(table_of(scores))


def reproduce(
    what: Positional[Literal["table1", "table2", "figure3", "experience", "hmmr"]],
    out: Annotated[Path, arg(aliases=["-o"])],
    clips: int | None = None,
    frames: int | None = None,
    seed: int = 0,
    motions: Path | None = None,
    backgrounds: Path | None = None,
    held_out: tuple[str, ...] = (),
    weights: Path | None = None,
    train: bool = False,
    seeds: int = 3,
) -> None:
    """Run an experiment of the papers on synthetic people.

    Args:
        what: Tables 1 (true 2D) and 2 (another domain, detected 2D), figure 3 (losses), what is kept of experience; or
            hmmr, the second paper's rows.
        out: The folder to write to; a run that was interrupted goes on there.
        clips: How many clips; without it 24, of hmmr 64.
        frames: Frames a clip; without it 31, of hmmr 60.
        seed: Another seed gives other clips.
        motions: A folder of recordings that the network was not trained on; procedural motion without it.
        backgrounds: A folder of pictures; procedural ones without it. No picture is drawn for hmmr.
        held_out: Of the recordings only those of these subjects; --train learns from the others.
        weights: A network's weights instead of those that come with the project.
        train: For hmmr: also train, shortly, without deltas and with more and more unlabelled video.
        seeds: How often each of them is trained.
    """
    from selfmocap.evaluation.paper import ClipChoice, Trainings, usual_size
    from selfmocap.evaluation.paper import reproduce as run_experiment

    usual_clips, usual_frames = usual_size(what)
    test_set = ClipChoice(
        usual_clips if clips is None else clips,
        usual_frames if frames is None else frames,
        seed,
        motions,
        backgrounds,
        held_out,
    )
    with stages() as progress:
        run_experiment(what, out, test_set, weights, progress, Trainings(seeds) if train else None)
    _console.print(f"[bold]{out / what}.json[/]")


def capture(
    video: Positional[Path],
    out: Annotated[Path, arg(aliases=["-o"])],
    people: str = "all",
    quality: Literal["fast", "balanced", "best"] = "balanced",
    focal: float | None = None,
    network: Literal["frame", "temporal"] = "temporal",
    weights: Path | None = None,
    height: float | None = None,
    static_camera: Literal["auto", "yes", "no"] = "auto",
    export: tuple[str, ...] = ("bvh", "glb"),
    fps: float | None = None,
    device: str = "cpu",
) -> None:
    """Capture the motion of the people in a video: the main job.

    Args:
        video: A video file, a GIF, or a folder of pictures.
        out: The folder to write to; a run that was interrupted goes on there.
        people: all, largest, or the number of people, most visible first.
        quality: fast does not adapt the network to the video; best adapts it longer.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        network: Whether each frame is understood by itself, or in time.
        weights: Weights of either kind of network, instead of those that come with the project.
        height: The person's stature, metres, which sets the scale.
        static_camera: Whether the camera stands still: only then feet are held on a ground.
        export: Formats to write: bvh, glb, usd, amass, smpl, csv, trc.
        fps: Frames a second to resample the exports to.
        device: cpu, or cuda for the network and the optimisation.
    """
    import selfmocap

    options = selfmocap.ExportOptions(fps=fps)
    config = selfmocap.CaptureConfig(
        people, quality, focal, network, weights, height, static_camera, export, options
    )
    with stages() as progress:
        motions = selfmocap.capture(video, out, config, progress, device)
    for warning in json.loads((out / "report.json").read_bytes())["warnings"]:
        _errors.print(f"selfmocap: warning: {warning}")
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
    from selfmocap.body_model.body import Body
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.options import ExportOptions
    from selfmocap.export.write import export_motion as export_motion

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

    with stages() as progress:
        write_clips(out, clips, frames, seed, motions, backgrounds, layout, workers, progress)
    _console.print(f"{clips} clips in [bold]{out}[/]")


def view(folder: Positional[Path], port: int = 8080) -> None:
    """Show a capture's folder in an interactive viewer in the browser, until Ctrl-C.

    Args:
        folder: What `capture` wrote.
        port: Where to serve it on this machine; the next free one if it is taken.
    """
    from selfmocap.visualization.viewer import view_capture as serve

    serve(folder, port)


_COMMANDS = {
    "capture": capture, "export": export, "observe": observe, "infer": infer, "adapt": adapt, "evaluate": evaluate,
    "train": train, "validate": validate, "reproduce": reproduce, "synthesize": synthesize, "view": view, "body": body,
    "doctor": doctor, "capture-many": capture_many, "train-temporal": train_temporal,
    "validate-temporal": validate_temporal, "predict": predict,
}  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Runs one command; the process' exit code is 0, 1 where a check failed, 2 for a user's mistake."""
    args = ours(sys.argv[1:] if args is None else args)
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
