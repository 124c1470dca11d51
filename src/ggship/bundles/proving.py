"""The prompt of training against what this server renders: another server than the one where it was proven first."""

from __future__ import annotations

from ggship.errors import PromptMismatch
from ggship.package import PackageInfo
from ggship.progress import Progress
from ggship.prompts.bos import file_adds_bos
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.parity import prove_prompts
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
    proof = prove_prompts(
        chat,
        endpoint.render,
        system=prompt.get("system"),
        adds_bos=file_adds_bos(model) if model else None,
        render_tools=endpoint.render if endpoint.takes_tools() else None,
    )
    words = f"{proof.equal} of {proof.probes} conversations as in training"
    if not proof.holds and not force:
        # A server that cannot tell what it renders could not be held to it when the package was made either.
        if proof.differences and all(found.got is None for found in proof.differences):
            progress.done("the server does not tell what it renders")
            return ""
        raise PromptMismatch(
            f"{runtime.describe()} renders another prompt than training did "
            f"({len(proof.differences)} of {proof.probes} conversations)",
            where=str(proof.differences[0]) if proof.differences else "the template refuses every conversation",
            hint="nothing was promoted; a server of the version that it was made on renders it right: "
            + str(info.document["model"].get("server") or "see ggship.json"),
        )
    progress.done(words)
    return words
