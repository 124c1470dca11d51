"""Compile the kernels where there is a C compiler, put the example into the wheel, and refuse to build a wheel that
would lack the vendored converter.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXAMPLE = Path("examples/law-helper")


class WheelHook(BuildHookInterface[Any]):
    """Checks vendor/llama.cpp against its lock before a wheel is built; an editable install needs no vendored files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Stop the build where a file is missing or changed."""
        if self.target_name != "wheel":
            return
        if version == "editable":
            self._compile()
            return
        vendor = Path(self.root) / "vendor"
        lock = json.loads((vendor / "llama.cpp.lock.json").read_text(encoding="utf-8"))
        bad = [name for name, digest in lock["files"].items() if sha256(vendor / "llama.cpp" / name) != digest]
        if bad:
            raise SystemExit(
                f"vendor/llama.cpp is not whole: {len(bad)} of {len(lock['files'])} files are missing or changed"
                f" ({', '.join(bad[:3])}).\nA wheel carries them. Fill the folder first: ./scripts/vendor"
            )
        # The final adapter and its suite are what `ggship demo` needs; the checkpoints would treble the wheel.
        for path in sorted((Path(self.root) / EXAMPLE).rglob("*")):
            inside = path.relative_to(Path(self.root) / EXAMPLE)
            wanted = inside.parts[0] == "lora-out" or inside.name == "suite.yaml"
            if path.is_file() and wanted and not any(part.startswith("checkpoint-") for part in inside.parts):
                build_data["force_include"][str(path)] = f"ggship/_data/example/{inside.as_posix()}"
        self._built = tempfile.TemporaryDirectory()
        library = self._compile(Path(self._built.name))
        if library is not None:
            build_data["force_include"][str(library)] = f"ggship/gguf/{library.name}"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"  # it is loaded with ctypes, by any Python

    def _compile(self, *folder: Path) -> Path | None:
        """The compiled kernels, or None where this machine cannot make them: ggship is only slower then."""
        script = Path(self.root) / "scripts" / "build-kernels"
        done = subprocess.run([sys.executable, script, *folder], capture_output=True, text=True, check=False)
        if done.returncode:
            self.app.display_warning(done.stderr.strip())
            return None
        return Path(done.stdout.strip())


def sha256(path: Path) -> str:
    """The file's hex digest, "" where it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
