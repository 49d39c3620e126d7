"""Where the results of a batch are: a folder that all machines share, or a bucket."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from selfmocap.io.atomic import remove_temporaries
from selfmocap.io.files import read_json
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.jobs import WORK, work_paths
from selfmocap.pipeline.distributed.manifest import Manifest


@runtime_checkable
class BatchOutput(Protocol):
    """The place of the results, as the driver uses it."""

    @property
    def for_workers(self) -> Path | Bucket:
        """What `run_job` writes to."""
        ...

    @property
    def folder(self) -> Path:
        """Local folder of `manifest.jsonl`, the index and the shards' index."""
        ...

    def contains(self, result: Path | str) -> bool:
        """Decide whether a result is complete."""
        ...

    def recover(self, manifest: Manifest) -> None:
        """Commit the results that a killed driver had not committed."""
        ...

    def commit(self, manifest: Manifest, names: Collection[str]) -> None:
        """Record complete results of jobs in the manifest, and make them `contains`."""
        ...

    def publish(self, at_once: bool = False) -> None:
        """Show readers what is in `folder`, at once or when it is due."""
        ...


class FolderOutput:
    """A folder. Results are moved from `.work` to their final paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.for_workers = folder

    def contains(self, result: Path | str) -> bool:
        return (self.folder / result).exists()

    def recover(self, manifest: Manifest) -> None:
        remove_temporaries(self.folder / WORK)
        names = {path.name.removesuffix(".done") for path in (self.folder / WORK).glob("*.done")}
        self._commit(manifest, names, done_names(manifest, names))

    def commit(self, manifest: Manifest, names: Collection[str]) -> None:
        self._commit(manifest, names, ())

    def _commit(self, manifest: Manifest, names: Collection[str], recorded: Collection[str]) -> None:
        """If killed between any two steps, it can be repeated."""
        lines = {name: read_json(work_paths(self.folder, name)[1]) for name in names}
        if new := [line for name, line in lines.items() if name not in recorded]:
            manifest.add(*new)
        for name, line in lines.items():
            path, record = work_paths(self.folder, name)
            if path.exists():
                path.replace(self.folder / line["result"])
            record.unlink()
            path.with_name(f"{name}.lock").unlink(missing_ok=True)

    def publish(self, at_once: bool = False) -> None:
        """The folder is what readers see."""


def done_names(manifest: Manifest, names: Iterable[str]) -> set[str]:
    """Return those of the jobs' names that the manifest records as done."""
    return set(names).intersection(line["name"] for line in manifest.lines() if line.get("state") == "done")
