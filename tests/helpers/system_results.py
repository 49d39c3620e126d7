"""Write the results of other systems from a known motion, each as its system's source does."""

import pickle
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS
from selfmocap.body_model.skeleton import JOINT
from tests.helpers.recordings import random_motion, straight_hands

SIZE = (1280, 720)
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


@dataclass(frozen=True)
class Known:
    """People in front of a camera, in the camera frame (OpenCV), and in a world that is y up."""

    cam: BodyParameters
    world: BodyParameters
    frames: np.ndarray
    pelvis: torch.Tensor
    """Of the model's rest pose."""
    hips: torch.Tensor
    """From the pelvis to the middle of the hips in the rest pose."""

    @property
    def cam_transl(self) -> np.ndarray:
        return (self.cam.p_world_root - self.pelvis).numpy()

    @property
    def world_transl(self) -> np.ndarray:
        return (self.world.p_world_root - self.pelvis).numpy()


def rest_joints(model: Body | None, betas: torch.Tensor) -> torch.Tensor:
    """Joints of a model's rest pose; without one those that are known without SMPL's file."""
    if model is not None:
        return model.to(torch.float64).shape(betas).joints
    joints = Body.load().J_template.double()
    return joints - joints[0] + torch.tensor(SMPL_MEAN_PELVIS, dtype=torch.float64)


def known_person(
    model: Body | None, frames: int = 6, seed: int = 0, first: int = 0, fingers: bool = True
) -> Known:
    """Make a person who moves in front of a camera that turns; `fingers`: SMPL's two hand joints move too."""
    world = random_motion(frames, seed, spread=0.3)
    world = world if fingers else straight_hands(world)
    torch.manual_seed(seed)
    world = replace(world, betas=torch.randn(10, dtype=torch.float64))
    angle = 0.05 * torch.arange(first, first + frames, dtype=torch.float64)
    R_cam_world = FLIP @ roma.rotvec_to_rotmat(angle[:, None] * torch.tensor([0.0, 1.0, 0.0]).double())
    t = torch.tensor([0.1, 0.9, 5.0], dtype=torch.float64) + angle[:, None]
    R = world.R_parent_joint.clone()
    R[:, 0] = R_cam_world @ R[:, 0]
    p = (R_cam_world @ world.p_world_root[..., None])[..., 0] + t
    joints = rest_joints(model, world.betas)
    hips = (joints[JOINT["left_hip"]] + joints[JOINT["right_hip"]]) / 2 - joints[0]
    return Known(BodyParameters(world.betas, R, p), world, np.arange(first, first + frames), joints[0], hips)


def vectors(R: torch.Tensor) -> np.ndarray:
    return roma.rotmat_to_rotvec(R).flatten(1).numpy()


def rows(known: Known) -> np.ndarray:
    return np.tile(known.cam.betas.numpy(), (len(known.frames), 1))


# ---- joblib ----------------------------------------------------------------------------------------------------


class _Wrapper:
    pass


