"""Push a model from an Ollama server to a registry, and prove by digest that it arrived."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ggship.errors import Damaged, Refused, ServerError, UsageError
from ggship.publish.account import need_account, standing
from ggship.publish.registry import Connect, Layer, Manifest, Registry, find_scheme
from ggship.publish.target import OLLAMA_REGISTRY, Target
from ggship.runtimes.model import Progress
from ggship.runtimes.shown import blob_digests
from ggship.transport import AGAIN, Transport, is_loopback

_PUSHED = re.compile(r"pushing ([0-9a-f]{12})\Z")
_STATE = re.compile(r"\?_state=[^\s\"]*")  # hundreds of characters of the registry's own in its addresses
_SHOWN = (("model", "FROM"), ("adapter", "ADAPTER"))
CANNOT_PULL = (
    "Ollama cannot pull from this registry as it is: it sends no Location header (ollama/ollama#7244). "
    "The model is kept and served to other tools; for `ollama pull`, put a registry in front that sends one."
)


class Server(Protocol):
    """What a push needs of an Ollama server (ggship.runtimes.ollama_api.OllamaClient has it)."""

    url: str

    def digest(self, name: str) -> str | None:
        """The digest of the model's manifest; None where there is no such model."""
        ...

    def account(self) -> dict[str, Any] | None:
        """Who it is signed in as on ollama.com."""
        ...

    def show(self, name: str) -> dict[str, Any]:
        """/api/show as it is."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Give the model a second name."""
        ...

    def delete(self, name: str) -> bool:
        """Take a name away."""
        ...

    def push(self, name: str, *, insecure: bool = False, on_progress: Progress | None = None) -> None:
        """Push the model to the registry that its name begins with."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """A model in a registry, read back from there.

    digest: of its manifest, as the registry knows it. layers: its blobs, config last. pushed: False where all of it was
    there already. replaced: the digest that the tag had before, or "".
    """

    reference: str
    digest: str
    layers: tuple[Layer, ...]
    bytes: int
    pushed: bool
    replaced: str = ""
    warnings: tuple[str, ...] = ()
    dry_run: bool = False


def publish_to_registry(
    client: Server,
    name: str,
    target: Target,
    *,
    insecure: bool = False,
    force: bool = False,
    dry_run: bool = False,
    connect: Connect = Transport,
    on_progress: Progress | None = None,
) -> Published:
    """Push the model `name` of the server to the target, read the manifest back, and compare every digest.

    Nothing is pushed where the target already has exactly this model. The server needs the target's full name for the
    push; it is taken away afterwards unless it was there before. insecure: plain http to a registry that is neither on
    this machine nor in a private network. force: use that name though another model has it on the server. dry_run: only
    look at what the registry has.

    Raises Refused and UsageError before anything was changed; ServerError at any moment, and what was pushed until then
    stays in the registry (publishing again goes on from there); Damaged after the push, naming the layer, where the
    registry does not hold what was pushed.
    """
    held = client.digest(name)
    if held is None:
        raise ServerError(
            f"the server holds no model {name}", where=client.url, hint=f"ggship package RUN --name {name}", status=404
        )
    said = need_account(client, target) if target.host == OLLAMA_REGISTRY else ()
    scheme = _scheme(target, insecure, connect)
    transport = connect(f"{scheme}://{target.host}")
    try:
        registry = Registry(transport, target)
        before = _before(registry, client, target)
        if dry_run:
            return replace(_planned(before, held, target), warnings=said)
        seen: dict[str, int] = {}
        if before is None or not before.is_model(held):
            with _second_name(client, name, held, target.reference, force):
                _push(client, name, target, scheme, seen, on_progress)
        after = registry.manifest()
        if after is None:
            raise Damaged(
                "the server reported a push, and the registry has no such model",
                where=f"{target.reference}: no manifest at {registry.url}",
                hint=_elsewhere(client, target),
            )
        if not after.is_model(held):
            _compare(after, seen, client.show(name), target)
        pullable = registry.check_blobs(after)
    finally:
        transport.close()
    replaced = before.digest if before and before.digest != after.digest else ""
    warnings = said if pullable or target.host == OLLAMA_REGISTRY else (*said, CANNOT_PULL)
    return Published(target.reference, after.digest, after.layers, after.bytes, bool(seen), replaced, warnings)


def _planned(before: Manifest | None, held: str, target: Target) -> Published:
    """What a push would do."""
    there = before is not None and before.is_model(held)
    replaced = before.digest if before is not None and not there else ""
    layers, size = (before.layers, before.bytes) if before is not None and there else ((), 0)
    return Published(
        target.reference, f"sha256:{held.removeprefix('sha256:')}", layers, size, not there, replaced, dry_run=True
    )


def _scheme(target: Target, insecure: bool, connect: Connect) -> str:
    scheme = find_scheme(target, insecure=insecure, connect=connect)
    if scheme == "http" and not target.near and not insecure:
        raise UsageError(
            "plain http would send the model through a public network, for anyone to change",
            where=f"http://{target.host}",
            hint="use https, or --insecure if you know the way there",
        )
    return scheme


def _before(registry: Registry, client: Server, target: Target) -> Manifest | None:
    """What the tag holds now. One that cannot be read, or is no model's, is replaced like any other."""
    try:
        return registry.manifest()
    except Damaged:
        return None
    except ServerError as error:
        if error.status in (401, 403):
            return None
        error.hint = error.hint or _elsewhere(client, target)
        raise


