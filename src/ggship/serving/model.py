"""What an engine is told of a packaged model, and the files that come of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ggship.bases.portable import is_repository
from ggship.errors import Refused, UsageError
from ggship.modelfile import parse, to_parameters
from ggship.package import ADAPTER, MODELFILE, PackageInfo
from ggship.releases.names import recall
from ggship.releases.trained import packaged_run

TEMPLATE_FILE = "chat_template.jinja"
ADAPTER_FOLDER = "adapter"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says. base: the repository of the base, where the package names none. image: the OCI image that
    holds, or will hold, the model. url: where the GGUF is to be downloaded from. lora_root: the folder of a bucket that
    holds adapters.
    """

    base: str = ""
    image: str = ""
    url: str = ""
    lora_root: str = ""


@dataclass(frozen=True, slots=True)
class Kit:
    """Ready-to-run files. files: path -> text, or a file to be put there. start: what to type. url: where it answers
    then, up to /v1. notes: what a reader should know.
    """

    files: Mapping[str, str | Path]
    start: str
    url: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lora:
    """A plain LoRA as engines read it. config: adapter_config.json whose alpha / r is the true scale of every module.

    SGLang computes alpha / r whatever use_rslora says (0.5.23, lora/lora.py), so the true scale is written that way.
    """

    tensors: Path
    rank: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """A package as engines see it. context: num_ctx of the package, None where it names none."""

    info: PackageInfo
    options: Options
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, info: PackageInfo, options: Options) -> Served:
        """Read what the package says."""
        modelfile = parse((info.path / MODELFILE).read_text("utf-8"))
        return cls(info, options, to_parameters(modelfile.parameters))

    @property
    def name(self) -> str:
        """What clients ask for."""
        return self.info.name

    @property
    def label(self) -> str:
        """The name as hosts and services may be called: letters, digits and hyphens (RFC 1123)."""
        kept = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in self.name.casefold())
        return "-".join(filter(None, kept.split("-")))[:63].strip("-") or "model"

    @property
    def context(self) -> int | None:
        """Tokens of context."""
        found = self.parameters.get("num_ctx")
        return int(found) if found else None

    @property
    def repository(self) -> str:
        """The base on the hub. UsageError where nobody says which."""
        named = self.options.base or str(self.info.document["base"].get("named") or "")
        if not is_repository(named):
            raise UsageError(
                "this engine loads the base itself, and the package does not say which repository it is",
                where=f"training named {named or 'none'}",
                hint="say it: --base-repo ORG/MODEL",
            )
        return named

    @property
    def revision(self) -> str:
        """The base's revision, "" where none was named."""
        return "" if self.options.base else str(self.info.document["base"].get("revision") or "")

    @property
    def template(self) -> str:
        """The chat template as Jinja, with the package's system prompt where a conversation has none of its own."""
        prompt = self.info.document["prompt"]
        jinja = str(prompt.get("jinja") or "")
        if not jinja:
            raise Refused(
                "the package holds no chat template as Jinja, and this engine reads no other",
                where=str(self.info.path),
                hint="package it again, with this ggship",
            )
        system = prompt.get("system")
        if not system:
            return jinja
        turn = f"{{'role': 'system', 'content': {json.dumps(system)}}}"
        return (
            "{%- if messages[0]['role'] != 'system' -%}"
            f"{{%- set messages = [{turn}] + messages -%}}{{%- endif -%}}{jinja}"
        )

    @property
    def stops_beside_eos(self) -> tuple[str, ...]:
        """Stops of the package that are not the end token of its tokenizer."""
        prompt = self.info.document["prompt"]
        return tuple(stop for stop in prompt["stops"] if stop != prompt.get("eos_token"))

    def lora(self) -> Lora:
        """The adapter as PEFT files. Refused where an engine would get it wrong without a word."""
        run, why = packaged_run(self.info)
        merged = "serve the merged model: --for llama-server, kubernetes or compose"
        if run is None:
            raise Refused("this engine needs the adapter as training left it", where=why, hint=merged)
        other = [item.method for item in run.trained if item.method != "lora"]
        other += ["embeddings" for module in run.modules if module.embedding]
        if other or not run.modules:
            what = ", ".join(sorted(set(other))) or "no plain pairs"
            raise Refused("engines serve plain LoRA beside a base, and nothing else", where=what, hint=merged)
        kinds = {(module.rank, module.scale) for module in run.modules}
        if len(kinds) > 1:
            seen = ", ".join(f"r {rank} at {scale:g}" for rank, scale in sorted(kinds))
            raise Refused("engines take one rank and one scale for a whole adapter", where=seen, hint=merged)
        if len(run.tensor_files) != 1 or run.tensor_files[0].suffix != ".safetensors":
            raise Refused("engines read one adapter_model.safetensors", where=str(run.path), hint=merged)
        ((rank, scale),) = kinds
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.repository,
            "r": rank,
            "lora_alpha": scale * rank,
            "use_rslora": False,
            "bias": "none",
            "target_modules": sorted({module.name.rpartition(".")[2] for module in run.modules}),
            "inference_mode": True,
        }
        return Lora(run.tensor_files[0], rank, config)

    def lora_files(self) -> dict[str, str | Path]:
        """The adapter's folder, and the chat template."""
        lora = self.lora()
        return {
            f"{ADAPTER_FOLDER}/adapter_model.safetensors": lora.tensors,
            f"{ADAPTER_FOLDER}/adapter_config.json": json.dumps(lora.config, indent=2) + "\n",
            TEMPLATE_FILE: self.template,
        }

    def weights(self) -> tuple[Path, Path | None]:
        """(GGUF of the model, or of its base; the adapter, where the package is not merged)."""
        merge = self.info.document.get("merge")
        if merge:
            return self.info.path / str(merge["file"]), None
        adapter = self.info.file(ADAPTER)
        inside = self.info.file("base.gguf")
        known = recall(self.info.name)
        base = inside or (Path(known.base) if known and Path(known.base).is_file() else None)
        if adapter is None or base is None:
            raise Refused(
                "the base's GGUF is not at hand",
                where=str(self.info.document["base"]["used"]),
                hint="package it again with --strategy merge: that model needs no base beside it",
            )
        return base, adapter

    def stop_notes(self) -> tuple[str, ...]:
        """What clients have to send, since the engine takes no stops from a file."""
        stops = self.stops_beside_eos
        if not stops:
            return ()
        return (f"beside its end token the package stops at {json.dumps(list(stops), ensure_ascii=False)}: send it",)


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """YAML as people read it: keys in their order, texts of several lines as they stand, nothing by reference."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, _: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True)
