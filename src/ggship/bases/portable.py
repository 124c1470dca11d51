"""Names of models without the folders of this machine: those mean nothing elsewhere, and say more than they should."""

from __future__ import annotations

import re

from ggship.bases.likeness import repository_of


def portable(named: str, *, hub: bool = False) -> str:
    """What a package may say of a model that someone named: on one line, and no path.

    A file or folder is called by its last part, what lies in a cache of a hub by its repository; `ollama:NAME` and
    `hf:REPO` stay. hub: whether a bare ORG/NAME is a repository, as training names it, or a folder, as --base takes it.
    """
    text = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", named).split())
    if text.startswith(("ollama:", "hf:")):
        return text
    repository, _ = repository_of(text)
    if repository and (repository != text or (hub and not text.endswith(".gguf"))):
        return repository
    return re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def is_repository(named: str) -> bool:
    """Whether this is the name of a repository on a hub, ORG/NAME."""
    return repository_of(named)[0] == named != "" and not named.endswith(".gguf")
