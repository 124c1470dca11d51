"""Convert the adapter of a run to GGUF, with the converter that knows its architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ggship.bases.model import Base
from ggship.errors import AdapterUnusable, NotExpressible, UsageError
from ggship.runner import Runner, run_subprocess
from ggship.runs.model import Run

CONVERTERS = ("auto", "native", "llamacpp")
OUTTYPES = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class Conversion:
    """An adapter GGUF that was written: where, by what, and what is in it.

    pairs: low-rank updates in the file. alpha: as written; llama.cpp's scale is alpha / rank of each pair. folded:
    modules whose own scale was multiplied into B, since one alpha cannot say it. bytes: size of the file.
    """

    path: Path
    pairs: int
    converter: str
    converter_version: str
    architecture: str
    outtype: str
    alpha: float
    folded: tuple[str, ...]
    bytes: int


def choose_converter(run: Run, base: Base, asked: str = "auto") -> tuple[str, str]:
    """(native or llamacpp, why in one line). Raises NotExpressible where `native` is asked for and unfit."""
    if asked not in CONVERTERS:
        raise UsageError(f"no such converter: {asked}", hint=f"one of {', '.join(CONVERTERS)}")
    if asked == "llamacpp":
        return "llamacpp", "asked for"
    from ggship.convert.placement import unknown_to_native

    why = unknown_to_native(run, base)
    if why and asked == "native":
        raise NotExpressible(
            "the native converter does not know this base",
            where=why,
            hint="use --converter llamacpp (needs ggship[hf])",
        )
    return ("llamacpp", why) if why else ("native", f"{base.architecture} is known natively")


def convert_adapter(
    run: Run,
    out: Path,
    *,
    base: Base,
    converter: str = "auto",
    outtype: str = "f32",
    force: bool = False,
    log: Path | None = None,
    runner: Runner = run_subprocess,
    on_tensor: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write the adapter of `run` as GGUF to `out`, through `out`.partial; equal inputs give equal bytes.

    log: where all that the vendored converter said is kept if it fails, `out`.log by default. on_tensor(tensors done,
    tensors in all).
    Raises NotExpressible for what no adapter can carry, BaseMismatch for a base that it does not fit, AdapterUnusable
    for NaN, Inf, or an adapter that was never trained (not with `force`), BadFile for a damaged one, MissingExtra and
    ToolFailed where the vendored converter cannot run.
    """
    from ggship.bases.fit import check_fit
    from ggship.convert.placement import folded_modules, place_pairs
    from ggship.convert.routes import require_pairs
    from ggship.convert.versions import native_version

    if outtype not in OUTTYPES:
        raise UsageError(f"no such outtype: {outtype}", hint=f"one of {', '.join(OUTTYPES)}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint=f"name the file to write: --out {out / 'adapter.gguf'}")
    require_pairs(run, base)
    if not force:
        _refuse_untrained_share(run)
    chosen, _ = choose_converter(run, base, converter)
    partial = out.with_name(out.name + ".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        if chosen == "native":
            from ggship.convert.native import write_adapter

            placed = place_pairs(run, base)
            check_fit(run, base)  # shapes, where only the base's config.json is at hand
            trained = write_adapter(
                run, placed, partial, architecture=base.architecture, outtype=outtype, on_tensor=on_tensor
            )
            pairs, version = len(placed), native_version()
        else:
            from ggship.convert.llamacpp import convert_with_llamacpp

            trained, pairs, version = convert_with_llamacpp(
                run,
                partial,
                base=base,
                outtype=outtype,
                runner=runner,
                on_tensor=on_tensor,
                log=log or _log_beside(out),
            )
        if not trained and not force:
            raise _untrained(run)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Conversion(
        path=out,
        pairs=pairs,
        converter=chosen,
        converter_version=version,
        architecture=base.architecture,
        outtype=outtype,
        alpha=float(run.config["lora_alpha"]),
        folded=folded_modules(run),
        bytes=out.stat().st_size,
    )


def _refuse_untrained_share(run: Run) -> None:
    """A run that adds nothing to a blend would not be seen in their sum."""
    if run.shares:
        from ggship.convert.checks import is_trained

        for share in run.shares:
            if not is_trained(share.run):
                raise _untrained(share.run)


def _log_beside(out: Path) -> Path:
    return out.with_name(out.name + ".log")


def _untrained(run: Run) -> AdapterUnusable:
    return AdapterUnusable(
        "the adapter is untrained: every B is zero, so that it changes nothing",
        where=str(run.path),
        hint="point ggship at a run that was trained, or convert it all the same with --force",
        rule="GS206",
    )
