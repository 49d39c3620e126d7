"""Where the results of a batch are: a folder that all machines share, or a bucket."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from selfmocap.io.atomic import remove_temporaries
from selfmocap.io.files import read_json
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.jobs import WORK, work_paths
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.sources import DOWNLOAD_PREFIX


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

    def commit(self, manifest: Manifest, names: Collection[str]) -> list[dict[str, Any]]:
        """Record complete results of jobs in the manifest, and make them `contains`; return their lines."""
        ...

    def forget(self, result: str) -> None:
        """Let a result be incomplete, until another one replaces it."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder of results."""
        ...

    def delete(self, folder: str) -> None:
        """Delete a folder of results that nothing needs any more."""
        ...

    def publish(self, at_once: bool = False) -> None:
        """Show readers what is in `folder`, at once or when it is due."""
        ...


class FolderOutput:
    """A folder. Results are moved from `.work` to their final paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.for_workers = folder
        self.forgotten = set[str]()
        """Results that are to be replaced."""

    def contains(self, result: Path | str) -> bool:
        return str(result) not in self.forgotten and (self.folder / result).exists()

    def recover(self, manifest: Manifest) -> None:
        work = self.folder / WORK
        remove_temporaries(work)
        for abandoned in work.glob(f"{DOWNLOAD_PREFIX}*"):
            shutil.rmtree(abandoned)
        names = {path.name.removesuffix(".done") for path in work.glob("*.done")}
        lines = {name: read_json(work_paths(self.folder, name)[1]) for name in names}
        self._commit(manifest, lines, unrecorded(manifest, lines.values()))

    def commit(self, manifest: Manifest, names: Collection[str]) -> list[dict[str, Any]]:
        lines = {name: read_json(work_paths(self.folder, name)[1]) for name in names}
        self._commit(manifest, lines, [*lines.values()])
        return [*lines.values()]

    def _commit(
        self, manifest: Manifest, lines: Mapping[str, dict[str, Any]], new: Sequence[dict[str, Any]]
    ) -> None:
        """If killed between any two steps, it can be repeated."""
        if new:
            manifest.add(*new)
        for name, line in lines.items():
            path, record = work_paths(self.folder, name)
            result = self.folder / line["result"]
            if path.exists():
                if result.is_dir():
                    shutil.rmtree(result)
                result.parent.mkdir(parents=True, exist_ok=True)
                path.replace(result)
            self.forgotten.discard(line["result"])
            record.unlink()
            path.with_name(f"{name}.lock").unlink(missing_ok=True)

    def forget(self, result: str) -> None:
        self.forgotten.add(result)

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folder / folder).glob("*"))

    def delete(self, folder: str) -> None:
        shutil.rmtree(self.folder / folder)

    def publish(self, at_once: bool = False) -> None:
        """The folder is what readers see."""


def unrecorded(manifest: Manifest, lines: Collection[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the jobs' lines that the manifest does not have. A name may have several: of a film's split, and
    of its result."""
    wanted = {(line["name"], line["ended"]) for line in lines}
    known = wanted.intersection((line.get("name"), line.get("ended")) for line in manifest.lines())
    return [line for line in lines if (line["name"], line["ended"]) not in known]
