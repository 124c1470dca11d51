"""The prompt of training against what this server renders: another server than the one where it was proven first."""

from __future__ import annotations

from typing import Any

from ggship.errors import PromptMismatch
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.prompts.bos import file_adds_bos
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.parity import prove_prompts
from ggship.prompts.probes import PROBES
from ggship.prompts.tokenparity import TOKEN_PROBES, prove_tokens
from ggship.prompts.vocabulary import file_tokens
from ggship.releases.opened import asks_to_think, package_spec
from ggship.runtimes.model import Runtime


def prove_live(info: PackageInfo, runtime: Runtime, name: str, progress: Progress, *, force: bool = False) -> str:
    """Render the probes on the server and compare, as when the package was made; what came of it, in words.

    "" where the package does not tell the prompt of training. Raises PromptMismatch with the first difference.
    """
    prompt = info.document["prompt"]
    if not prompt.get("jinja") or "bos_token" not in prompt:
        return ""
    progress.start("Proving the prompt")
    chat = ChatTemplate(prompt["jinja"], prompt["bos_token"], prompt["eos_token"], source="the package's chat template")
    endpoint = runtime.endpoint(name, think=asks_to_think(info))
    model = package_spec(info).model
    given: dict[str, Any] = {"system": prompt.get("system"), "adds_bos": file_adds_bos(model) if model else None}
    with_tools = endpoint.render if endpoint.takes_tools() else None
    proof = prove_prompts(chat, endpoint.render, render_tools=with_tools, **given)
    asked = PROBES if proof.silent else TOKEN_PROBES
    counted = prove_tokens(chat, endpoint.prompt_tokens, file_tokens(model), probes=asked, **given)
    by_number = proof.silent and counted.probes > 0
    if not force and not (proof.holds or by_number):
        raise _mismatch(info, runtime, str(proof.differences[0]) if proof.differences else "it refuses all of them")
    if not force and not counted.holds:
        raise _mismatch(info, runtime, counted.differences[0])
    words = f"{proof.equal} of {proof.probes} conversations as in training"
    if by_number:
        words = f"{counted.equal} of {counted.probes} conversations as in training, by the number of their tokens"
    progress.done(words)
    return words


def _mismatch(info: PackageInfo, runtime: Runtime, where: str) -> PromptMismatch:
    made = info.document["model"].get("server") or "the one that its ggship.json names"
    return PromptMismatch(
        f"{runtime.describe()} reads another prompt than training wrote",
        where=where,
        hint=f"nothing was promoted; it was proven on {made}; --force brings it without this proof",
    )