class _Pickler(pickle._Pickler):
    """Numbers of an array follow the mark of it, after a padding to 16 bytes."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is not np.ndarray or obj.dtype.hasobject:
            return super().save(obj, save_persistent_id)
        mark = _Wrapper()
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        mark.__dict__.update(
            subclass=np.ndarray, shape=obj.shape, order=order, dtype=obj.dtype, allow_mmap=True,
            numpy_array_alignment_bytes=16,
        )  # fmt: skip
        super().save(mark)
        self.framer.commit_frame(force=True)
        self._file.flush()
        padding = 16 - (self._file.tell() + 1) % 16
        self._file.write(bytes([padding]) + b"\xff" * padding)
        self._file.write(obj.tobytes(order))
        return None


def dump_like_joblib(value: Any, path: Path) -> Path:
    """Write as `joblib.dump` without compression."""
    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = _Wrapper  # type: ignore[attr-defined]
    _Wrapper.__module__, _Wrapper.__qualname__ = module.__name__, "NumpyArrayWrapper"
    before = {name: sys.modules.get(name) for name in ("joblib", module.__name__)}
    sys.modules |= {"joblib": types.ModuleType("joblib"), module.__name__: module}
    try:
        with path.open("wb") as file:
            pickler = _Pickler(file)
            pickler._file = file
            pickler.dump(value)
    finally:
        for name, kept in before.items():
            sys.modules.pop(name)
            if kept is not None:
                sys.modules[name] = kept
    return path


# ---- the systems -----------------------------------------------------------------------------------------------


def phalp(people: list[Known]) -> dict[str, Any]:
    names = {f: f"img/{f + 1:06d}.jpg" for known in people for f in known.frames.tolist()}
    data: dict[str, Any] = {}
    for frame in sorted(names):
        lists: dict[str, list] = {
            key: [] for key in ("tid", "smpl", "camera", "size", "tracked_time", "embedding")
        }
        for tid, known in enumerate(people, start=3):
            if frame in known.frames:
                row = int(np.flatnonzero(known.frames == frame)[0])
                R = known.cam.R_parent_joint[row].float().numpy()
                lists["tid"].append(tid)
                lists["smpl"].append(
                    {"betas": known.cam.betas.float().numpy(), "body_pose": R[1:], "global_orient": R[:1]}
                )
                lists["camera"].append(known.cam_transl[row].astype(np.float32))
                lists["size"].append([SIZE[1], SIZE[0]])
                lists["tracked_time"].append(0)
                lists["embedding"].append(torch.ones(4))
        lists["tid"].append(99)  # Lost, only predicted.
        for key in ("smpl", "camera", "size", "embedding"):
            lists[key].append(lists[key][-1])
        lists["tracked_time"].append(2)
        data[names[frame]] = {"time": frame, "shot": 0, **lists}
    return data


def wham(people: list[Known]) -> dict[int, Any]:
    return {
        number: {
            "pose": vectors(known.cam.R_parent_joint),
            "trans": known.cam_transl,
            "pose_world": vectors(known.world.R_parent_joint),
            "trans_world": (known.world.p_world_root + known.world.R_parent_joint[:, 0] @ known.hips).numpy(),
            "betas": rows(known),
            "verts": np.zeros((len(known.frames), 7, 3), np.float32),
            "frame_ids": known.frames,
        }
        for number, known in enumerate(people)
    }


def vibe(people: list[Known], focal: float) -> dict[int, Any]:
    """The weak-perspective camera that shows each person as large as they are at this focal length."""
    width, height = SIZE
    found = {}
    for number, known in enumerate(people):
        x, y, depth = known.cam.p_world_root.T.numpy()
        sx, sy = (2 * focal / depth / side for side in SIZE)
        tx, ty = x - float(known.pelvis[0]), y - float(known.pelvis[1])
        box = np.stack([600 + 0 * x, 300 + 0 * x, 400 + 0 * x, 400 + 0 * x], axis=1)
        scale = sx * width / box[:, 2]
        shift = [
            tx - (box[:, 0] - width / 2) / (width / 2) / sx,
            ty - (box[:, 1] - height / 2) / (height / 2) / sy,
        ]
        found[number] = {
            "pred_cam": np.stack([scale, *shift], axis=1),
            "orig_cam": np.stack([sx, sy, tx, ty], axis=1),
            "verts": np.zeros((len(known.frames), 7, 3), np.float32),
            "pose": vectors(known.cam.R_parent_joint),
            "betas": rows(known),
            "joints2d": None,
            "bboxes": box,
            "frame_ids": known.frames,
        }
    return found


def gvhmr(known: Known) -> dict[str, Any]:
    def part(p: BodyParameters, transl: np.ndarray) -> dict[str, torch.Tensor]:
        pose = torch.from_numpy(vectors(p.R_parent_joint)).float()
        return {
            "global_orient": pose[:, :3],
            "body_pose": pose[:, 3:66],
            "betas": torch.from_numpy(rows(known)).float(),
            "transl": torch.from_numpy(transl).float(),
        }

    K = torch.tensor([[1500.0, 0, SIZE[0] / 2], [0, 1500.0, SIZE[1] / 2], [0, 0, 1]])
    return {
        "smpl_params_global": part(known.world, known.world_transl),
        "smpl_params_incam": part(known.cam, known.cam_transl),
        "K_fullimg": K.repeat(len(known.frames), 1, 1),
        "net_outputs": {"model_output": {"pred_x": torch.zeros(1, 2, 3)}},
    }


def write_tram(folder: Path, people: list[Known]) -> Path:
    """TRAM's world is y down."""
    (folder / "hps").mkdir(parents=True)
    frames = 1 + max(int(known.frames[-1]) for known in people)
    R, T = torch.eye(3, dtype=torch.float64).repeat(frames, 1, 1), torch.zeros(frames, 3, dtype=torch.float64)
    for number, known in enumerate(people):
        R_world_cam = known.world.R_parent_joint[:, 0] @ known.cam.R_parent_joint[:, 0].mT
        p_world_cam = known.world.p_world_root - (R_world_cam @ known.cam.p_world_root[..., None])[..., 0]
        R[known.frames], T[known.frames] = FLIP @ R_world_cam, p_world_cam @ FLIP
        track = {
            "pred_cam": torch.ones(len(known.frames), 3),
            "pred_rotmat": known.cam.R_parent_joint.float(),
            "pred_shape": torch.from_numpy(rows(known)).float(),
            "pred_trans": torch.from_numpy(known.cam_transl).float()[:, None],
            "frame": torch.from_numpy(known.frames),
        }
        np.save(folder / "hps" / f"hps_track_{number}.npy", track)  # type: ignore[arg-type]
    camera = {
        "pred_cam_R": R.numpy(), "pred_cam_T": T.numpy(), "img_focal": np.float64(1500.0),
        "img_center": np.array([SIZE[0] / 2, SIZE[1] / 2]),
    }  # fmt: skip
    np.save(folder / "camera.npy", camera)  # type: ignore[arg-type]
    return folder


