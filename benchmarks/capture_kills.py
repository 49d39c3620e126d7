"""A capture that is killed (signal 9) at a random moment and run again gives what an uninterrupted one gives.

    python benchmarks/capture_kills.py [--kills 20] [--seed 0] [--json]

Goal: no different result. Moments are spread evenly over the work of an uninterrupted capture, from its first frame to
its report; compared are all motions, exports, observations and videos, byte by byte, and the report without
its times.
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
        cut_short, different = killed_and_run_again(Path(folder), arguments.kills, arguments.seed)
    result = {"kills": arguments.kills, "cut_short": cut_short, "different": len(different)}
    print(json.dumps(result) if arguments.json else result)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