def _elsewhere(client: Server, target: Target) -> str:
    if is_loopback(f"http://{target.host}") and not is_loopback(client.url):
        return f"{target.host} means this machine here, and {client.url} to itself: name the registry by its address"
    return "is the registry running?"


@contextmanager
def _second_name(client: Server, name: str, held: str, reference: str, force: bool) -> Iterator[None]:
    there = client.digest(reference)
    if there is not None and there != held and not force:
        raise Refused(
            "the server has another model under the name that the push needs",
            where=f"{reference} at {client.url}",
            hint=f"ollama rm {reference}   (or --force, to replace it there)",
        )
    if there != held:
        client.copy(name, reference)
    try:
        yield
    except BaseException:
        if there is None:
            with suppress(ServerError):  # the server may be what failed; the first error is the one to tell
                client.delete(reference)
        raise
    if there is None:
        client.delete(reference)


def _push(
    client: Server, name: str, target: Target, scheme: str, seen: dict[str, int], on_progress: Progress | None
) -> None:
    """Push; where that fails the error names the layer that was on its way, and how far it came."""
    sent: dict[str, int] = {}
    try:
        client.push(target.reference, insecure=scheme == "http", on_progress=_noting(seen, sent, on_progress))
    except ServerError as error:
        error.where = f"{_STATE.sub('', error.where)}\n{_broken_off(seen, sent, _kinds(client, name))}"
        if target.host == OLLAMA_REGISTRY and ("unauthorized" in error.where or "denied" in error.where):
            error.hint = standing(client.url, target)
        error.hint = error.hint or AGAIN
        raise


def _kinds(client: Server, name: str) -> dict[str, str]:
    """The beginning of a digest -> what layer it is; only weights can be told by /api/show."""
    try:
        shown = client.show(name)
    except ServerError:
        return {}
    return {digest[:12]: kind for kind, command in _SHOWN for digest in blob_digests(shown, command)}


def _broken_off(seen: Mapping[str, int], sent: Mapping[str, int], kinds: Mapping[str, str]) -> str:
    left = [digest for digest, total in seen.items() if sent.get(digest, 0) < total]
    if not left:
        return "every layer had arrived: it broke off at the manifest" if seen else "no layer had been sent yet"
    at = left[-1]
    kind = f"the {kinds[at]} layer" if at in kinds else "the layer"
    return f"it broke off at {kind} {at}, {sent.get(at, 0):,} of {seen[at]:,} bytes sent"


def _noting(seen: dict[str, int], sent: dict[str, int], on_progress: Progress | None) -> Progress:
    """Notes the beginning of each digest that the server reports as pushed: its bytes, and how many were sent."""

    def note(status: str, completed: int, total: int) -> None:
        match = _PUSHED.match(status)
        if match:
            seen[match[1]] = total or seen.get(match[1], 0)
            sent[match[1]] = completed
        if on_progress:
            on_progress(status, completed, total)

    return note


def _compare(manifest: Manifest, seen: dict[str, int], shown: dict[str, Any], target: Target) -> None:
    """Name the layer that is not the server's. Passes only where all are, and the manifest is merely worded anew."""
    for kind, command in _SHOWN:
        ours = {f"sha256:{digest}" for digest in blob_digests(shown, command)}
        theirs = {layer.digest for layer in manifest.layers if layer.kind == kind}
        if ours and (theirs - ours or (kind == "adapter" and ours - theirs)):
            raise _another(kind, theirs, ours, target)
    for layer in manifest.layers:
        if seen.get(layer.digest.removeprefix("sha256:")[:12]) != layer.size:
            raise _another(layer.kind, {layer.digest}, set(), target)
    missing = set(seen) - {layer.digest.removeprefix("sha256:")[:12] for layer in manifest.layers}
    if missing or not seen:
        raise Damaged(
            "the registry's manifest leaves out a layer that was pushed",
            where=f"{target.reference}: {', '.join(sorted(missing)) or manifest.digest}",
            hint="publish again; if it stays so, do not use this copy",
        )


def _another(kind: str, theirs: set[str], ours: set[str], target: Target) -> Damaged:
    held = f", the server holds {', '.join(sorted(ours))}" if ours else ", which the server never pushed"
    return Damaged(
        f"the registry holds another {kind} layer than the server",
        where=f"{target.reference}: {', '.join(sorted(theirs)) or 'none'}{held}",
        hint="someone else may have pushed at the same moment: publish again; if it stays so, do not use this copy",
    )
