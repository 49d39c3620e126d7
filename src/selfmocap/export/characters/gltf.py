"""Read and write glTF 2.0 files of strangers (`.glb`, `.gltf`, `.vrm`): every size and index is checked before use.

The document stays as it is in the file. All buffers are joined into one, so that accessors can be added at its end."""

import base64
import binascii
import contextlib
import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file

MAX_GLTF_BYTES = 1 << 30
_MAX_JSON_BYTES = 64 << 20
_MAX_NODES = 20_000
_DTYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_LISTS = (
    "nodes", "meshes", "skins", "accessors", "bufferViews", "buffers", "animations", "images", "scenes"
)  # fmt: skip
_UNREADABLE = ("EXT_meshopt_compression", "KHR_draco_mesh_compression")
_Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Gltf:
    """A glTF document with its data."""

    path: Path
    document: _Json
    """The JSON of the file, with one buffer."""
    data: bytes
    """The content of the buffer."""

    def rows(self, name: str) -> list[_Json]:
        """Return a list of the document; empty if it is absent."""
        return self.document.get(name, [])

    def row(self, name: str, index: Any) -> _Json:
        """Return an entry of a list. Raises ValueError if there is none."""
        rows = self.rows(name)
        if not _is_index(index, rows):
            _fail(self.path, f"a reference to {name} {index!r} of {len(rows)}", "export the file again")
        return rows[index]

    def array(self, index: Any) -> np.ndarray:
        """Read an accessor: (count, width) numbers; normalised integers become float64.

        Raises ValueError where it exceeds the data, or where its data is compressed or sparse."""
        accessor = self.row("accessors", index)
        if "sparse" in accessor or "bufferView" not in accessor:
            _fail(self.path, f"accessor {index} is sparse or has no data", "export it without compression")
        view = self.row("bufferViews", accessor["bufferView"])
        if any(name in view.get("extensions", {}) for name in _UNREADABLE):
            _fail(self.path, f"accessor {index} is compressed", "export it without compression")
        kind, dtype = accessor.get("type"), _DTYPES.get(accessor.get("componentType", 0))
        if kind not in _WIDTHS or dtype is None:
            _fail(self.path, f"accessor {index} has an unknown type", "export the file again")
        item = np.dtype(dtype).itemsize * _WIDTHS[kind]
        stride = _integer(self.path, view, "byteStride", item)
        count = _integer(self.path, accessor, "count", 0)
        offset = _integer(self.path, accessor, "byteOffset", 0)
        length, start = _integer(self.path, view, "byteLength", 0), _integer(self.path, view, "byteOffset", 0)
        last = offset + stride * (count - 1) + item if count else offset
        if stride < item or last > length or start + length > len(self.data):
            _fail(self.path, f"accessor {index} exceeds its data", "the file is damaged: export it again")
        if count == 0:
            return np.zeros((0, _WIDTHS[kind]))
        flat = np.frombuffer(self.data, np.uint8, stride * (count - 1) + item, start + offset)
        items = np.lib.stride_tricks.as_strided(flat, (count, item), (stride, 1), writeable=False)
        numbers = np.ascontiguousarray(items).view(dtype).reshape(count, -1)
        if not accessor.get("normalized"):
            return numbers
        return np.maximum(numbers / np.iinfo(numbers.dtype).max, -1.0)


def read_gltf(path: Path | str) -> Gltf:
    """Read a `.glb`, `.vrm` or `.gltf`.

    Buffers of a `.gltf` are read if they are data URIs, or files in its folder. Raises ValueError that names the file
    and the problem, FileNotFoundError."""
    path = existing_file(path)
    if path.stat().st_size > MAX_GLTF_BYTES:
        _fail(path, f"{path.stat().st_size} bytes", f"at most {MAX_GLTF_BYTES} are allowed")
    raw = path.read_bytes()
    text, chunk = _chunks(path, raw) if raw[:4] == b"glTF" else (raw, b"")
    with refuse_malformed(path):
        document = _parsed(path, text)
        buffers = [_buffer(path, n, entry, chunk) for n, entry in enumerate(document.get("buffers", []))]
        return _joined(path, document, buffers)


