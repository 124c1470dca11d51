"""What works on this machine: looked at, never changed, in under two seconds."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ggship import __version__
from ggship.errors import GgshipError
from ggship.settings import cache_dir, state_dir

State = Literal["ok", "missing", "broken"]

# Package -> the module that it brings. A test holds this to pyproject.toml.
CORE = {
    "click": "click",
    "filelock": "filelock",
    "gguf": "gguf",
    "httpx": "httpx",
    "huggingface-hub": "huggingface_hub",
    "jinja2": "jinja2",
    "jsonschema": "jsonschema",
    "libgguf": "libgguf",
    "numpy": "numpy",
    "platformdirs": "platformdirs",
    "pyyaml": "yaml",
    "rapidfuzz": "rapidfuzz",
    "rich": "rich",
    "safetensors": "safetensors",
}
EXTRAS = {
    "hf": ({"torch": "torch", "transformers": "transformers", "peft": "peft"}, "every architecture, and the reference"),
    "embedded": ({"xllamacpp": "xllamacpp"}, "running models without Ollama"),
    "zh": ({"rjieba": "rjieba"}, "splitting Chinese into words"),
    "sign": ({"model-signing": "model_signing"}, "signing packages"),
}
SERVER_SECONDS = 1.8
LITTLE_DISK = 5 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. state: "broken" is what ggship cannot do without, "missing" what it can."""

    name: str
    state: State
    found: str
    hint: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As `ggship doctor --json` prints it."""
        return {"name": self.name, "state": self.state, "found": self.found, "hint": self.hint, **self.details}


def checkup(host: str | None = None, env: Mapping[str, str] = os.environ) -> list[Check]:
    """Look at everything, in the order in which a user would want to know it."""
    ollama = _in_time(lambda: _ollama(host, env), _too_slow)
    embedded = _embedded()
    if ollama.state != "ok" and embedded.state != "ok":
        ollama = Check(
            ollama.name,
            ollama.state,
            ollama.found,
            ollama.hint or "start Ollama (`ollama serve`), or: pip install 'ggship[embedded]'",
            ollama.details,
        )
    return [
        Check("ggship", "ok", f"{__version__} ({Path(__file__).parent})", details={"version": __version__}),
        _python(),
        _core(),
        _kernels(),
        ollama,
        embedded,
        _converter(),
        *(_extra(name) for name in EXTRAS if name != "embedded"),
        _folder("state", state_dir()),
        _folder("cache", cache_dir()),
        _disk(Path.cwd()),
    ]


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} ({sys.executable})")


def _core() -> Check:
    versions = {name: _version(name) for name in CORE if importlib.util.find_spec(CORE[name]) is not None}
    lost = [name for name in CORE if name not in versions]
    # There is no libgguf for Linux on ARM: F16 and Q8_0 go without it.
    needed = [name for name in lost if name != "libgguf"]
    found = ", ".join(f"{name} {versions[name]}" for name in versions)
    if needed:
        return Check("packages", "broken", f"not installed: {', '.join(needed)}", f"pip install {' '.join(needed)}")
    if lost:
        hint = "K-quants then need compiled kernels or llama-quantize on the PATH; F16, BF16 and Q8_0 work"
        return Check("packages", "missing", f"{found}; no libgguf", hint, {"versions": versions})
    return Check("packages", "ok", found, details={"versions": versions})


def _kernels() -> Check:
    from ggship.gguf.installed import compiled_kernels

    library = compiled_kernels()
    why = "not compiled"
    if library is not None:
        import ctypes

        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            why = f"cannot be loaded ({error})"
        else:
            return Check("kernels", "ok", f"compiled ({library.name})")
    hint = "for speed alone: install a C compiler, then ggship again; the bytes are the same"
    return Check("kernels", "missing", f"{why}: merges are done in Python and libgguf", hint)


def _extra(name: str) -> Check:
    packages, purpose = EXTRAS[name]
    lost = [package for package, module in packages.items() if importlib.util.find_spec(module) is None]
    if lost:
        found = f"not installed ({', '.join(lost)}); for {purpose}"
        return Check(f"extra {name}", "missing", found, f"pip install 'ggship[{name}]'")
    return Check(f"extra {name}", "ok", ", ".join(f"{package} {_version(package)}" for package in packages))


def _embedded() -> Check:
    check = _extra("embedded")
    return Check("embedded", check.state, check.found, check.hint)


def _converter() -> Check:
    from ggship.convert.vendored import vendor_status

    try:
        status = vendor_status()
    except GgshipError as error:
        return Check("converter", "broken", str(error), error.hint, {"whole": False, "present": False})
    details = {
        "present": status.present,
        "whole": status.whole,
        "release": status.release,
        "bad_files": list(status.bad_files),
    }
    if status.whole:
        return Check("converter", "ok", f"{status.release}, whole", details=details)
    if not status.present:
        hint = (
            "in a checkout: ./scripts/vendor (only architectures that ggship has no converter of its own for need it)"
        )
        return Check("converter", "missing", "the vendored llama.cpp converter is not there", hint, details)
    count = len(status.bad_files)
    found = f"{status.release}: {count} file{'s' * (count != 1)} missing or changed ({', '.join(status.bad_files[:3])})"
    return Check("converter", "broken", found, "install ggship again; in a checkout: ./scripts/vendor", details)


def _ollama(host: str | None, env: Mapping[str, str]) -> Check:
    from ggship.runtimes.find import find_runtime
    from ggship.runtimes.ollama import OllamaRuntime

    try:
        runtime = find_runtime("ollama", host, env)
    except GgshipError as error:
        named = bool((host or "").strip() or env.get("OLLAMA_HOST", "").strip())
        return Check("Ollama", "missing", str(error) if named else error.where, error.hint if named else "")
    if not isinstance(runtime, OllamaRuntime):
        raise AssertionError("find_runtime gives what was asked for")
    try:
        adapters = runtime.accepts_adapters()
        models = len(runtime.client.tags())
        where = "on this machine" if runtime.is_local() else "remote: bases that it holds cannot be merged from here"
        does = "takes adapters, and merged models" if adapters else "takes no adapters (since 0.34.1): ggship merges"
        details = {"url": runtime.client.url, "version": runtime.version, "adapters": adapters, "models": models}
        return Check(
            "Ollama",
            "ok",
            f"{runtime.version} at {runtime.client.url}, {where}; {does}; {models} model{'s' * (models != 1)}",
            details=details,
        )
    except GgshipError as error:
        return Check("Ollama", "missing", str(error), error.hint)
    finally:
        runtime.close()


def _too_slow() -> Check:
    return Check(
        "Ollama", "missing", f"no answer within {SERVER_SECONDS:.0f} s", "is the address right? --host, OLLAMA_HOST"
    )


def _folder(name: str, path: Path) -> Check:
    try:
        there = path
        while not there.exists():
            there = there.parent
        usable = there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)
        why = "cannot be read and written"
    except OSError as error:  # a folder above it may not be looked into
        usable, why = False, (error.strerror or str(error)).lower()
    if usable:
        return Check(name, "ok", str(path))
    variable = f"GGSHIP_{name.upper()}_DIR"
    return Check(name, "broken", f"{path}: {why}", f"{variable}=DIR puts it elsewhere")


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(path).free
    found = f"{free / (1 << 30):.1f} GiB free in {path}"
    if free < LITTLE_DISK:
        return Check("disk", "missing", found, "a merged 7B model takes 4 to 15 GB: --out puts it on another disk")
    return Check("disk", "ok", found, details={"free_bytes": free})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(version unknown)"


def _in_time(look: Callable[[], Check], otherwise: Callable[[], Check]) -> Check:
    """What `look` finds, or `otherwise` where it takes too long: a doctor does not keep one waiting."""
    found: list[Check] = []
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(SERVER_SECONDS)
    return found[0] if found else otherwise()
