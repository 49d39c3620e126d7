"""Feed damaged files to every reader.

Each input is a good file with a few random changes of its bytes, its words, its arrays or its values. A reader returns,
or raises ValueError or FileNotFoundError that names the file, in a few seconds and with little memory.
"""

import io
import json
import pickle
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy.io
import torch
from PIL import Image, features

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_files import read_body
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.cmu_exponential import read_cmu_exponential
from selfmocap.datasets.human36m import read_human36m_cameras, read_human36m_joints
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.datasets.penn_action import read_penn_action
from selfmocap.datasets.results.read import read_result
from selfmocap.datasets.surreal import read_surreal, to_surreal
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.export.characters.write import check_character
from selfmocap.geometry.camera import Camera
from selfmocap.io.calibration_files import read_calibration
from selfmocap.io.video import Frame, open_video
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.precomputed import PrecomputedKeypoints, read_flow
from tests.helpers.exported_files import wandering_motion
from tests.helpers.mutations import change_bytes, change_value, change_words, is_text
from tests.helpers.penn_action_files import COCO, film_labels
from tests.helpers.random_observations import random_observations
from tests.helpers.recordings import (
    amass_arrays,
    asf_amc_text,
    bvh_text,
    joints,
    random_motion,
    threedpw_data,
)
from tests.helpers.rigs import mixamo_rig, write_rig
from tests.helpers.smpl_files import smpl_arrays
from tests.helpers.system_results import (
    Known,
    easymocap,
    gvhmr,
    known_person,
    phalp,
    prompthmr,
    vibe,
    wham,
    write_romp,
    write_tram,
)
from tests.helpers.videos import write_video

MAX_SECONDS = 20
MAX_GROWTH_KIB = 3 << 20

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A reader with a good file: its name and content, and other files that it needs."""

    name: str
    file: str
    good: bytes
    read: Read
    others: dict[str, bytes]
    structure: Any = None
    """Arrays or values that `file` holds, and `pack` writes, which are changed as well."""
    pack: Callable[[Any], bytes] | None = None


# ---- the targets ---------------------------------------------------------------------------------------------------


def pack_npz(arrays: dict[str, Any]) -> bytes:
    """Return the bytes of an `.npz`."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: np.asarray(array) for name, array in arrays.items()})
    return stream.getvalue()


