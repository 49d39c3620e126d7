"""Kill captures (signal 9) at random moments, run them again, and compare with an uninterrupted capture.

    python benchmarks/capture_kills.py [--kills 20] [--seed 0] [--json]

Goal: no different result. The moments are uniform over the CPU time of an uninterrupted capture. All motions, exports,
observations and videos are compared byte by byte, and the report without its durations.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.helpers.stub_capture import killed_and_run_again


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        interrupted, different = killed_and_run_again(Path(folder), arguments.kills, arguments.seed)
    result = {"kills": arguments.kills, "interrupted": interrupted, "different": len(different)}
    print(json.dumps(result) if arguments.json else result)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
