import hashlib
from pathlib import Path

import pytest

from selfmocap.io.files import read_json, read_json_object, sha256_of_path, write_json


def test_the_hash_is_that_of_the_bytes_or_of_names_and_bytes(tmp_path: Path) -> None:
    for name, content in (("b", b"2" * (3 << 20)), ("a", b"1")):
        (tmp_path / name).write_bytes(content)
    assert sha256_of_path(tmp_path / "b") == hashlib.sha256(b"2" * (3 << 20)).hexdigest()
    assert sha256_of_path(tmp_path) == hashlib.sha256(b"a\0" + b"1" + b"b\0" + b"2" * (3 << 20)).hexdigest()


def test_json_round_trip_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_json_object(path) == {}
    write_json(path, {"a": [1, None]}, indent=1)
    assert read_json(path) == read_json_object(path) == {"a": [1, None]}
    write_json(path, [1])
    assert read_json(path) == [1]
    assert read_json_object(path) == {}
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match="a.json: expected JSON"):
        read_json(path)
    assert read_json_object(path) == {}
