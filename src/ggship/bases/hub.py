"""Find a model in the Hugging Face cache, or download it where that was asked for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.errors import BaseNotFound, ServerError, UsageError

# What a base needs: config, weights, tokenizer. No code, no pickles, no weights of other frameworks.
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_REF = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?")


@dataclass(frozen=True, slots=True)
class HubRef:
    """REPO[@REV][:FILE], taken apart. revision is "" for the main branch, file "" for the whole model."""

    repository: str
    revision: str = ""
    file: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repository}{revision}" + (f":{self.file}" if self.file else "")


def parse_hub_ref(text: str) -> HubRef:
    """Take REPO[@REV][:FILE] apart. Raises UsageError."""
    match = _REF.fullmatch(text)
    if match is None or ".." in (match["file"] or "").split("/"):
        raise UsageError(
            f"this is no model on the Hugging Face hub: hf:{text}", hint="write hf:ORG/NAME[@REVISION][:FILE.gguf]"
        )
    return HubRef(match["repo"], match["revision"] or "", match["file"] or "")


def cache_directory() -> Path:
    """Where huggingface_hub keeps models: $HF_HUB_CACHE, $HF_HOME/hub, else ~/.cache/huggingface/hub."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (Path(home).expanduser() if home else cache / "huggingface") / "hub"


def cached_repositories() -> tuple[str, ...]:
    """ORG/NAME of every model in the cache."""
    cache = cache_directory()
    names = [path.name for path in cache.iterdir()] if cache.is_dir() else []
    parts = [name.split("--") for name in sorted(names) if name.startswith("models--")]
    return tuple(f"{part[1]}/{part[2]}" for part in parts if len(part) == 3)


def locate(ref: HubRef, *, pull: bool = False, hub: Any = None) -> tuple[Path, str]:
    """(the file or directory in the cache, its commit). Downloads nothing unless `pull`.

    hub: what has hf_hub_download and snapshot_download; huggingface_hub itself by default.
    Raises BaseNotFound where it is not in the cache, or where the hub has no such model; ServerError where the hub
    cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import errors

    hub = hub or huggingface_hub
    common = {"revision": ref.revision or None, "cache_dir": str(cache_directory()), "local_files_only": not pull}
    try:
        if ref.file:
            path = Path(hub.hf_hub_download(ref.repository, ref.file, **common))
        else:
            path = Path(hub.snapshot_download(ref.repository, allow_patterns=_PATTERNS, **common))
    except errors.HFValidationError as error:
        raise UsageError(
            f"this is no name of a model on the Hugging Face hub: {ref.repository}", where=str(error).splitlines()[0]
        ) from error
    except errors.LocalEntryNotFoundError as error:  # with `pull` too: then the hub did not answer
        raise _unreachable(ref, error) if pull else _absent(ref) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise BaseNotFound(
            f"the Hugging Face hub has no {ref}, or you may not read it",
            where=str(error).strip().splitlines()[0],
            hint="for a gated model: accept its licence on its page, then set HF_TOKEN",
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(ref, error) if pull else _absent(ref) from error
    commit = re.search(r"/snapshots/([^/]+)", path.as_posix())
    return path, commit[1] if commit else ""


def _absent(ref: HubRef) -> BaseNotFound:
    return BaseNotFound(
        f"{ref} is not in the Hugging Face cache", where=str(cache_directory()), hint="add --pull to download it"
    )


def _unreachable(ref: HubRef, error: Exception) -> ServerError:
    return ServerError(
        f"{ref} could not be downloaded",
        where=str(error).strip().splitlines()[0],
        hint="check the connection to the Hugging Face hub (HF_ENDPOINT names a mirror), or pass a file with --base",
    )
