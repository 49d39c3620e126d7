"""A program that does jobs on two machines of Ray, the driver's and another one, which dies meanwhile.

python -m tests.helpers.lost_machine OUT JOBS MOMENT

The other machine dies MOMENT seconds after the first jobs began on both.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from selfmocap.pipeline.distributed.cluster import cluster
from tests.helpers.bulk_jobs import Meeting, Pause, run


def kill(machines: Any, machine: Any, out: Path, moment: float) -> None:
    while len([*out.glob("**/worker.txt")]) < 2:
        time.sleep(0.05)
    time.sleep(moment)
    machines.remove_node(machine, allow_graceful=False)


def main() -> None:
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports] (an optional extra)

    out, count, moment = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = machines.add_node(num_cpus=1)
    jobs = [Meeting("job-0", 0.5), Meeting("job-1", 0.5), *(Pause(f"job-{n}", 0.5) for n in range(2, count))]
    try:
        with cluster(out, machines.address, 2) as pool:
            dying = threading.Thread(target=kill, args=(machines, other, out, moment))
            dying.start()
            run(jobs, pool, out)
            dying.join()
    finally:
        machines.shutdown()


if __name__ == "__main__":
    main()