@contextlib.contextmanager
def refuse_malformed(path: Path) -> Iterator[None]:
    """Turn errors of a document whose entries have other types than the format requires into a ValueError."""
    try:
        yield
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError, np.linalg.LinAlgError) as error:
        raise ValueError(
            f"{path}: expected entries as glTF 2.0 defines them, found others ({type(error).__name__}: {error}); check "
            "the file with the glTF validator, and export it again"
        ) from error


def write_glb_document(path: Path, document: _Json, data: bytes) -> None:
    """Write a document and its one buffer as a `.glb`, atomically."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = [(b"JSON", text)] + ([(b"BIN\0", data + bytes(-len(data) % 4))] if data else [])
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + sum(8 + len(chunk) for _, chunk in chunks)))
        for kind, chunk in chunks:
            file.write(struct.pack("<I4s", len(chunk), kind) + chunk)


def local_transforms(gltf: Gltf) -> np.ndarray:
    """Compute the (nodes, 4, 4) transform of each node in its parent. Raises ValueError for numbers that are not
    finite."""
    return np.stack([_transform(gltf.path, n, node) for n, node in enumerate(gltf.rows("nodes"))])


def node_parents(gltf: Gltf) -> tuple[int, ...]:
    """Return the parent of each node, -1 for roots. Raises ValueError unless the nodes form trees."""
    nodes = gltf.rows("nodes")
    if not 0 < len(nodes) <= _MAX_NODES:
        _fail(gltf.path, f"{len(nodes)} nodes", f"expected 1 to {_MAX_NODES}")
    parents = [-1] * len(nodes)
    for index, node in enumerate(nodes):
        for child in node.get("children", []):
            if not _is_index(child, nodes) or parents[child] >= 0 or child == index:
                _fail(gltf.path, f"node {index} has the child {child!r}", "expected nodes that form trees")
            parents[child] = index
    for index in range(len(nodes)):
        steps, node = 0, index
        while node >= 0:
            node, steps = parents[node], steps + 1
            if steps > len(nodes):
                _fail(gltf.path, f"node {index} is its own ancestor", "expected nodes that form trees")
    return tuple(parents)


def _chunks(path: Path, raw: bytes) -> tuple[bytes, bytes]:
    """Split a binary file into its JSON and its binary chunk."""
    if len(raw) < 20 or struct.unpack_from("<I", raw, 4)[0] != 2:
        _fail(path, "no header of glTF 2", "export it as glTF 2.0")
    total, offset, found = struct.unpack_from("<I", raw, 8)[0], 12, []
    while offset + 8 <= min(total, len(raw)):
        length, kind = struct.unpack_from("<I4s", raw, offset)
        if offset + 8 + length > len(raw):
            _fail(path, "a chunk that exceeds the file", "the file is truncated: copy or export it again")
        found.append((kind, raw[offset + 8 : offset + 8 + length]))
        offset += 8 + length
    if not found or found[0][0] != b"JSON" or len(found[0][1]) > _MAX_JSON_BYTES:
        _fail(path, "no JSON chunk, or one that is too large", "export the file again")
    return found[0][1], next((chunk for kind, chunk in found[1:] if kind == b"BIN\0"), b"")


def _parsed(path: Path, text: bytes) -> _Json:
    if len(text) > _MAX_JSON_BYTES:
        _fail(path, f"{len(text)} bytes of JSON", f"at most {_MAX_JSON_BYTES} are allowed")
    try:
        document = json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected glTF, found other content ({error}); export it again") from error
    if not isinstance(document, dict) or not str(document.get("asset", {}).get("version", "")).startswith(
        "2"
    ):
        _fail(path, "no glTF 2 document", "export it as glTF 2.0")
    for name in _LISTS:
        rows = document.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            _fail(path, f"{name} is no list of objects", "export the file again")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def _buffer(path: Path, index: int, entry: _Json, chunk: bytes) -> bytes:
    uri = entry.get("uri")
    if uri is None:
        content = chunk if index == 0 else b""
    elif isinstance(uri, str) and uri.startswith("data:"):
        try:
            content = base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"{path}: buffer {index}: {error}; export the file again") from error
    else:
        content = _beside(path, uri)
    length = _integer(path, entry, "byteLength", 0)
    if len(content) < length:
        _fail(path, f"buffer {index} of {len(content)} bytes, {length} declared", "export the file again")
    return content[:length]


def _beside(path: Path, uri: Any) -> bytes:
    """Read a file that a `.gltf` names; it must lie in the same folder or below."""
    folder = path.parent.resolve()
    target = (folder / str(uri)).resolve()
    if "://" in str(uri) or not target.is_relative_to(folder):
        _fail(path, f"the file {str(uri)[:80]!r}", "expected one in the folder of the document")
    if existing_file(target).stat().st_size > MAX_GLTF_BYTES:
        _fail(path, f"{target.name} is too large", f"at most {MAX_GLTF_BYTES} bytes are allowed")
    return target.read_bytes()


def _joined(path: Path, document: _Json, buffers: list[bytes]) -> Gltf:
    """Join the buffers, and the image files of a `.gltf`, into one buffer."""
    starts, data = [], bytearray()
    for content in buffers:
        data += bytes(-len(data) % 8)
        starts.append(len(data))
        data += content
    views = [_moved(path, view, starts) for view in document.get("bufferViews", [])]
    images = []
    for image in document.get("images", []):
        uri = image.get("uri")
        if isinstance(uri, str) and not uri.startswith("data:"):
            content, kind = _beside(path, uri), "png" if uri.lower().endswith("png") else "jpeg"
            data += bytes(-len(data) % 4)
            views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(content)})
            data += content
            image = {name: value for name, value in image.items() if name != "uri"}
            image |= {"bufferView": len(views) - 1, "mimeType": f"image/{kind}"}
        images.append(image)
    lists = {"bufferViews": views, "images": images, "buffers": [{"byteLength": len(data)}] if data else []}
    kept = {name: value for name, value in document.items() if name not in lists}
    return Gltf(path, kept | {name: rows for name, rows in lists.items() if rows}, bytes(data))


def _moved(path: Path, view: _Json, starts: list[int]) -> _Json:
    """Return a buffer view, and the one in its compression extension, as a part of the joined buffer."""
    buffer = view.get("buffer", -1)
    if not _is_index(buffer, starts):
        _fail(path, f"a bufferView of buffer {buffer!r}", "export the file again")
    moved = view | {"buffer": 0, "byteOffset": _integer(path, view, "byteOffset", 0) + starts[buffer]}
    compressed = view.get("extensions", {}).get("EXT_meshopt_compression")
    if isinstance(compressed, dict):
        inner = _moved(path, compressed, starts)
        moved |= {"extensions": view["extensions"] | {"EXT_meshopt_compression": inner}}
    return moved


def _transform(path: Path, index: int, node: _Json) -> np.ndarray:
    def numbers(name: str, default: list[float]) -> np.ndarray:
        values = node.get(name, default)
        right = isinstance(values, list) and len(values) == len(default)
        if not right or not all(
            isinstance(v, int | float) and math.isfinite(v) and abs(v) < 1e9 for v in values
        ):
            _fail(path, f"node {index} has the {name} {values!r}", f"expected {len(default)} finite numbers")
        return np.array(values, float)

    if "matrix" in node:
        return numbers("matrix", np.eye(4).ravel().tolist()).reshape(4, 4).T
    x, y, z, w = numbers("rotation", [0.0, 0.0, 0.0, 1.0])
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if norm < 1e-6:
        _fail(path, f"node {index} has a rotation of length 0", "expected a unit quaternion")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, :3] *= numbers("scale", [1.0, 1.0, 1.0])
    result[:3, 3] = numbers("translation", [0.0, 0.0, 0.0])
    return result


def _is_index(index: Any, rows: Sequence[Any]) -> bool:
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(rows)


def _integer(path: Path, row: _Json, name: str, default: int) -> int:
    value = row.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_GLTF_BYTES:
        _fail(path, f"{name} {value!r}", "expected a count of bytes or elements; export the file again")
    return value


def _fail(path: Path, found: str, remedy: str) -> NoReturn:
    raise ValueError(f"{path}: found {found}; {remedy}")
