"""What GGUF cannot carry of an adapter: refused before any work, with the reason and what to do."""

from __future__ import annotations

from ggship.errors import NotExpressible
from ggship.runs import Run, obstacles


def refuse_inexpressible(run: Run) -> None:
    """Raise NotExpressible where neither converter can carry what was trained; every reason is named, in `where`.

    rsLoRA and alpha patterns are no reason: their scale folds into B.
    """
    found = [(obstacle.what, obstacle.remedy) for obstacle in obstacles(run)]
    if run.config.get("lora_alpha") == 0:
        found.append(
            ("lora_alpha is 0: llama.cpp would take that for a scale of 1", "set lora_alpha to what was trained")
        )
    if not found and not run.modules:
        found.append(("it holds no LoRA pair", "point ggship at the directory that training wrote"))
    if found:
        raise NotExpressible(
            "GGUF cannot carry all that was trained",
            where="\n".join(dict.fromkeys(what for what, _ in found)),
            hint="\n".join(dict.fromkeys(remedy for _, remedy in found if remedy)),
        )
