"""Read the arrays of a body model from the embedded default or a user's SMPL, SMPL-H or SMPL-X file."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from selfmocap.body_model.model_folder import find_model
from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES, JOINT_PARENTS
from selfmocap.io.files import existing_file, sha256_of_path
from selfmocap.io.npz import check_format, check_shapes, read_npz
from selfmocap.io.pickles import read_pickle

BODY_FORMAT, BODY_VERSION = "selfmocap-body", 1
USER_BETAS = 10
"""Number of shape coefficients read from a user's file."""

SMPL_MEAN_PELVIS = (0.0, -0.23, 0.03)
"""Pelvis of SMPL's mean bodies in the rest pose, metres, accurate to 2 cm: what is known without an SMPL file."""

_SMPL_KEYS = {"v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f"}
_BODY_KEYS = {
    "name", "v_template", "faces", "shapedirs", "J_template", "J_shapedirs", "weights_joint", "weights",
    "posedirs_vertices", "posedirs_coefficients", "posedirs_basis", "landmark_names", "landmark_row",
    "landmark_vertex", "landmark_weight", "part", "mirror", "proxy_vertices", "proxy_faces",
}  # fmt: skip

_FACE_AND_FEET = ("nose", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe",
                  "left_heel", "right_big_toe", "right_small_toe", "right_heel")  # fmt: skip
_VERTEX_OF = {
    6890: (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787),
    10475: (9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635),
}
"""Vertices of the face and the feet on the SMPL(-H) and the SMPL-X mesh by number of vertices, in the order of
_FACE_AND_FEET (published with the `smplx` library)."""

_COCO_JOINTS = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                     for side in ("left", "right"))  # fmt: skip

Landmark = tuple[np.ndarray, np.ndarray]
"""Vertex indices and their weights, which sum to 1."""


@dataclass(frozen=True, eq=False)
class BodyData:
    """A body model in SMPL's form, reduced to SMPL's 24 joints; float32, metres."""

    name: str
    sha256: str
    v_template: np.ndarray
    """(V, 3) mean body in the rest pose; x to the person's left, y up, z forward."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise from outside."""
    shapedirs: np.ndarray
    """(V, 3, B) metres per unit of each shape coefficient."""
    J_template: np.ndarray
    """(24, 3) joints of the mean body in the rest pose."""
    J_shapedirs: np.ndarray
    """(24, 3, B) metres per unit of each shape coefficient."""
    weights: np.ndarray
    """(V, 24) skinning weights; rows sum to 1."""
    posedirs_coefficients: np.ndarray
    """(207, r) from the pose feature to the coefficients of the pose blendshapes."""
    posedirs_basis: np.ndarray
    """(r, V, 3) pose blendshapes, metres."""
    landmarks: dict[str, Landmark]
    """Linear regressors of named points from the vertices."""
    part: np.ndarray
    """(V,) joint with the largest skinning weight of each vertex."""
    mirror: np.ndarray | None = None
    """(V,) index of the mirror image of each vertex; None if it is unknown."""
    proxy_vertices: np.ndarray | None = None
    """(P,) vertices of a coarser closed mesh."""
    proxy_faces: np.ndarray | None = None
    """Faces of the coarser mesh, as indices into proxy_vertices."""


def read_body(path: Path | str | None = None) -> BodyData:
    """Read the embedded default body, or a body from a user's `.npz` or `.pkl` file; of a folder, its neutral model.

    Raises FileNotFoundError, or ValueError that names the problem of the file."""
    if path is None:
        return _read_default(Path(str(files("selfmocap"))) / "assets" / "body.npz")
    path = existing_file(find_model(path, "neutral") if Path(path).is_dir() else path)
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, only=_SMPL_KEYS)
    elif path.suffix.lower() == ".pkl":
        arrays = read_pickle(path)
    else:
        raise ValueError(f"{path}: expected a body model as .npz or .pkl, found {path.suffix or 'no suffix'}")
    if not isinstance(arrays, dict) or not _SMPL_KEYS <= arrays.keys():
        missing = sorted(_SMPL_KEYS - arrays.keys()) if isinstance(arrays, dict) else sorted(_SMPL_KEYS)
        raise ValueError(
            f"{path}: expected an SMPL, SMPL-H or SMPL-X model, found a file that lacks {', '.join(missing)}"
        )
    arrays = {key: np.asarray(arrays[key]) for key in _SMPL_KEYS}
    if wrong := sorted(key for key in _SMPL_KEYS if arrays[key].dtype.kind not in "biuf"):
        raise ValueError(f"{path}: expected numbers in {', '.join(wrong)}, found others; download it again")
    return _from_smpl(path, arrays)


def _read_default(path: Path) -> BodyData:
    arrays = read_npz(path)
    check_format(path, arrays, BODY_FORMAT, BODY_VERSION, _BODY_KEYS)
    count = len(arrays["v_template"])
    weights = np.zeros((count, len(JOINT_NAMES)), np.float32)
    np.add.at(weights, (np.arange(count)[:, None], arrays["weights_joint"]), arrays["weights"])
    basis = np.zeros((len(arrays["posedirs_basis"]), count, 3), np.float32)
    basis[:, arrays["posedirs_vertices"]] = arrays["posedirs_basis"]
    rows = arrays["landmark_row"]
    return BodyData(
        name=str(arrays["name"]),
        sha256=sha256_of_path(path),
        weights=weights,
        posedirs_coefficients=arrays["posedirs_coefficients"].astype(np.float32),
        posedirs_basis=basis,
        landmarks={
            str(name): (arrays["landmark_vertex"][rows == row], arrays["landmark_weight"][rows == row])
            for row, name in enumerate(arrays["landmark_names"])
        },
        **{name: arrays[name] for name in ("faces", "part", "mirror", "proxy_vertices", "proxy_faces")},
        **{
            name: arrays[name].astype(np.float32)
            for name in ("v_template", "shapedirs", "J_template", "J_shapedirs")
        },
    )


