"""What of a package goes to the Hugging Face hub, and under which names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ggship.bases.portable import is_repository
from ggship.digests import CHUNK_BYTES, sha256_file
from ggship.modelfile import Modelfile, parse, to_parameters
from ggship.package import ADAPTER, CARD, MODELFILE, SUMS, PackageInfo
from ggship.publish.hub_card import hub_card
from ggship.publish.target import HubPlace
from ggship.releases.trained import packaged_run
from ggship.runs import Run

ADAPTER_FOLDER = "adapter"
_BUNDLED = ("adapter_model.safetensors", "adapter_config.json")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file for the hub: its path there, and where its content is: a file here, or these bytes."""

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def sha256(self) -> str:
        """What the hub tells of a large file."""
        return hashlib.sha256(self.source).hexdigest() if isinstance(self.source, bytes) else sha256_file(self.source)

    def git_oid(self) -> str:
        """What the hub tells of a small file: git's name of the content."""
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        if isinstance(self.source, bytes):
            digest.update(self.source)
        else:
            with self.source.open("rb") as file:
                for data in iter(partial(file.read, CHUNK_BYTES), b""):
                    digest.update(data)
        return digest.hexdigest()


def hub_files(info: PackageInfo, place: HubPlace) -> tuple[tuple[HubFile, ...], tuple[str, ...]]:
    """(files, notes): weights, adapter, card, Modelfile, Ollama's files, and SHA256SUMS of them all.

    The adapter lies in a folder of its own where a merged model is there too: the hub and Ollama take what lies at the
    top for the model. notes: what was left out, and why. Equal packages give equal files.
    """
    modelfile = parse((info.path / MODELFILE).read_text("utf-8"))
    merged = info.document.get("merge")
    folder = f"{ADAPTER_FOLDER}/" if merged else ""
    files = [HubFile(str(merged["file"]), info.path / str(merged["file"]))] if merged else []
    if info.file(ADAPTER):
        files.append(HubFile(f"{folder}{ADAPTER}", info.path / ADAPTER))
    peft, notes = _peft(info, folder)
    files += peft
    if modelfile.adapter is None or not folder:
        files.append(HubFile(MODELFILE, info.path / MODELFILE))
    files += ollama_files(info, modelfile)
    files.append(HubFile(CARD, hub_card(info, place, [file.path for file in files]).encode("utf-8")))
    sums = "".join(f"{file.sha256()}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return (*files, HubFile(SUMS, sums.encode("utf-8"))), notes


def ollama_files(info: PackageInfo, modelfile: Modelfile) -> list[HubFile]:
    """The files `template`, `system` and `params`, which `ollama run hf.co/USER/REPO` reads (hub docs: "Ollama").

    Without `template` the GGUF's own chat template is used, as in the package.
    """
    prompt = info.document["prompt"]
    system = prompt["system"] if prompt.get("not_in_modelfile") else modelfile.system
    stops = tuple(prompt["stops"]) if prompt.get("not_in_modelfile") else modelfile.stops
    rest = tuple(pair for pair in modelfile.parameters if pair[0] != "stop")
    parameters = to_parameters((*(("stop", stop) for stop in stops), *rest))
    found = [("template", modelfile.template), ("system", system)]
    files = [HubFile(name, text.encode("utf-8")) for name, text in found if text]
    if parameters:
        text = json.dumps(parameters, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        files.append(HubFile("params", text.encode("utf-8")))
    return files


def _peft(info: PackageInfo, folder: str) -> tuple[list[HubFile], tuple[str, ...]]:
    """The adapter as training left it, where the run is at hand and still is what was packaged."""
    if info.document["run"].get("shares"):
        return [], ("the adapter of a blend is there as GGUF alone: its runs are several",)
    run, why = packaged_run(info)
    if run is None:
        return [], (f"the PEFT adapter is left out: {why}",)
    files = {path.name: path for path in run.tensor_files}
    if set(files) != {_BUNDLED[0]}:
        return [], (f"the PEFT adapter is left out: it is not one {_BUNDLED[0]}",)
    config = HubFile(f"{folder}{_BUNDLED[1]}", _config(run))
    return [HubFile(f"{folder}{_BUNDLED[0]}", files[_BUNDLED[0]]), config], ()


def _config(run: Run) -> bytes:
    """adapter_config.json; without a base that is a path of this machine: that means nothing elsewhere."""
    config = dict(run.config)
    if not is_repository(str(config.get("base_model_name_or_path") or "")):
        config["base_model_name_or_path"] = None
    return (json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode("utf-8")


def listed(sums: str) -> Sequence[str]:
    """The paths in a SHA256SUMS of ours."""
    return [line.partition("  ")[2] for line in sums.splitlines() if len(line.partition("  ")[0]) == 64]
