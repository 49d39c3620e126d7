"""Read the result of another system, recognised by what its file holds, as motions of a body."""

import functools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.fingers import relative_to_rest
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.results.easymocap import easymocap_frames, is_easymocap, read_easymocap
from selfmocap.datasets.results.gvhmr import is_gvhmr, read_gvhmr
from selfmocap.datasets.results.phalp import is_phalp, read_phalp
from selfmocap.datasets.results.prompthmr import is_prompthmr, read_prompthmr
from selfmocap.datasets.results.record import (
    RestJoints,
    ResultPerson,
    ResultSource,
    SystemResult,
    keys_of,
    result_of_world,
)
from selfmocap.datasets.results.romp import is_romp, read_romp
from selfmocap.datasets.results.sam3d_body import SAM_3D_BODY, read_sam3d_body, sam3d_body_files
from selfmocap.datasets.results.smplx_npz import is_smplx, read_smplx
from selfmocap.datasets.results.tram import is_tram, read_tram, tram_tracks
from selfmocap.datasets.results.vibe import is_vibe, read_vibe
from selfmocap.datasets.results.wham import is_wham, read_wham
from selfmocap.datasets.retargeting.reference import reference_pose
from selfmocap.datasets.retargeting.retarget import retarget
from selfmocap.datasets.retargeting.straighten import straightened
from selfmocap.geometry.camera import Camera
from selfmocap.io.files import existing_file, read_json
from selfmocap.io.npz import npz_names
from selfmocap.io.pickled_files import read_pickled_file

_DEFAULT_FPS = 30.0
_SMPLX_VERTICES = 10475
_STATIC_TOLERANCE = 1e-6
_AMASS_KEYS = {"poses", "trans", "betas", "gender"}
_AMASS_PARTS = {"root_orient", "pose_body", "trans", "betas", "gender"}


@dataclass(frozen=True)
class _Reader:
    system: str
    matches: Callable[[Any], bool]
    read: Callable[[ResultSource], SystemResult]


_READERS = (
    _Reader("PHALP and 4D-Humans (.pkl)", is_phalp, read_phalp),
    _Reader("WHAM (.pkl)", is_wham, read_wham),
    _Reader("VIBE (.pkl)", is_vibe, read_vibe),
    _Reader("GVHMR (.pt)", is_gvhmr, read_gvhmr),
    _Reader("TRAM (folder, .npy)", is_tram, read_tram),
    _Reader("PromptHMR (.pkl)", is_prompthmr, read_prompthmr),
    _Reader("ROMP and BEV (.npz)", is_romp, read_romp),
    _Reader("smplx parameters (.npz)", is_smplx, read_smplx),
)
_OTHERS = "EasyMocap (folder of .json), SAM 3D Body (folder of .npz), AMASS (.npz), BVH and motion.npz"
_UNREADABLE = {
    "SAM 3D Body (MHR) in one file": {"pred_keypoints_3d", "pred_cam_t", "mhr_model_params"},
    "GEM-X (SOMA)": {"body_params_incam", "body_params_global"},
}
"""Systems with a rig of their own, whose rotations need its assets; and the keys by which they are recognised."""


@dataclass(frozen=True, eq=False)
class ReadMotions:
    """The people of a result on a body."""

    system: str
    motions: list[Motion]
    """By the number of frames, longest first. The world is y up; joints follow the body."""
    camera_kind: str
    """As in `ResultCamera.kind`."""
    warnings: list[str]