def _from_smpl(path: Path, arrays: dict[str, np.ndarray]) -> BodyData:
    v_template = arrays["v_template"].astype(np.float32)
    vertices, joints = (
        arrays[name].shape[0] if arrays[name].ndim else 0 for name in ("v_template", "J_regressor")
    )
    columns = _reduction(path, arrays["kintree_table"], joints)
    check_shapes(
        path,
        arrays,
        {
            "v_template": ("vertices", 3),
            "J_regressor": (joints, "vertices"),
            "weights": ("vertices", joints),
            "posedirs": ("vertices", 3, 9 * (joints - 1)),
            "shapedirs": ("vertices", 3, "betas"),
            "f": ("faces", 3),
        },
    )
    if arrays["shapedirs"].shape[2] < USER_BETAS:
        raise ValueError(
            f"{path}: expected at least {USER_BETAS} shape coefficients, found {arrays['shapedirs'].shape[2]}"
        )
    if not arrays["f"].size or not 0 <= arrays["f"].min() <= arrays["f"].max() < vertices:
        raise ValueError(f"{path}: expected faces f with indices below {vertices}, found none or others")
    regressor = columns @ arrays["J_regressor"].astype(np.float32)
    regressor /= regressor.sum(1, keepdims=True)
    shapedirs = arrays["shapedirs"][:, :, :USER_BETAS].astype(np.float32)
    features = 9 * (len(JOINT_NAMES) - 1)
    posedirs = np.zeros((features, vertices, 3), np.float32)
    kept = features if joints == len(JOINT_NAMES) else 9 * (JOINT["left_hand"] - 1)
    posedirs[:kept] = np.moveaxis(arrays["posedirs"][:, :, :kept], 2, 0)
    weights = arrays["weights"].astype(np.float32) @ (columns != 0).T.astype(np.float32)
    return BodyData(
        name=path.stem,
        sha256=sha256_of_path(path),
        v_template=v_template,
        faces=arrays["f"].astype(np.int32),
        shapedirs=shapedirs,
        J_template=regressor @ v_template,
        J_shapedirs=np.einsum("jv,vcb->jcb", regressor, shapedirs),
        weights=weights,
        part=weights.argmax(1),
        posedirs_coefficients=np.eye(features, dtype=np.float32),
        posedirs_basis=posedirs,
        landmarks=_smpl_landmarks(v_template, regressor),
    )


def _reduction(path: Path, kintree_table: np.ndarray, joints: int) -> np.ndarray:
    """Compute (24, joints): the weights of the file's joints in the position of each of SMPL's 24 joints.

    The hands of SMPL-H and SMPL-X become one joint each, at the mean of four knuckles. The thumb has weight 1e-9, which
    counts for skinning only. Jaw and eyes become part of the head. Merged joints stay in their rest pose."""
    first_finger = {24: None, 52: 22, 55: 25}.get(joints, 0)
    if first_finger == 0:
        raise ValueError(f"{path}: expected 24 (SMPL), 52 (SMPL-H) or 55 (SMPL-X) joints, found {joints}")
    shared = len(JOINT_NAMES) if first_finger is None else JOINT["left_hand"]
    parents = kintree_table.reshape(2, -1)[0, 1:shared].astype(np.int64)
    if parents.shape != (shared - 1,) or (parents != JOINT_PARENTS[1:shared]).any():
        raise ValueError(
            f"{path}: expected SMPL's joints in SMPL's order, found kintree_table {parents.tolist()}"
        )
    columns = np.zeros((len(JOINT_NAMES), joints), np.float32)
    columns[range(shared), range(shared)] = 1
    if first_finger is not None:
        columns[JOINT["head"], shared:first_finger] = 1e-9
        for hand, start in (("left_hand", first_finger), ("right_hand", first_finger + 15)):
            columns[JOINT[hand], start : start + 15] = 1e-9
            columns[JOINT[hand], [start, start + 3, start + 6, start + 9]] = 0.25
    return columns


def _smpl_landmarks(v_template: np.ndarray, regressor: np.ndarray) -> dict[str, Landmark]:
    """Define landmarks on a user's mesh.

    Joints come from the file's own joint regressor, face and feet are vertices. COCO's limb points, for which no free
    regressor on SMPL's mesh exists, are put at the joints (up to 3 cm off)."""
    landmarks: dict[str, Landmark] = {}
    for row, name in zip(regressor, JOINT_NAMES, strict=True):
        vertices = np.flatnonzero(np.abs(row) > 1e-6)
        landmarks[f"{name}_joint"] = vertices, row[vertices] / row[vertices].sum()
    landmarks |= {name: landmarks[f"{name}_joint"] for name in _COCO_JOINTS}
    one = np.ones(1, np.float32)
    for name, vertex in zip(_FACE_AND_FEET, _VERTEX_OF.get(len(v_template), ()), strict=False):
        landmarks[name] = np.array([vertex]), one
    landmarks["head_top"] = np.array([int(v_template[:, 1].argmax())]), one
    return landmarks
