"""Files of strangers: a wrong one is refused in a sentence, whatever is wrong with it."""

import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfmocap.export.characters.gltf import read_gltf, refuse_malformed
from selfmocap.export.characters.gltf_character import gltf_character
from tests.helpers.rigs import vrm_rig, write_glb, write_rig


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rig(vrm_rig(), tmp_path_factory.mktemp("good") / "good.glb")


def read(path: Path) -> None:
    gltf = read_gltf(path)
    with refuse_malformed(path):
        gltf_character(gltf, {})


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a cycle": lambda d: d["nodes"][2].update(children=[0]),
    "its own child": lambda d: d["nodes"][2].update(children=[2]),
    "a child that is no node": lambda d: d["nodes"][0].update(children=[10**9]),
    "children that are no list": lambda d: d["nodes"][0].update(children=3),
    "a rotation of length 0": lambda d: d["nodes"][0].update(rotation=[0, 0, 0, 0]),
    "a rotation of two numbers": lambda d: d["nodes"][0].update(rotation=[0, 1]),
    "a huge scale": lambda d: d["nodes"][0].update(scale=[1e300, 1, 1]),
    "a skeleton scaled along one axis": lambda d: d["nodes"][-2].update(scale=[1, 2, 1]),
    "a mirrored skeleton": lambda d: d["nodes"][-2].update(scale=[-1, 1, 1]),
    "a skin of no nodes": lambda d: d["skins"][0].update(joints=[10**6]),
    "a skin that is missing": lambda d: d["nodes"][-1].update(skin=7),
    "a mesh that is missing": lambda d: d["nodes"][-1].update(mesh=7),
    "a count beyond the data": lambda d: d["accessors"][0].update(count=10**8),
    "a count that is negative": lambda d: d["accessors"][0].update(count=-1),
    "an offset beyond the data": lambda d: d["bufferViews"][0].update(byteOffset=10**8),
    "a stride of 1": lambda d: d["bufferViews"][0].update(byteStride=1),
    "a buffer that is missing": lambda d: d["bufferViews"][0].update(buffer=3),
    "a buffer longer than the file": lambda d: d["buffers"][0].update(byteLength=10**8),
    "a file elsewhere": lambda d: d["buffers"][0].update(uri="../../../../etc/passwd"),
    "an address": lambda d: d["buffers"][0].update(uri="http://localhost/data.bin"),
    "a humanoid of no nodes": lambda d: d["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]["head"].update(
        node=999
    ),
    "nodes that are no objects": lambda d: d.update(nodes=[1, 2]),
    "too many nodes": lambda d: d.update(nodes=[{}] * 30_000),
    "glTF 1": lambda d: d["asset"].update(version="1.0"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_wrong_entries_are_refused(change: Callable[[dict], Any], good: Path, tmp_path: Path) -> None:
    gltf = read_gltf(good)
    document = copy.deepcopy(gltf.document)
    change(document)
    write_glb(tmp_path / "bad.glb", document, gltf.data)
    with pytest.raises((ValueError, FileNotFoundError), match="bad.glb|bone_00|passwd"):
        read(tmp_path / "bad.glb")


@pytest.mark.parametrize(
    "raw",
    [
        b"glTF",
        b"glTF" + struct.pack("<II", 2, 10**9) + bytes(8),
        struct.pack("<4sIII4s", b"glTF", 2, 40, 2**31, b"JSON") + b"{}",
        b"[" * 100_000,
        b'{"asset": {"version": "2.0"}, "nodes": [{"scale": [NaN, 1, 1]}]}',
        b"\xff\xfe\x00\x01",
    ],
)
def test_other_content_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.glb").write_bytes(raw)
    with pytest.raises(ValueError, match="bad.glb"):
        read(tmp_path / "bad.glb")


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_read_or_refused(seed: int, good: Path, tmp_path: Path) -> None:
    """Replace values of the JSON at random by values of other kinds."""
    generator = np.random.default_rng(seed)
    gltf = read_gltf(good)
    text = json.dumps(gltf.document)
    others = ["-1", "1e9", "null", '"x"', "[]", "{}", "0.5", "true"]
    for _ in range(60):
        tokens = text.split(",")
        place = int(generator.integers(len(tokens)))
        head, colon, value = tokens[place].rpartition(":")
        closing = value[len(value.rstrip("]}")) :]
        tokens[place] = head + colon + others[generator.integers(len(others))] + closing
        try:
            document = json.loads(",".join(tokens))
        except ValueError:
            continue
        write_glb(tmp_path / "damaged.glb", document, gltf.data)
        try:
            read(tmp_path / "damaged.glb")
        except (ValueError, FileNotFoundError) as error:
            assert len(str(error)) > 20