def read_result(
    path: Path | str,
    body: Body,
    smpl: Body | None = None,
    frame_times: Float[Tensor, " time"] | None = None,
    image_size: tuple[int, int] | None = None,
    focal: float | None = None,
) -> ReadMotions:
    """Read the people of another system's result as motions.

    `smpl` is the user's model of the result's kind: then the motions are of that model, with the result's shape.
    Without it, the rotations and the place of the pelvis are those of the result, on `body` in its mean shape: betas of
    SMPL have no meaning for it, so that lengths of bones, stature and the height of the feet are not the result's. A
    warning says so.

    `frame_times` (s), `image_size` (width, height; px) and `focal` (px) are those of the video. Raises
    FileNotFoundError, or ValueError that names the file, what is wrong and, for an unknown file, what was found and
    what is known."""
    path = Path(path)
    if is_motion_file(path):
        return _own_motion(path, body, frame_times)
    on_smpl = smpl is not None
    carrier = body if smpl is None else smpl
    rest_joints = _rest_joints(carrier, on_smpl)
    source = ResultSource(path, None, rest_joints, image_size, focal)
    result = _read(source, carrier, on_smpl)
    warnings = []
    if on_smpl and (result.model == "smplx") != (len(carrier.vertex_joint) == _SMPLX_VERTICES):
        raise ValueError(
            f"{path}: the shape is {'SMPL-X' if result.model == 'smplx' else 'SMPL'}'s, found a model file with "
            f"{len(carrier.vertex_joint)} vertices; give the file of that model, or none"
        )
    if not on_smpl and result.model != "body":
        warnings.append(
            f"{result.system}: its rotations and paths are on the embedded body in its mean shape; give --smpl-model "
            "for the shape of each person"
        )
    if frame_times is None and result.fps is None:
        warnings.append(
            f"{result.system}: the file has no frame rate; {_DEFAULT_FPS:g} frames a second are assumed"
        )
    people = [person.in_order() for person in result.people]
    motions = [_motion(path, result, person, carrier, on_smpl, frame_times) for person in people]
    return ReadMotions(result.system, sorted(motions, key=len, reverse=True), result.camera.kind, warnings)


def is_motion_file(path: Path) -> bool:
    """Test whether a file is a motion.npz."""
    return path.is_file() and zipfile.is_zipfile(path) and {"joint_names", "rotations"} <= npz_names(path)


def _own_motion(path: Path, body: Body, frame_times: Float[Tensor, " time"] | None) -> ReadMotions:
    motion = Motion.load(path)
    if motion.body != body.identity:
        raise ValueError(f"{path}: expected a motion of the body {body.identity}, found one of {motion.body}")
    if frame_times is not None:
        _check_frames(path, "1", motion.frame_index, frame_times)
    return ReadMotions("selfmocap", [motion], "perspective", [])


def _check_frames(
    path: Path, name: str, index: Int[Tensor, " frames"], frame_times: Float[Tensor, " time"]
) -> None:
    if index[-1] >= len(frame_times):
        raise ValueError(
            f"{path}: person {name} is in frame {int(index[-1])}, but the video has {len(frame_times)} frames; give "
            "the video that the system saw"
        )


def _rest_joints(body: Body, on_smpl: bool) -> RestJoints:
    """Return the function from betas to the rest joints; without SMPL's model the pelvis is at SMPL's mean."""
    exact = body.to(torch.float64)
    mean = exact.J_template - exact.J_template[0] + torch.tensor(SMPL_MEAN_PELVIS, dtype=torch.float64)
    return lambda betas: exact.shape(betas.double()).joints if on_smpl else mean


# ---- reading ---------------------------------------------------------------------------------------------------


def _read(source: ResultSource, body: Body, on_smpl: bool) -> SystemResult:
    path = source.path
    if path.is_dir():
        return _read_folder(source, body, on_smpl)
    with existing_file(path).open("rb") as file:
        start = file.read(4096)
    if start.lstrip().startswith(b"HIERARCHY"):
        return _read_bvh(path, body, on_smpl)
    try:
        data = read_pickled_file(path)
    except ValueError as error:
        raise ValueError(f"{error}. Results that are read: {_known()}") from error
    if keys_of(data) >= _AMASS_KEYS or keys_of(data) >= _AMASS_PARTS:
        return _read_amass(path, source.rest_joints, on_smpl)
    if is_easymocap(data):
        return _checked(read_easymocap, replace(source, data={0: data}))
    for reader in _READERS:
        if reader.matches(data):
            return _checked(reader.read, replace(source, data=data))
    raise ValueError(f"{path}: {_found(data)}; expected the result of one of: {_known()}")


def _checked(read: Callable[[ResultSource], SystemResult], source: ResultSource) -> SystemResult:
    """Read a result; where its structure is another than the system's, raise ValueError that names the file."""
    try:
        return read(source)
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError, ValueError) as error:
        if isinstance(error, ValueError) and str(source.path) in str(error):
            raise
        raise ValueError(
            f"{source.path}: expected what the system writes, found a value of another structure ({error}); run the "
            "system again"
        ) from error


def _known() -> str:
    return f"{', '.join(reader.system for reader in _READERS)}, {_OTHERS}"


def _found(data: Any) -> str:
    """Describe what a file holds."""
    keys = _all_keys(data, 3)
    for system, needed in _UNREADABLE.items():
        if needed <= keys:
            return f"found a result of {system}, whose rig is not read: export it to BVH or SMPL with its own tools"
    named = ", ".join(sorted(map(str, keys_of(data)))[:8])
    return f"found a {type(data).__name__}{f' with {named}' if named else ''}, which is no known result"


