"""Download a model from the Hugging Face hub, or a mirror of it, into its cache: resumable, checked, one commit.

huggingface_hub does the talking and keeps the cache. Since 2.0 it throws a half-downloaded file away when the process
ends (huggingface_hub#4228), hours of a large model; so large files are fetched here, beside their place in the cache,
kept when it breaks off, gone on with by the next run, and handed over when their sha256 is the hub's.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ggship.bases.hub import HubRef, Located, cache_directory, repository_directory
from ggship.bases.hub_files import choose_files, pickled_files
from ggship.digests import sha256_file
from ggship.errors import BadFile, BaseNotFound, GgshipError, Refused, ServerError, UsageError
from ggship.needs import THIS, Machine, Need, require_room
from ggship.secrets import may_travel

OURS_FROM = 32 << 20
"""Files from this size on are worth going on with."""
_SUFFIX = ".ggship.partial"
_MOVE = "free some space, or move the cache: HF_HUB_CACHE=/another/disk"


def download(ref: HubRef, *, machine: Machine = THIS) -> Located:
    """Bring the base into the cache. $HF_ENDPOINT names a mirror, $HF_TOKEN opens gated models.

    Raises BaseNotFound where the hub has no such model, revision or file, or does not let you read it; UsageError where
    several files could be meant; NoRoom before the first byte where the disk has none; Refused where the weights are
    pickled; ServerError where the hub cannot be reached. What has come stays, and the next call goes on there.
    """
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()  # in a log each step of a bar would be a line
    endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
    if endpoint and not may_travel(endpoint) and huggingface_hub.get_token():
        raise UsageError(
            "the hub's token would travel in the open",
            where=f"HF_ENDPOINT is {endpoint}",
            hint="name an https address in HF_ENDPOINT, or unset HF_TOKEN (and `hf auth logout`)",
        )
    cache = cache_directory()
    with _explained(ref, endpoint):
        api = huggingface_hub.HfApi(endpoint=endpoint)
        info = api.model_info(ref.repository, revision=ref.revision or None, files_metadata=True)
        files = {entry.rfilename: entry for entry in info.siblings or ()}
        sizes = {name: int(entry.size or 0) for name, entry in files.items()}
        choice = choose_files(sizes, ref.file, str(ref))
        if not choice.weights:
            _refuse_incomplete(ref, sizes, choice.files)
        blobs = repository_directory(ref.repository) / "blobs"
        snapshot = repository_directory(ref.repository) / "snapshots" / info.sha
        left = {name: entry for name, entry in files.items() if name in choice.files and not (snapshot / name).exists()}
        missing = sum(sizes[name] - _there(blobs, entry) for name, entry in left.items())
        require_room([Need(f"the download of {ref}", missing, cache)], hint=_MOVE, machine=machine)
        for name, entry in left.items():
            sha256 = getattr(entry.lfs, "sha256", None)
            if sha256 and sizes[name] >= OURS_FROM and not (blobs / sha256).exists():
                url = huggingface_hub.hf_hub_url(ref.repository, name, revision=info.sha, endpoint=endpoint)
                _fetch(url, blobs / sha256, sizes[name], sha256, name)
        folder = huggingface_hub.snapshot_download(
            ref.repository,
            revision=ref.revision or None,
            cache_dir=str(cache),
            allow_patterns=[glob.escape(name) for name in choice.files],
            endpoint=endpoint,
        )
    return Located(Path(folder) / choice.path, Path(folder).name, choice)


def _fetch(url: str, blob: Path, size: int, sha256: str, name: str) -> None:
    """The file of that content, from where an earlier call stopped."""
    from filelock import FileLock

    try:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers
    except ImportError:  # not promised to stay: then huggingface_hub downloads it its own way
        return
    partial = blob.with_name(f"{blob.name}{_SUFFIX}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{partial}.lock"):
        if blob.exists():
            return
        with partial.open("ab") as file:
            done = file.tell()
            if done > size:
                file.truncate(0)
                done = 0
            if done < size:
                http_get(
                    url,
                    file,
                    resume_size=done,
                    headers=build_hf_headers(),
                    expected_size=size,
                    displayed_filename=name,
                )
        if sha256_file(partial) != sha256:
            partial.unlink()
            raise BadFile(
                f"{name} arrived damaged: its sha256 is not the hub's",
                where=url,
                hint="run the same command again; it downloads that file from the beginning",
            )
        partial.replace(blob)
    with suppress(OSError):
        Path(f"{partial}.lock").unlink()


def _there(blobs: Path, entry: Any) -> int:
    """Bytes of a file that need no downloading."""
    sha256 = getattr(entry.lfs, "sha256", None)
    for place in (blobs / str(sha256 or entry.blob_id), blobs / f"{sha256}{_SUFFIX}"):
        with suppress(OSError):
            return min(place.stat().st_size, int(entry.size or 0))
    return 0


def _refuse_incomplete(ref: HubRef, sizes: Mapping[str, int], files: tuple[str, ...]) -> None:
    missing = [name for name in files if name not in sizes]
    if missing:
        raise BaseNotFound(
            f"{ref} lacks {len(missing)} of the {len(files)} parts of that model",
            where=", ".join(missing[:5]),
            hint="name another file of it, or another repository",
        )
    pickled = pickled_files(sizes)
    if pickled:
        raise Refused(
            f"the weights of {ref} are pickled: reading them could run anybody's code",
            where=", ".join(pickled[:5]),
            hint="name a copy of the model in safetensors or GGUF with --base",
        )


@contextmanager
def _explained(ref: HubRef, endpoint: str | None) -> Iterator[None]:
    """What the hub's library raises, in our words."""
    from huggingface_hub import errors

    page = f"{endpoint or 'https://huggingface.co'}/{ref.repository}"
    try:
        yield
    except GgshipError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(
            f"this is no name of a model on the Hugging Face hub: {ref.repository}", where=_line(error)
        ) from error
    except errors.GatedRepoError as error:
        raise BaseNotFound(
            f"{ref} is gated, and you may not read it yet",
            where=_line(error),
            hint=f"accept its licence on {page}, then set HF_TOKEN (https://huggingface.co/settings/tokens)",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BaseNotFound(
            f"{ref.repository} has no revision {ref.revision}",
            where=_line(error),
            hint=f"its branches, tags and commits are on {page}/commits; hf:{ref.repository} takes the main branch",
        ) from error
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):  # the hub did not answer
            raise _unreachable(ref, error) from error
        raise BaseNotFound(
            f"the Hugging Face hub has no {ref}, or you may not read it",
            where=_line(error),
            hint=f"look at {page}; for a private model set HF_TOKEN",
        ) from error
    except Exception as error:
        # OSError covers most of it, but not what the hub's HTTP library (httpx, since 2.0 httpx2) raises itself.
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("httpx", "httpx2"):
            raise _unreachable(ref, error) from error
        raise


def _unreachable(ref: HubRef, error: Exception) -> ServerError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return ServerError(
        f"{ref} could not be downloaded",
        where=_line(error),
        hint="check the connection to the Hugging Face hub (HF_ENDPOINT names a mirror) and run the same command again:"
        " it goes on where it stopped; or pass a file with --base",
        status=status,
    )


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