def _pack_torch(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _pack_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def pack_mat(fields: dict[str, Any]) -> bytes:
    """Return the bytes of a `.mat`."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, fields, do_compression=True)
    return stream.getvalue()


def _npz_of(save: Callable[[Path], None]) -> dict[str, Any]:
    with np.load(io.BytesIO(_bytes_of("a.npz", save))) as arrays:
        return dict(arrays)


def _bytes_of(file: str, save: Callable[[Path], object]) -> bytes:
    """Return what `save` writes to a path; `file` may lie in a folder that it makes."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / Path(file).parts[0])
        return (Path(folder) / file).read_bytes()


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _target(
    name: str, file: str, structure: Any, pack: Callable[[Any], bytes], read: Read, **others: bytes
) -> Target:
    return Target(name, file, pack(structure), read, others, structure, pack)


CONTAINERS = {
    "mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "webm": "libvpx", "avi": "mjpeg", "ts": "libx264",
    "mpg": "mpeg2video", "flv": "flv", "wmv": "wmv2", "3gp": "mpeg4", "mxf": "mpeg2video", "ogv": "libtheora",
}  # fmt: skip
CALIBRATIONS = {
    "yaml": "camera_matrix:\n  data: [900, 0, 640, 0, 910, 360, 0, 0, 1]\ndistortion_coefficients: [-0.3, 0.1]\n",
    "json": '{"a": {"fx": 900, "fy": 910, "cx": 640, "cy": 360, "size": [1280, 720]}}',
    "toml": "[a]\nsize = [1280, 720]\nmatrix = [[900, 0, 640], [0, 910, 360], [0, 0, 1]]\ndistortions = [0, 1]\n",
    "txt": "# cameras\n1 OPENCV 1280 720 900 910 640 360 -0.3 0.1 0 0\n",
}


def media_targets() -> list[Target]:
    """Return the readers of pictures, containers, calibrations and characters."""
    kinds = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif"}
    kinds |= {"AVIF": "avif"} if features.check("avif") else {}
    random = np.random.default_rng(0)
    images = [np.kron(random.integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)] * 5

    def frames(path: Path) -> object:
        return deque(open_video(path).frames(), maxlen=0)

    def video(suffix: str, codec: str) -> bytes:
        return _bytes_of(f"a.{suffix}", lambda p: write_video(p, images, codec=codec))

    glb = _bytes_of("a.glb", lambda p: write_rig(mixamo_rig(), p))
    return [
        *(Target(f"picture {kind}", f"a.{suffix}", _picture(kind), frames, {}) for kind, suffix in kinds.items()),
        *(Target(f"video {suffix}", f"a.{suffix}", video(suffix, codec), frames, {})
          for suffix, codec in CONTAINERS.items() if codec in av.codecs_available),
        *(Target(f"calibration {suffix}", f"a.{suffix}", text.encode(), lambda p: read_calibration(str(p)), {})
          for suffix, text in CALIBRATIONS.items()),
        Target("character", "a.glb", glb, check_character, {}),
    ]  # fmt: skip


TRAM_TRACK = "hps/hps_track_0.npy"


def result_targets(people: list[Known], body: Body) -> list[Target]:
    """Return the readers of other systems' results."""

    def read(path: Path) -> object:
        return read_result(path, body)

    pickled = {
        "phalp": phalp(people),
        "wham": wham(people),
        "vibe": vibe(people, 1000.0),
        "prompthmr": prompthmr(people),
    }
    tram, camera = (
        _bytes_of(f"a/{file}", lambda p: write_tram(p, people)) for file in (TRAM_TRACK, "camera.npy")
    )
    fitted = easymocap(people[0], torch.eye(3, dtype=torch.float64))
    return [
        *(_target(name, "a.pkl", data, pickle.dumps, read) for name, data in pickled.items()),
        _target("gvhmr", "a.pt", gvhmr(people[0]), _pack_torch, read),
        Target("romp", "a.npz", _bytes_of("a.npz", lambda p: write_romp(p, people)), read, {}),
        Target("tram", TRAM_TRACK, tram, lambda p: read(p.parents[1]), {"camera.npy": camera}),
        _target("easymocap", "000000.json", fitted[min(fitted)], _pack_json, lambda p: read(p.parent),
                **{f"{frame:06d}.json": _pack_json(fitted[frame]) for frame in sorted(fitted)[1:]}),
    ]  # fmt: skip


def targets(body: Body) -> list[Target]:
    """Return all readers with small good files."""
    walk, still = random_motion(8, spread=0.2), random_motion(4).to(torch.float32)
    walk.R_parent_joint[0] = torch.eye(3)
    bvh = bvh_text(walk, body, fps=30.0).encode()
    asf, amc = (text.encode() for text in asf_amc_text(walk, body))
    amass, dpw = amass_arrays(walk, body), threedpw_data([still.to(torch.float64)], body)
    camera = Camera(
        torch.tensor([600.0, 600.0]), torch.tensor([159.5, 119.5]), torch.eye(3), torch.tensor([0.0, 0, 5])
    )
    surreal = to_surreal(still, joints(still, body).float(), camera, "male", 6.5)
    points = np.random.default_rng(0).uniform(20, 250, (5, len(COCO.names), 2))
    smpl = smpl_arrays(vertices=60)
    motion = wandering_motion(body, 4)
    frame = Frame(0, 0.0, np.zeros((48, 64, 3), np.uint8), corrupt=False)
    coco = [{"image_id": 0, "keypoints": [1.0, 2.0, 0.5] * 17, "score": 1.0, "category_id": 1}]
    named = {"images": [{"id": 3, "file_name": "1.jpg"}], "annotations": [coco[0] | {"image_id": 3}]}
    people = {"people": [{"pose_keypoints_2d": [1.0, 2.0, 0.5] * 25}]}
    h36m = {"positions_3d": {"S9": {"Walking": np.zeros((3, 32, 3))}}}
    flow = (
        np.concatenate([np.array([202021.25], "<f4").view("<i4"), [4, 3], np.zeros(24)])
        .astype("<i4")
        .tobytes()
    )
    cameras = f"<m><w0>[{' '.join(['0.1'] * 300)}]</w0></m>".encode()
    seen = _npz_of(random_observations(4, seed=0).save)

    def beside(read: Callable[[Path, Path], object], other: str) -> Read:
        return lambda path: read(path, path.with_name(other))

    return [
        Target("bvh", "a.bvh", bvh, read_bvh, {}),
        Target("bvh in a folder", "a.bvh", bvh, lambda p: load_motions(p.parent, body), {"b.bvh": bvh}),
        Target("manifest", "motions.csv", b"file,skeleton,fps,subject\na.bvh,,60,ann\n",
               lambda p: load_motions(p.parent, body), {"a.bvh": bvh}),
        Target("amc", "a.amc", amc, beside(read_amc, "a.asf"), {"a.asf": asf}),
        Target("asf", "a.asf", asf, lambda p: read_amc(p.with_name("a.amc"), p), {"a.amc": amc}),
        Target("cmu exponential", "a.txt", (",".join(["0.1"] * 117) + "\n").encode() * 3, read_cmu_exponential, {}),
        _target("amass", "a.npz", amass, pack_npz, lambda p: read_amass(p).on_body(body)),
        _target("3dpw", "a.pkl", dpw, lambda d: pickle.dumps(d, protocol=2), read_three_dpw),
        _target("surreal", "a_info.mat", surreal, pack_mat, read_surreal),
        _target("penn action", "0001.mat", film_labels(points), pack_mat, read_penn_action),
        Target("human3.6m", "a.npz", _h36m_bytes(h36m), read_human36m_joints, {}),
        Target("human3.6m cameras", "m.xml", cameras, read_human36m_cameras, {}),
        _target("smpl npz", "SMPL_NEUTRAL.npz", smpl, pack_npz, read_body),
        _target("smpl pickle", "SMPL_NEUTRAL.pkl", smpl, lambda d: pickle.dumps(d, protocol=2), read_body),
        _target("motion", "motion.npz", _npz_of(motion.save), pack_npz, Motion.load),
        _target("observations", "observations.npz", seen, pack_npz, Observations.load),
        _target("coco keypoints", "a.json", coco, _pack_json, lambda p: PrecomputedKeypoints(p).detect(frame)),
        _target("coco with images", "a.json", named, _pack_json, lambda p: PrecomputedKeypoints(p).detect(frame)),
        _target("openpose", "a.json", people, _pack_json, lambda p: PrecomputedKeypoints(p.parent).detect(frame)),
        Target("flow", "a.flo", flow, read_flow, {}),
        *result_targets([known_person(None, 4, seed) for seed in (1, 2)], body),
        *media_targets(),
    ]  # fmt: skip


def _h36m_bytes(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


# ---- the run -------------------------------------------------------------------------------------------------------


def damaged(target: Target, rng: np.random.Generator) -> bytes:
    """Return the target's file with one to four random changes."""
    data = target.good
    if target.pack is not None and rng.random() < 0.5:
        structure = target.structure
        for _ in range(rng.integers(1, 3)):
            structure = change_value(structure, rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = target.pack(structure)
        except (ValueError, TypeError, OverflowError, AttributeError):
            data = target.good
        if rng.random() < 0.8:
            return data
    for _ in range(rng.integers(1, 5)):
        change = change_words if rng.random() < 0.6 and is_text(target.good) else change_bytes
        data = change(data, rng)
    return data


class TooSlow(Exception):
    """A reader took longer than MAX_SECONDS."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TooSlow in the main thread after some seconds."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def failure(target: Target, data: bytes, folder: Path) -> str | None:
    """Read a damaged file. Return what the reader does wrong."""
    for name, content in (target.others | {target.file: data}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with time_limit(MAX_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(folder / target.file)
    except (ValueError, FileNotFoundError) as error:
        if not any(name in str(error) for name in (target.file, *target.others, str(folder))):
            return f"does not name the file: {error!r} {_innermost(error)}"
    except TooSlow:
        return f"takes more than {MAX_SECONDS} s"
    except Exception as error:  # noqa: BLE001, any other is what the run looks for
        return f"{error!r} {_innermost(error)}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    return f"takes {grown} KiB" if grown > MAX_GROWTH_KIB else None


def _innermost(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "selfmocap" in f.filename]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def fuzz(
    seconds: float, seed: int, body: Body, keep: Path | None = None
) -> tuple[Counter[str], dict[str, str]]:
    """Feed every reader for an equal part of the time. Return the number of inputs of each, and the different failures
    with the number of their input; `keep` is a folder for the inputs that failed."""
    inputs: Counter[str] = Counter()
    failures: dict[str, str] = {}
    readers = targets(body)
    for target in readers:
        end = time.monotonic() + seconds / len(readers)
        while time.monotonic() < end:
            number = inputs[target.name]
            inputs[target.name] += 1
            data = damaged(target, np.random.default_rng([seed, number, len(target.name)]))
            with tempfile.TemporaryDirectory() as folder:
                wrong = failure(target, data, Path(folder))
            if wrong is not None and (key := f"{target.name}: {wrong}") not in failures:
                failures[key] = f"seed {seed}, input {number}"
                if keep is not None:
                    (keep / f"{target.name}-{seed}-{number}-{Path(target.file).name}").write_bytes(data)
    return inputs, failures
