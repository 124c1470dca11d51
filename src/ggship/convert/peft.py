"""Merge an adapter by PEFT itself, into the base's own weights: for what ggship cannot merge in GGUF.

Slower and larger than the way in GGUF: the whole base is in memory, and once more on the disk. It is proved on the way:
every tensor of the adapter was loaded, some weight changed, and the merged model answers as base and adapter do.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from ggship.bases.from_directory import weight_files
from ggship.bases.from_gguf import base_from_gguf
from ggship.convert.vendored import script_environment, vendored_llama_cpp
from ggship.errors import BadFile, BaseNotFound, MissingExtra, NotExpressible, ToolFailed, UsageError
from ggship.gguf.reader import read_gguf
from ggship.runner import Completed, Runner, run_subprocess
from ggship.runs.headers import read_headers
from ggship.runs.model import Run

MODULE = "ggship.convert.peft_child"
WEIGHTS_MODULE = "ggship.convert.weights_child"
SCRIPT = "convert_hf_to_gguf.py"
TIMEOUT_SECONDS = 4 * 3600.0
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}
OUTTYPES = {"f32": 4, "f16": 2, "bf16": 2}
# peft_type of methods whose code was read (PEFT 0.21): all that they trained is in the adapter's file, or is drawn from
# a seed in its config, and what they take from the base does not depend on the signs of a decomposition.
READ_METHODS = frozenset(
    ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "VERA", "OFT", "LN_TUNING", "TRAINABLE_TOKENS", "BOFT", "HRA", "MISS",
     "FOURIERFT", "SHIRA", "C3A", "ROAD", "DELORA", "GRALORA", "OSF", "WAVEFT", "TINYLORA", "PEANUT", "DEFT", "GLORA",
     "HIRA", "UNILORA", "VBLORA", "SUPERTUNING", "RANDLORA", "PVERA", "BEFT")
)  # fmt: skip
_REFUSED_METHODS = {
    "PSOFT": ("recomputed", "PEFT rebuilds PSOFT's factors from the base by SVD, whose signs are each machine's own"),
    "FROD": ("recomputed", "PEFT rebuilds FRoD's factors from the base, and not as they were when it was trained"),
    "LILY": ("unmergeable", "PEFT has no merged form of Lily: what it computes depends on the input"),
    "SHADOW": ("unmergeable", "PEFT has no merged form of Shadow: what it computes depends on the input"),
}
_NEEDED = ("torch", "transformers", "peft", "safetensors")
_OVERHEAD_BYTES = 1_500_000_000  # torch, transformers, PEFT and what they allocate once
HINTS = {
    "base-incomplete": "pass a directory with all of the base's weights with --base",
    "base-unreadable": "pass the same model as a Hugging Face directory, --base DIRECTORY or hf:REPO",
    "keys-left-over": "pass the base that training named with --base, and the PEFT release that training used or later",
    "peft-refuses": "pass the base that training named with --base, and install the PEFT release that training used",
    "not-proven": "serve it with Transformers and PEFT, or train with a method that ggship knows",
    "recomputed": "serve it with Transformers and PEFT on the machine that trained it, or train with another method",
    "unmergeable": "serve it with Transformers and PEFT; there is no merged form of it",
    "unchanged": "check that training ran and that this is its output",
    "merged-differs": "serve it with Transformers and PEFT, or train with a method that merges exactly",
    "untied-head": "train again without embed_tokens and lm_head, which this architecture has as one",
}


@dataclass(frozen=True, slots=True)
class PeftMerge:
    """A model that PEFT merged. folder: it, as a Hugging Face directory.

    changed: names of the weights that are no longer the base's, of `weights` in all. effect, difference: largest
    difference of a log-probability (nats) on a probe of random tokens, between base and base with adapter, and between
    that and the merged model. untied: the output head is no longer the embedding. vocabulary: rows of the embedding.
    """

    folder: Path
    weights: int
    changed: tuple[str, ...]
    effect: float
    difference: float
    untied: bool
    vocabulary: int
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PeftNeeds:
    """What a merge by PEFT takes, in bytes: of memory, and of disk beside the result (all of it at once)."""

    memory: int
    disk: int


def need_peft(purpose: str) -> None:
    """Raise MissingExtra unless torch, transformers and PEFT are installed; imports none of them."""
    if not all(find_spec(name) for name in _NEEDED):
        raise MissingExtra("hf", needed_for=purpose)


def peft_needs(run: Run, base: Path, *, dtype: str = "float32", outtype: str = "f32") -> PeftNeeds:
    """What `merge_with_peft` and `merged_to_gguf` will take, from headers alone.

    base: a Hugging Face directory, or a GGUF file. The base is in memory once, and one weight of it twice more while it
    is merged safely; the directory and the GGUF file that is made of it lie on the disk together.
    """
    sizes = [prod(shape) for shape in _base_shapes(base)]
    adapter = sum(prod(tensor.shape) for tensor in run.tensors.values())
    weights, width = sum(sizes), DTYPES[_known(dtype, DTYPES, "dtype")]
    memory = weights * width + 2 * max(sizes, default=0) * width + 2 * adapter * 4 + _OVERHEAD_BYTES
    return PeftNeeds(memory, weights * (width + OUTTYPES[_known(outtype, OUTTYPES, "outtype")]) + adapter * 4)


def merge_with_peft(
    run: Run,
    base: Path,
    out: Path,
    *,
    dtype: str = "float32",
    runner: Runner = run_subprocess,
    log: Path | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> PeftMerge:
    """Write base + adapter, merged, to the folder `out`, through `out`.partial.

    base: a Hugging Face directory, or a GGUF file of an architecture that transformers reads (it loses nothing but
    speed; a quantized one is dequantized). dtype: what is computed and saved in; in 16 bits a small update rounds away.
    log: where the child's whole output goes where it fails. Code of the model's own is never run.

    Raises MissingExtra without ggship[hf], BaseNotFound where the base's weights are not there, NotExpressible where
    PEFT cannot merge the adapter or merges it into something else, ToolFailed with the child's last lines otherwise.
    """
    _refuse_method(str(run.config.get("peft_type")))
    need_peft("merging this adapter with PEFT")
    _known(dtype, DTYPES, "dtype")
    if not (base.is_file() or weight_files(base)):
        raise BaseNotFound(
            "PEFT merges into the base's own weights, and they are not there (or not all of them)",
            where=str(base),
            hint="--base DIRECTORY with config.json and model.safetensors, or hf:REPO",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        work = Path(scratch)
        made, plain, told, given = work / "merged", work / "adapter", work / "result.json", work / "spec.json"
        plain.mkdir()
        spec = {
            "base": str((base.parent if base.is_file() else base).resolve()),
            "gguf_file": base.name if base.is_file() else None,
            "adapter": str(run.path.resolve()),
            "tensors": [str(file.resolve()) for file in run.tensor_files],
            "out": str(made),
            "scratch": str(plain),
            "result": str(told),
            "dtype": dtype,
        }
        given.write_text(json.dumps(spec), encoding="utf-8")
        # A folder of ours as the working directory: `-m` would import from the user's.
        done = runner([sys.executable, "-m", MODULE, str(given)], cwd=plain, env=_environment(), timeout=timeout)
        if done.returncode != 0 or not told.is_file():
            raise _failed("PEFT could not merge the adapter", done, log)
        result: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        if "refused" in result:
            raise _refusal(result["refused"])
        _replace_folder(made, out)
    return PeftMerge(
        folder=out,
        weights=result["weights"],
        changed=tuple(result["changed"]),
        effect=result["effect"],
        difference=result["difference"],
        untied=result["untied"],
        vocabulary=result["vocabulary"],
        versions=result["versions"],
    )


def merged_to_gguf(
    merge: PeftMerge,
    out: Path,
    *,
    outtype: str = "f32",
    runner: Runner = run_subprocess,
    log: Path | None = None,
) -> Path:
    """The weights of the merged model as a GGUF file, by the vendored converter, through `out`.partial.

    It has no vocabulary: the weights are for the base's own GGUF file (gguf/updates/between.py).
    Raises ToolFailed with the converter's last lines, NotExpressible where the file would lack the output head: for
    some architectures the converter leaves one that is not the embedding out, without a word (gemma2).
    """
    need_peft("converting the merged model to GGUF")
    _known(outtype, OUTTYPES, "outtype")
    script = vendored_llama_cpp() / SCRIPT
    partial = out.with_name(f"{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    argv = [
        sys.executable,
        "-m",
        WEIGHTS_MODULE,
        str(script),
        "--outtype",
        outtype,
        "--outfile",
        str(partial.resolve()),
    ]
    try:
        done = runner([*argv, str(merge.folder.resolve())], cwd=out.parent, env=_environment(), timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not partial.is_file():
            raise _failed("llama.cpp's converter could not convert what PEFT merged", done, log)
        made = base_from_gguf(partial)
        if merge.untied and "output.weight" not in made.tensors:
            raise _refusal(
                {
                    "code": "untied-head",
                    "what": f"llama.cpp knows {made.architecture} only with the embedding as the output head, and "
                    "training has made two of them",
                    "where": "lm_head.weight",
                }
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _refuse_method(kind: str) -> None:
    code, what = _REFUSED_METHODS.get(kind, ("", ""))
    if kind not in READ_METHODS and not code:
        code, what = "not-proven", "ggship does not know whether PEFT rebuilds all that was trained from the file alone"
    if code:
        raise _refusal({"code": code, "what": what, "where": f"adapter_config.json: peft_type {kind}"})


def _base_shapes(base: Path) -> list[tuple[int, ...]]:
    if base.is_file():
        return [tensor.shape for tensor in read_gguf(base).tensors]
    return [tensor.shape for file in weight_files(base) for tensor in read_headers(file).tensors.values()]


def _environment() -> dict[str, str]:
    """The converter's, without a GPU (its sums differ from run to run), and with paths that hold in another folder."""
    env = {**script_environment(), "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    if env.get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in env["PYTHONPATH"].split(os.pathsep))
    return env


def _replace_folder(made: Path, out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is there already", hint="name an empty folder, or one that is not there")
    if not made.is_dir():
        raise BadFile("PEFT's merge left no folder", where=str(made))
    made.replace(out)


def _refusal(told: Mapping[str, str]) -> NotExpressible:
    return NotExpressible(told["what"], where=told["where"], hint=HINTS.get(told["code"], ""), code=told["code"])


def _failed(message: str, done: Completed, log: Path | None) -> ToolFailed:
    where = done.tail()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.output, encoding="utf-8")
        where += f"\nall of it: {log}"
    if done.returncode in (-9, 137):
        return ToolFailed(
            f"{message}: the process was killed",
            where=where,
            hint="it was too little memory, most likely; see --dry-run",
        )
    return ToolFailed(f"{message} (status {done.returncode})", where=where)


def _known(value: str, choices: Mapping[str, int], what: str) -> str:
    if value not in choices:
        raise UsageError(f"no such {what}: {value}", hint=f"one of {', '.join(choices)}")
    return value
