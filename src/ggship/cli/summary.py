"""The rows of the summary at the end of `ggship package`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggship.card import human_size

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.ship import Shipped


def base_rows(base: Base) -> list[tuple[str, str]]:
    """Which base, how it was found, and what else would have fitted."""
    rows = [("base", f"{base.ref} ({base.found})")]
    if base.alternatives:
        rows.append(("also fits", f"{', '.join(base.alternatives)}; --base REF takes another"))
    return rows


def summary_rows(shipped: Shipped) -> list[tuple[str, str]]:
    """What was made, where, and what it scored, for two columns."""
    document = shipped.info.document
    adapter, merge, prompt, model = (document[part] for part in ("adapter", "merge", "prompt", "model"))
    rows = [("package", f"{shipped.info.path}"), *base_rows(shipped.base)]
    if merge:
        rows.append(
            (
                "model",
                f"{merge['file']}, {human_size(merge['bytes'])}: {merge['merged']} of {merge['pairs']} pairs merged, "
                f"{merge['survival']:.3f} of the update survives",
            )
        )
    else:
        rows.append(("adapter", f"{adapter['file']}, {human_size(adapter['bytes'])}, {adapter['pairs']} pairs"))
    if adapter["folded"]:
        rows.append(("folded", "; ".join(adapter["folded"])))
    proof = prompt["proof"]
    if proof and proof["probes"]:
        rows.append(("prompt", f"{proof['equal']} of {proof['probes']} conversations rendered as in training"))
    if model["server"]:
        rows.append(("runs on", model["server"]))
    rows += [("note", note) for note in model.get("notes", [])]
    rows += [(name, text) for name, text in document["eval"].get("rows", [])]
    previous = shipped.facts.get("promote", {}).get("previous")
    if previous:
        rows.append(("before", f"the model before it is kept as {previous}"))
    return rows
