"""Find a model in the caches of the hubs: Hugging Face's, and ModelScope's for what training got from there.

Files and links alone, no library and no network. The layout of Hugging Face's cache is documented ("Understand
caching"): models--ORG--NAME/refs/REVISION holds a commit, snapshots/COMMIT/ the files of it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ggship.bases.hub_files import Choice, choose_files
from ggship.errors import BaseNotFound, UsageError

_REF = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class HubRef:
    """REPO[@REV][:FILE], taken apart. revision is "" for the main branch, file "" for the whole model.

    file may be a file of the repository, a pattern (`*Q4_K_M*`), or the quantization that tells it (`Q4_K_M`).
    """

    repository: str
    revision: str = ""
    file: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repository}{revision}" + (f":{self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class Located:
    """A model in a cache. path: its directory, or (the first part of) its GGUF file. commit: "" where unknown.

    choice: which files of the repository it is, and why those.
    """

    path: Path
    commit: str
    choice: Choice


def parse_hub_ref(text: str) -> HubRef:
    """Take REPO[@REV][:FILE] apart. Raises UsageError."""
    match = _REF.fullmatch(text)
    if match is None or ".." in (match["file"] or "").split("/") or ".." in match["repo"]:
        raise UsageError(
            f"this is no model on the Hugging Face hub: hf:{text}",
            hint="write hf:ORG/NAME[@REVISION][:FILE.gguf], or hf:ORG/NAME:Q4_K_M for that quantization",
        )
    return HubRef(match["repo"], match["revision"] or "", match["file"] or "")


def cache_directory() -> Path:
    """Where huggingface_hub keeps models: $HF_HUB_CACHE, $HF_HOME/hub, else ~/.cache/huggingface/hub."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (Path(home).expanduser() if home else cache / "huggingface") / "hub"


def repository_directory(repository: str) -> Path:
    """Where the cache keeps that repository, or would."""
    return cache_directory() / f"models--{repository.replace('/', '--')}"


def cached_repositories() -> tuple[str, ...]:
    """ORG/NAME of every model in the cache."""
    cache = cache_directory()
    names = [path.name for path in cache.iterdir()] if cache.is_dir() else []
    parts = [name.split("--") for name in sorted(names) if name.startswith("models--")]
    return tuple(f"{part[1]}/{part[2]}" for part in parts if len(part) == 3)


def find_cached(ref: HubRef) -> Located | None:
    """The model in the cache, as whole as it lies there; None where nothing of it does.

    Raises UsageError where several of its files could be meant, BaseNotFound where some are there but not the one
    that was asked for.
    """
    commit = _commit(ref)
    snapshot = repository_directory(ref.repository) / "snapshots" / commit if commit else None
    if snapshot is None or not snapshot.is_dir():
        return None
    sizes = {
        path.relative_to(snapshot).as_posix(): path.stat().st_size
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    }
    if not sizes:
        return None
    choice = choose_files(sizes, ref.file, str(ref))
    return Located(snapshot / choice.path, commit, choice)


def absent(ref: HubRef) -> BaseNotFound:
    """The error for a model that is not in the cache, or not all of it."""
    return BaseNotFound(
        f"{ref} is not in the Hugging Face cache", where=str(cache_directory()), hint="add --pull to download it"
    )


def modelscope_directory(repository: str) -> Path | None:
    """Where ModelScope's cache holds that repository; None where it does not.

    modelscope/utils/file_utils.py and hub/utils/utils.py: $MODELSCOPE_CACHE is the folder above `hub` since 1.18, was
    `hub` itself before; newer releases put `models` below it. A dot in a name is kept as `___`.
    """
    named = os.environ.get("MODELSCOPE_CACHE")
    roots = ([Path(named).expanduser()] if named else []) + [Path("~/.cache/modelscope").expanduser()]
    org, _, name = repository.partition("/")
    for root in roots:
        for below in (root / "hub" / "models", root / "hub", root / "models", root):
            for spelled in dict.fromkeys((name.replace(".", "___"), name)):
                place = below / org / spelled
                if place.is_dir() and any(place.iterdir()):
                    return place
    return None


def _commit(ref: HubRef) -> str:
    """The commit that the revision means in the cache; "" where it knows none.

    Without a revision it is the main branch as it was last seen, or the only commit that there is.
    """
    home = repository_directory(ref.repository)
    revision = ref.revision or "main"
    try:
        return (home / "refs" / revision).read_text("utf-8").strip()
    except OSError:
        pass
    snapshots = home / "snapshots"
    commits = [path.name for path in snapshots.iterdir()] if snapshots.is_dir() else []
    if ref.revision:
        same = [commit for commit in commits if _COMMIT.fullmatch(revision) and commit.startswith(revision)]
    else:
        same = commits
    return same[0] if len(same) == 1 else ""
