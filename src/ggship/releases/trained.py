"""The run that a package was made of, where it is still at hand and still is what was packaged."""

from __future__ import annotations

from pathlib import Path

from ggship.digests import DigestCache, digest_of
from ggship.errors import GgshipError
from ggship.package import PackageInfo
from ggship.releases.names import recall
from ggship.runs import Run, read_run


def packaged_run(info: PackageInfo) -> tuple[Run | None, str]:
    """(the run, ""), or (None, why it cannot be had). Law: its files are those that were packaged, by sha256."""
    if info.document["run"].get("shares"):
        return None, "a blend was made of several runs"
    known = recall(info.name)
    if known is None or not known.run or Path(known.path).resolve() != info.path.resolve():
        return None, "the run that this package was made of is not known here"
    try:
        run = read_run(Path(known.run))
        wanted = {str(row["file"]): str(row["sha256"]) for row in info.document["run"]["files"]}
        found = {path.name: DigestCache().sha256(path) for path in run.tensor_files}
    except (GgshipError, OSError) as error:
        return None, str(error)
    if found != wanted or digest_of(run.config) != info.document["run"].get("config_sha256"):
        return None, "the run changed after the package was made"
    return run, ""
