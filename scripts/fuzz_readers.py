"""Feed damaged files to every reader, print how many and what the readers did wrong.

python scripts/fuzz_readers.py --seconds 600 --seed 1
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.fuzzing import fuzz

from selfmocap.body_model.body import Body

MAX_BYTES = 6 << 30
"""Memory of the process. A reader that takes more fails with MemoryError."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all readers together")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    kept = Path(tempfile.mkdtemp(prefix="fuzz-"))
    inputs, failures = fuzz(arguments.seconds, arguments.seed, Body.load(), kept)
    for name, count in inputs.items():
        print(f"{name}: {count} inputs")
    for failure, where in failures.items():
        print(f"{failure} ({where})")
    print(f"{inputs.total()} inputs, {len(failures)} different failures; their files are in {kept}")


if __name__ == "__main__":
    main()