def _all_keys(data: Any, depth: int) -> set[Any]:
    inner = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return keys_of(data).union(*(_all_keys(value, depth - 1) for value in inner[:3])) if depth else set()


def _read_folder(source: ResultSource, body: Body, on_smpl: bool) -> SystemResult:
    if sam3d_body_files(source.path):
        if on_smpl:
            raise ValueError(f"{source.path}: {SAM_3D_BODY} has no SMPL parameters; leave --smpl-model out")
        return _checked(functools.partial(read_sam3d_body, body=body), source)
    if tram_tracks(source.path):
        return _checked(read_tram, source)
    files = easymocap_frames(source.path)
    if files and is_easymocap(read_json(files[0])):
        frames = {int(file.stem): read_json(file) for file in files}
        return _checked(read_easymocap, replace(source, data=frames))
    raise ValueError(
        f"{source.path}: expected a folder of TRAM, EasyMocap or SAM 3D Body, found another; give the result's file"
    )


def _read_bvh(path: Path, body: Body, on_smpl: bool) -> SystemResult:
    if on_smpl:
        raise ValueError(f"{path}: a BVH file has no SMPL parameters; leave --smpl-model out")
    recording = read_bvh(path)
    reference = reference_pose(recording) or straightened(recording)
    if reference is None:
        raise ValueError(f"{path}: expected a skeleton with a T pose, or a person who stands; found neither")
    found = retarget(recording, reference, body)
    frames = len(found.p_world_root)
    person = ResultPerson(
        "1",
        torch.arange(frames),
        found.betas.double(),
        found.R_parent_joint.double(),
        found.p_world_root.double(),
    )
    return result_of_world("BVH", [person], "body", recording.fps)


def _read_amass(path: Path, rest_joints: RestJoints, on_smpl: bool) -> SystemResult:
    found = read_amass(path)
    p_world_root = (found.transl + rest_joints(found.betas)[0]) @ found.R_world_file.T
    person = ResultPerson("1", torch.arange(len(found)), found.betas, found.R_parent_joint, p_world_root)
    if found.R_straight_finger is not None and not on_smpl:
        person = replace(person, fingers=relative_to_rest(found.R_straight_finger))
    model = "smplx" if found.model == "smplx" else "smpl"
    return result_of_world("AMASS", [person], model, found.fps)


# ---- motions ---------------------------------------------------------------------------------------------------


def _motion(
    path: Path,
    result: SystemResult,
    person: ResultPerson,
    body: Body,
    on_smpl: bool,
    frame_times: Float[Tensor, " time"] | None,
) -> Motion:
    camera = _camera(result, person)
    R_world_cam = camera.R_cam_world.mT
    R = person.R_parent_joint.clone()
    R[:, 0] = R_world_cam @ R[:, 0]
    p = camera.to_world(person.p_cam_root[:, None])[:, 0]
    has_shape = on_smpl or result.model == "body"
    betas = person.betas if has_shape else torch.zeros(body.num_betas, dtype=torch.float64)
    index = person.frame_index
    if frame_times is None or result.fps is not None:
        times = index.double() / (result.fps or _DEFAULT_FPS)
    else:
        _check_frames(path, person.name, index, frame_times)
        times = frame_times[index]
    motion = Motion.from_parameters(
        body,
        BodyParameters(betas, R, p).to(body.v_template.dtype),
        camera.to(torch.float32),
        result.camera.image_size,
        times,
        index,
        provenance={"result": {"system": result.system, "person": person.name, "camera": result.camera.kind}},
    )
    return (
        motion
        if person.fingers is None
        else replace(motion, fingers=person.fingers.to(motion.parameters.R_parent_joint))
    )


def _camera(result: SystemResult, person: ResultPerson) -> Camera:
    """Return the result's camera of each frame, one for all frames if it does not move; without a world the level
    camera at the origin."""
    seen = result.camera
    if person.R_cam_world is None or person.t_cam_world is None:
        level = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
        return Camera(seen.focal, seen.center, level, torch.zeros(3, dtype=torch.float64))
    R, t = person.R_cam_world, person.t_cam_world
    moved = max(float((R - R[:1]).abs().max()), float((t - t[:1]).abs().max()))
    if moved < _STATIC_TOLERANCE:
        R, t = R[0], t[0]
    return Camera(seen.focal, seen.center, R, t)
