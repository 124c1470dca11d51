"""Which model a version means, and whether that one was proven."""

from __future__ import annotations

from ggship.errors import Refused
from ggship.package import PackageInfo
from ggship.releases.promotion import with_tag
from ggship.releases.proof import need_proof
from ggship.runtimes.ollama_api import OllamaClient


def proven_model(
    info: PackageInfo, client: OllamaClient, version: str, *, force: bool = False
) -> tuple[str, str, tuple[str, ...]]:
    """(the model's name at Ollama, its digest there, what `force` let through) for NAME or NAME@VERSION.

    Without a version it is the package's live model. A version is the model of that tag; it counts as proven where it
    is the package's model. Raises GateFailed or Refused, as need_proof.
    """
    if not version:
        held = client.digest(info.live_name)
        problems = need_proof(info, held, force=force)
        return info.live_name, held or "", problems
    model = with_tag(info.live_name, version)
    held = client.digest(model)
    if held is None:
        raise Refused(
            f"the server holds no model {model}",
            where=client.url,
            hint=f"`ollama list` shows what it holds; {info.name}@VERSION means {with_tag(info.live_name, 'VERSION')}",
        )
    if held == (info.digest or "").removeprefix("sha256:"):
        return model, held, need_proof(info, held, force=force)
    problem = Refused(
        f"{model} is not the model that this package proved",
        where=f"the server holds {held[:12]}, the package {str(info.digest)[:12]}",
        hint=f"ggship package RUN --name {info.name}   proves a model; --force leads clients to it anyway",
    )
    if not force:
        raise problem
    return model, held, (str(problem),)


def expected_model(info: PackageInfo, version: str) -> tuple[str, str]:
    """(the model's name at Ollama, the digest that it must have there; "" where a version's is not known)."""
    if not version:
        return info.live_name, info.digest or ""
    return with_tag(info.live_name, version), ""
