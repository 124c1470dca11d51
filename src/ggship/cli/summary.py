"""The rows of the summary at the end of `ggship package`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ggship.card import human_size

if TYPE_CHECKING:
    from ggship.bases.fingerprint import Fingerprint
    from ggship.bases.model import Base
    from ggship.cli.terminal import Terminal
    from ggship.preflight import Preflight
    from ggship.runs import Run
    from ggship.ship import Shipped


def base_rows(base: Base) -> list[tuple[str, str]]:
    """Which base, how it was found, and what else would have fitted."""
    rows = [("base", f"{base.ref} ({base.found})")]
    if base.alternatives:
        rows.append(("also fits", f"{', '.join(base.alternatives)}; --base REF takes another"))
    return rows


def fingerprint_row(found: Fingerprint | None) -> list[tuple[str, str]]:
    """Whether it is the base of training, and what decided that."""
    return [("base of training", f"{found.verdict}: {found.why}")] if found else []


def show_needs(terminal: Terminal, needs: Preflight, base: Base, run: Run | None) -> None:
    """What --dry-run of convert and merge says: the base, whether it is the one of training, disk and memory."""
    from ggship.bases.fingerprint import fingerprint

    seen = fingerprint(run, base) if run is not None else None
    if terminal.as_json:
        found = seen.document() if seen else None
        terminal.document({"base": base.ref, "found": base.found, "fingerprint": found, "needs": needs.document()})
        return
    terminal.lines([*base_rows(base), *fingerprint_row(seen), *needs.rows()])
    terminal.say("\nNothing was done. Leave --dry-run out to do it.")


def summary_rows(shipped: Shipped) -> list[tuple[str, str]]:
    """What was made, where, and what it scored, for two columns."""
    document = shipped.info.document
    adapter, merge, prompt, model = (document[part] for part in ("adapter", "merge", "prompt", "model"))
    rows = [("package", f"{shipped.info.path}"), *base_rows(shipped.base), *fingerprint_row(shipped.fingerprint)]
    if "blend" in document["plan"]["reasons"]:
        rows.insert(1, ("blend", document["plan"]["reasons"]["blend"]))
    if merge:
        rows.append(
            (
                "model",
                f"{merge['file']}, {human_size(merge['bytes'])}: {merge['merged']} of {merge['pairs']} "
                f"{'pairs' if adapter else 'tensors'} merged, "
                f"{merge['survival']:.3f} of the update survives",
            )
        )
    else:
        rows.append(("adapter", f"{adapter['file']}, {human_size(adapter['bytes'])}, {adapter['pairs']} pairs"))
    if document["plan"].get("merged"):
        rows.append(("merged", "; ".join(document["plan"]["merged"])))
    if adapter and adapter["folded"]:
        rows.append(("folded", "; ".join(adapter["folded"])))
    proof = prompt["proof"]
    if proof and proof["probes"]:
        how = "have as many tokens" if proof.get("by") == "number" else "rendered"
        rows.append(("prompt", f"{proof['equal']} of {proof['probes']} conversations {how} as in training"))
    if proof and proof.get("unasked") is False:
        asked = str(prompt["thinking"]["think"]).lower()
        rows.append(
            ("thinking", f"clients get that prompt only where they send `think: {asked}`; Ollama's default is true")
        )
    if model["server"]:
        rows.append(("runs on", model["server"]))
    rows += [("note", note) for note in model.get("notes", [])]
    rows += [(name, text) for name, text in document["eval"].get("rows", [])]
    previous = shipped.facts.get("promote", {}).get("previous")
    if previous:
        rows.append(("before", f"the model before it is kept as {previous}"))
    return rows
