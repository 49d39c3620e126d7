"""Put trained weights into the package: both networks in half precision, and the frame network once.

    python scripts/package_weights.py TEMPORAL [--out src/selfmocap/weights]

TEMPORAL is the `network.safetensors` of `selfmocap train-temporal`, which holds both networks.
"""

import argparse
from pathlib import Path

from selfmocap.io.files import sha256_of_path
from selfmocap.models.checkpoints import save_network, shipped_weights
from selfmocap.models.temporal_inference import load_temporal, save_temporal, shipped_temporal_weights


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("temporal", type=Path)
    parser.add_argument("--out", type=Path, default=shipped_weights().parent)
    options = parser.parse_args()
    network, about = load_temporal(options.temporal)
    frame, temporal = (options.out / path.name for path in (shipped_weights(), shipped_temporal_weights()))
    save_network(frame, network.frame, {}, half=True)
    save_temporal(temporal, network, about, half=True, frame_sha256=sha256_of_path(frame))
    for path in (frame, temporal):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
