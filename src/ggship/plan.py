"""What will be done with a run, and why: decided once, before any work, and printed by `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import AdaptersRefused, BaseNotFound, NotExpressible, UsageError
from ggship.place import name_for
from ggship.runs.several import RunRef

if TYPE_CHECKING:
    from ggship.bases.fit import Fit
    from ggship.bases.model import Base
    from ggship.convert.routes import Route
    from ggship.runs.model import Run
    from ggship.runtimes.model import Runtime

DEFAULT_QUANT = "Q8_0"
"""For a 16-bit base: an update keeps best in it at half the size (8B: 97.7 % same top token, llama.cpp#6936)."""


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """What the user asked `ggship package` for. Paths are as given; None means: let ggship decide.

    more: further runs of the same base, to be added up with `run`. weight: that of `run`. scale: of the whole update.
    gates: rules beside those of the suite. concurrency, fresh: how the suite is asked (evals/runner.py, evals/kept.py).
    """

    run: Path
    name: str
    more: tuple[RunRef, ...] = ()
    weight: float = 1.0
    scale: float = 1.0
    base: str | None = None
    out: Path | None = None
    strategy: str = "auto"
    quant: str | None = None
    outtype: str = "f32"
    converter: str = "auto"
    system: str | None = None
    template: str | None = None
    parameters: tuple[str, ...] = ()
    suite: Path | None = None
    gates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    judge: str | None = None
    judge_prompt: Path | None = None
    embedder: str | None = None
    concurrency: int | None = None
    fresh: bool = False
    evaluate: bool = True
    host: str | None = None
    runtime: str = "auto"
    checkpoint: str | None = None
    pull: bool = False
    force: bool = False
    allow_pickle: bool = False
    strict: bool = False

    @property
    def folder(self) -> Path:
        """Where the package goes: --out, else dist/NAME."""
        return self.out or Path("dist") / name_for(self.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions, each with its reason.

    strategy: "adapter" or "merge". route: how the run gets into GGUF (convert/routes.py). quant: what the merged
    model's weights become, None where each tensor keeps its type (touched tensors of a quantized base then become
    Q8_0). base_file: whether the base's weights must lie in the package, since no server holds them under a name.
    reasons: (what, decision and why) in the order they are printed.
    """

    strategy: str
    route: Route
    quant: str | None
    base_file: bool
    reasons: tuple[tuple[str, str], ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def merged_name(self) -> str:
        """The file name of the merged model."""
        return f"model.{(self.quant or DEFAULT_QUANT).lower()}.gguf"

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "strategy": self.strategy,
            "route": self.route.kind,
            "merged": list(self.route.merged),
            "quant": self.quant,
            "reasons": dict(self.reasons),
            "sizes": dict(self.sizes),
        }


def decide(options: PackageOptions, run: Run, base: Base, runtime: Runtime | None, fit: Fit, route: Route) -> Plan:
    """Choose strategy and quantization.

    Raises AdaptersRefused, NotExpressible, MissingExtra or BaseNotFound where what was asked cannot be.
    """
    if options.quant:
        from ggship.gguf.mix import parse_quant

        parse_quant(options.quant)  # a word that means nothing is found now, not after the conversion
    strategy, why = _strategy(options, runtime, route)
    reasons = [("strategy", f"{strategy}: {why}")]
    if route.merged:
        reasons.append(("merged", "; ".join(route.merged)))
    quant = None
    if strategy == "merge":
        quant, why = _quant(options.quant, base, options.force)
        reasons.append(("quantization", why))
    elif options.quant:
        raise UsageError(
            "--quant is for merged models; an adapter is served beside the base as it is",
            hint="add --strategy merge, or leave --quant out",
        )
    served_by_name = base.from_name is not None and runtime is not None and runtime.kind == "ollama"
    base_file = strategy == "adapter" and not served_by_name
    if base.own_prompt and base.from_name is None:
        reasons.append(("base", f"the weights of {base.ollama_name} alone: its {base.own_prompt} would win over ours"))
    elif base.own_prompt and strategy == "adapter":
        reasons.append(("base", f"its {base.own_prompt} is inherited and wins over a TEMPLATE: the proof will tell"))
    if base_file or strategy == "merge":
        _need_weights(base, "merging" if strategy == "merge" else "a package that no server serves the base for")
    if route.kind == "peft":
        from ggship.convert.peft import need_peft

        need_peft("merging this adapter with PEFT")
    folded = _fold_reason(run)
    if folded and route.kind == "pairs":
        reasons.append(("folded", folded))
    reasons += _blend_reason(run)
    sizes = _sizes(options, run, base, strategy, quant, fit, route)
    return Plan(strategy, route, quant, base_file, tuple(reasons), sizes)


def _strategy(options: PackageOptions, runtime: Runtime | None, route: Route) -> tuple[str, str]:
    takes_adapters = runtime is not None and runtime.accepts_adapters()
    server = runtime.describe() if runtime else "no server"
    asked, servable = options.strategy, route.kind == "pairs"
    if asked == "adapter" and not servable:
        raise NotExpressible(
            "a GGUF adapter cannot carry all that was trained",
            where="\n".join(route.merged),
            hint="use --strategy merge (or auto): it goes into the base's weights, exactly",
            code=route.code,
        )
    if asked == "adapter":
        if runtime is not None and not takes_adapters:
            hint = "use --strategy merge (or auto)"
            raise AdaptersRefused("this server refuses LoRA adapters", where=server, hint=hint)
        return "adapter", "as you asked"
    if asked == "merge":
        return "merge", "as you asked"
    if not servable:
        return "merge", route.reason
    if takes_adapters:
        return "adapter", f"{server} takes adapters, and this one is exactly representable"
    if runtime is None:
        return "merge", "no server is involved, and a merged model runs on every one"
    return "merge", f"{server} takes no adapters"


def _need_weights(base: Base, what: str) -> None:
    if base.gguf is None and base.config_dir is None:
        raise BaseNotFound(
            f"{what} needs the base's weights as a file on this machine",
            where=f"{base.ref} ({base.found}) is not readable here",
            hint="name the same model as a file with --base FILE.gguf",
        )
    if base.gguf is None and base.config_dir is not None:
        from ggship.bases.to_gguf import need_convertible

        need_convertible(base.config_dir)


def _quant(asked: str | None, base: Base, force: bool) -> tuple[str | None, str]:
    if base.quantized:
        if asked is None:
            return None, f"touched tensors Q8_0, the rest stays {base.file_type} byte for byte (the base is quantized)"
        if force and _is_wider(asked, base.file_type):
            return asked, f"{asked} for touched tensors; the rest stays {base.file_type}, which has no more to give"
        if force:
            return asked, f"{asked} for all, forced on a {base.file_type} base: the update may be erased"
        return asked, f"{asked} where the base is not {base.file_type} already; touched tensors at Q8_0 or above"
    if asked is None:
        return DEFAULT_QUANT, f"{DEFAULT_QUANT}: half the size of {base.file_type or '16 bit'}, and the update survives"
    return asked, f"{asked}, as you asked, with llama.cpp's own mix per tensor"


def _is_wider(asked: str, has: str) -> bool:
    from ggship.gguf.mix import FILE_TYPES, parse_quant
    from ggship.gguf.types import GgmlType

    return FILE_TYPES[parse_quant(asked)][1].bits > GgmlType[has].bits


def _fold_reason(run: Run) -> str:
    config = run.config
    if config.get("use_rslora"):
        return "rsLoRA's scale (alpha / sqrt(rank)) goes into B, exactly: GGUF knows only alpha / rank"
    if config.get("alpha_pattern"):
        return "the modules' own alphas go into B, exactly: GGUF knows only one"
    return ""


def _blend_reason(run: Run) -> list[tuple[str, str]]:
    if not run.shares:
        return []
    one = len(run.shares) == 1
    how = "all of its update times its weight" if one else "the sum of their updates, each times its weight, exactly"
    return [("blend", f"{', '.join(share.label for share in run.shares)}: {how}")]


def _sizes(
    options: PackageOptions, run: Run, base: Base, strategy: str, quant: str | None, fit: Fit, route: Route
) -> dict[str, int]:
    """Bytes to expect, by file: headers are small beside them, and not counted."""
    sizes = {}
    if route.kind == "pairs":
        sizes["adapter.gguf"] = run.parameters * (4 if options.outtype == "f32" else 2)
    if strategy == "merge":
        if base.gguf:
            sizes["base"] = base.gguf.stat().st_size
        merged = _merged_size(base, quant, fit, options.force, route)
        if merged:
            sizes["merged model"] = merged
    return sizes


def _merged_size(base: Base, quant: str | None, fit: Fit, force: bool, route: Route) -> int:
    """As the merge itself will plan it; of a directory, whose GGUF may not be made yet, by the type of most weights."""
    from ggship.convert.routes import EMBEDDING, HEAD

    if base.gguf is not None:
        from ggship.gguf.parts import read_model
        from ggship.gguf.plan import plan_merge

        model, touched = read_model(base.gguf), set(fit.targets.values())
        if route.own_head:
            heads = [replace(tensor, name=HEAD) for tensor in model.tensors if tensor.name == EMBEDDING]
            model = replace(model, tensors=(*model.tensors, *heads))
        return sum(tensor.nbytes for tensor in plan_merge(model, touched, quant, force))
    from ggship.gguf.mix import FILE_TYPES, parse_quant

    kind = FILE_TYPES[parse_quant(quant or DEFAULT_QUANT)][1]
    shapes = [tensor.shape for tensor in base.tensors.values()]
    shapes += [base.tensors[EMBEDDING].shape] if route.own_head and EMBEDDING in base.tensors else []
    return sum(kind.row_bytes(-(-prod(shape) // kind.block) * kind.block) for shape in shapes)