def prompthmr(people: list[Known]) -> dict[str, Any]:
    frames = 1 + max(int(known.frames[-1]) for known in people)
    Rcw, Tcw = np.tile(np.eye(3), (frames, 1, 1)), np.zeros((frames, 3))
    tracks = {}
    for number, known in enumerate(people):
        R = known.cam.R_parent_joint[:, 0] @ known.world.R_parent_joint[:, 0].mT
        Rcw[known.frames] = R.numpy()
        Tcw[known.frames] = (
            known.cam.p_world_root - (R @ known.world.p_world_root[..., None])[..., 0]
        ).numpy()
        whole = np.tile(np.eye(3), (len(known.frames), 55, 1, 1))
        whole[:, :22] = known.cam.R_parent_joint[:, :22].numpy()
        tracks[number + 1] = {
            "frames": known.frames,
            "track_id": number + 1,
            "smplx_cam": {"rotmat": whole, "shape": rows(known), "trans": known.cam_transl},
        }
    lens = {"img_focal": np.float32(1500.0), "img_center": np.array([SIZE[0] / 2, SIZE[1] / 2])}
    return {
        "camera": lens | {"pred_cam_R": Rcw.transpose(0, 2, 1), "pred_cam_T": Tcw},
        "people": tracks,
        "camera_world": {"Rcw": Rcw, "Tcw": Tcw, **lens},
        "has_tracks": True,
    }


def write_romp(path: Path, people: list[Known], focal_ratio: float = 1.2) -> Path:
    results: dict[str, Any] = {}
    tracks: dict[Any, Any] = {}
    for number, known in enumerate(people, start=1):
        x, y, depth = known.cam.p_world_root.T.numpy()
        scale = 2 * focal_ratio / depth
        cam = np.stack(
            [scale, scale * (x - float(known.pelvis[0])), scale * (y - float(known.pelvis[1]))], axis=1
        )
        pose = vectors(known.cam.R_parent_joint)
        for row, frame in enumerate(known.frames.tolist()):
            entry = {"cam": cam[row], "smpl_thetas": pose[row], "smpl_betas": known.cam.betas.numpy()}
            of_frame = results.setdefault(f"{frame:08d}.png", {key: [] for key in (*entry, "track_ids")})
            for key, value in entry.items():
                of_frame[key] = np.array([*of_frame[key], value], dtype=np.float32)
            of_frame["track_ids"] = np.array([*of_frame["track_ids"], number], dtype=np.int32)
            track = tracks.setdefault(np.int32(number), {"frame_id": [], **{key: [] for key in entry}})
            track["frame_id"].append(frame)
            for key, value in entry.items():
                track[key].append(value.astype(np.float32))
    np.savez(path, results=results, sequence_results=tracks)  # type: ignore[arg-type]
    return path


def easymocap(known: Known, R_file_world: torch.Tensor) -> dict[int, list[dict[str, Any]]]:
    """The body is rotated about the origin of its model, in a world that may be z up."""
    pose = vectors(known.world.R_parent_joint)
    frames = {}
    for row, frame in enumerate(known.frames.tolist()):
        R = R_file_world @ known.world.R_parent_joint[row, 0]
        Th = R_file_world @ known.world.p_world_root[row] - R @ known.pelvis
        frames[frame] = [
            {
                "id": 0,
                "Rh": [roma.rotmat_to_rotvec(R).tolist()],
                "Th": [Th.tolist()],
                "poses": [[0.0, 0.0, 0.0, *pose[row, 3:].tolist()]],
                "shapes": [known.world.betas.tolist()],
            }
        ]
    return frames


def write_sam3d_body(folder: Path, keypoints_cam: np.ndarray, first: int = 1) -> Path:
    """Write COCO-23 keypoints (time, 23, 3; camera frame, metres) as MHR's examples have the results of images."""
    folder.mkdir()
    rows = [*range(9), 62, 41, *range(9, 21)]
    for number, points in enumerate(keypoints_cam, start=first):
        place, points_70 = points.mean(0), np.zeros((70, 3), np.float32)
        points_70[rows] = points - place
        pixels = np.zeros((70, 2), np.float32)
        pixels[rows] = 1500 * points[:, :2] / points[:, 2:] + np.array(SIZE) / 2
        np.savez(
            folder / f"frame_{number:05d}_subj00.npz",
            pred_keypoints_3d=points_70,
            pred_keypoints_2d=pixels,
            pred_cam_t=place.astype(np.float32),
            focal_length=np.float32(1500),
            pred_vertices=np.zeros((10, 3), np.float32),
        )
    return folder
