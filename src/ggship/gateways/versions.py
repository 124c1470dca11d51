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
    is the package's model, or was released with a proof that held. Raises GateFailed or Refused, as need_proof.
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
    if held in _released(info):
        return model, held, ()
    problem = Refused(
        f"{model} is not the model that this package proved, nor one that was released",
        where=f"the server holds {held[:12]}, the package {str(info.digest)[:12]}",
        hint=f"ggship package RUN --name {info.name}   proves a model; --force leads clients to it anyway",
    )
    if not force:
        raise problem
    return model, held, (str(problem),)


def _released(info: PackageInfo) -> frozenset[str]:
    """The digests of this name's releases whose proof held."""
    from ggship.releases.journal import journals_of

    acts = [act for journal in journals_of(info.live_name) for act in journal.acts()]
    return frozenset(act.digest.removeprefix("sha256:") for act in acts if act.done and act.proof.passed)


def need_another(client: OllamaClient, live: str, digest: str, name: str) -> None:
    """Raise Refused where what is live under `live` is that very model: half of the requests would prove nothing."""
    if live and client.digest(live) == digest:
        raise Refused(
            f"{live}, which all clients get already, is that very model",
            where=f"{client.url}: {digest[:12]}",
            hint=f"lead it to a version first, which releases leave alone: ggship gateway apply {name}@v1",
        )


def expected_model(info: PackageInfo, version: str) -> tuple[str, str]:
    """(the model's name at Ollama, the digest that it must have there; "" where a version's is not known)."""
    if not version:
        return info.live_name, info.digest or ""
    return with_tag(info.live_name, version), ""
