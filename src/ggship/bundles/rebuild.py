"""Merge adapter and base again on another machine, and prove that it is the same model, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ggship.bundles.export import tensor_digests
from ggship.bundles.manifest import HEADER, Rebuild
from ggship.digests import sha256_file
from ggship.errors import GgshipError, Refused
from ggship.gguf.adapter import read_adapter
from ggship.gguf.merge import merge_adapter
from ggship.gguf.parts import read_model
from ggship.gguf.plan import plan_merge
from ggship.gguf.quantize import Kernels, NativeKernels, NumpyKernels, best_kernels
from ggship.gguf.shared import with_library
from ggship.progress import Progress, Silent, counting

_NAMED = 8


def rebuild_model(recipe: Rebuild, base: Path, adapter: Path, out: Path, progress: Progress) -> str:
    """Write the merged model to `out`; the words of what quantized it.

    Law: `out` has the recipe's sha256, or is not there. Where the quantizers of an installed llama.cpp give other bytes
    than those of libgguf, or the other way round, both are tried. Raises Refused naming the tensors that differ, and
    whatever `merge_adapter` raises.
    """
    force = _same_types(recipe, base, adapter)
    different: dict[str, str] = {}
    for kernels in _all_kernels():
        progress.start("Rebuilding the merged model", unit="tensors")
        try:
            merge_adapter(
                base,
                adapter,
                out,
                quant=recipe.quant,
                force=force,
                metadata=recipe.metadata,
                on_tensor=counting(progress),
                kernels=kernels,
            )
            if sha256_file(out) == recipe.sha256:
                progress.done(f"the same bytes, with {kernels.name}")
                return kernels.name
            progress.done(f"other bytes, with {kernels.name}")
            different[kernels.name] = _differing(recipe, out)
        except GgshipError:
            out.unlink(missing_ok=True)
            if not different:
                raise
        out.unlink(missing_ok=True)
    raise Refused(
        "the model that was rebuilt here is not the one that was proven",
        where="\n".join(f"with {name}: {what}" for name, what in different.items()),
        hint=f"it was made with {recipe.kernels or 'another ggship'}; export it without --thin, and the bytes travel",
    )


def _same_types(recipe: Rebuild, base: Path, adapter: Path) -> bool:
    """Whether the merge must be told to go on where it would refuse: the types that were made tell.

    Raises Refused where no way leads to the types that were made.
    """
    read, touched = read_model(base), set(read_adapter(adapter).pairs)
    wanted = {name: kind for name, (kind, _) in recipe.tensors.items() if name != HEADER}
    for force in (True, False):
        planned = {tensor.tensor: tensor.to_type for tensor in plan_merge(read, touched, recipe.quant, force)}
        if planned == wanted:
            return force
    other = [
        f"{name}: {kind}, made was {wanted.get(name)}" for name, kind in planned.items() if wanted.get(name) != kind
    ]
    raise Refused(
        "this ggship would give the tensors other types than the model that was proven has",
        where="\n".join(other[:_NAMED]) or "tensors are missing here",
        hint="is it the same version? `ggship --version` on both machines",
    )


def _all_kernels() -> Iterator[Kernels]:
    """What this machine can quantize with: the best first, then without kernels.c, then libgguf or numpy alone."""
    try:
        import libgguf

        alone: Kernels = NativeKernels(libgguf)
    except ImportError:
        alone = NumpyKernels()
    found = (best_kernels(), with_library(alone), alone)
    yield from {kernels.name: kernels for kernels in found}.values()


def _differing(recipe: Rebuild, made: Path) -> str:
    found = tensor_digests(made, "", Silent())
    names = [name for name in recipe.tensors if found.get(name) != recipe.tensors[name]]
    names += [f"{name} (not in the proven model)" for name in found if name not in recipe.tensors]
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"{len(names)} of {len(recipe.tensors)} pieces differ: {shown}" if names else "only the padding differs"
