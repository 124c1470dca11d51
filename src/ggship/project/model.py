"""A project as a value, and the commands that it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ggship.runs.several import RunRef

FILE = "ggship.yaml"

Kind = Literal["text", "choice", "number", "yes", "list", "file"]


@dataclass(frozen=True, slots=True)
class Option:
    """A key of the file that is an option of a command. kind: what stands there; choices: for a choice, all of them."""

    name: str
    kind: Kind
    about: str
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How the file spells it: --allow-pickle is allow_pickle there."""
        return self.name.replace("-", "_")


PACKAGE = (
    Option("scale", "number", "Multiply the whole update by this."),
    Option("strategy", "choice", "Serve the adapter beside its base, or merge both.", ("auto", "adapter", "merge")),
    Option("quant", "text", "F16, BF16, Q8_0, Q6_K, Q5_K_M or Q4_K_M for a merge."),
    Option("outtype", "choice", "Precision of the adapter's tensors.", ("f32", "f16", "bf16")),
    Option("converter", "choice", "Our own converter, or llama.cpp's.", ("auto", "native", "llamacpp")),
    Option("system", "text", "A system prompt for every conversation."),
    Option("template", "text", "The chat template of training: a file, or a name."),
    Option("parameter", "list", "Modelfile parameters, each NAME=VALUE."),
    Option("tag", "list", "Only the tests of the suite with one of these tags."),
    Option("judge", "text", "The model that decides llm-rubric: URL#MODEL, or a name."),
    Option("judge-prompt", "file", "A file with what the judge is told."),
    Option("embedder", "text", "The model for `similar`: URL#MODEL, or a name."),
    Option("concurrency", "number", "Questions at a time."),
    Option("runtime", "choice", "Where the model is created and asked.", ("auto", "ollama", "embedded", "none")),
    Option("pull", "yes", "Allow downloading the base."),
    Option("allow-pickle", "yes", "Read pickled weights, nothing but tensors."),
    Option("strict", "yes", "Stop at warnings too."),
    Option("all-checkpoints", "yes", "Package each checkpoint; the best by the suite goes live."),
)
"""Options of `ggship package` that a project may set beside its own keys. Plugins are code: they are named by hand."""

PUBLISH = (
    Option("public", "yes", "A repository on the hub that everyone sees; private otherwise."),
    Option("insecure", "yes", "Plain http to a registry outside this machine and private networks."),
)

GATEWAY = (
    Option("url", "text", "The gateway's address, for one that was not added."),
    Option("kind", "text", "What it is, where it cannot be found out."),
    Option("config", "file", "LiteLLM without a database: the YAML file that ggship writes."),
    Option("public", "text", "The name that clients ask for."),
    Option("mode", "choice", "Which of Ollama's APIs it asks.", ("native", "openai")),
    Option("group", "text", "The gateway's user groups."),
    Option("upstream", "text", "Ollama's address as the gateway reaches it."),
    Option("rpm", "number", "Requests a minute, at most."),
    Option("tpm", "number", "Tokens a minute, at most."),
)

Value = str | float | bool | Path | tuple[str, ...]
Options = Mapping[str, Value]
"""By the name of the option."""


@dataclass(frozen=True, slots=True)
class Target:
    """A place to publish to, as `ggship publish --to` takes it."""

    to: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway to lead to the model. name: one that was added; "" where its url says which."""

    name: str
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the way. subject: what it is about, for people."""

    command: tuple[str, ...]
    arguments: tuple[str, ...]
    subject: str


@dataclass(frozen=True, slots=True)
class Project:
    """What ggship.yaml says. Relative paths in it were relative to the file; here they lead there from anywhere.

    out: None for dist/NAME beside the file. host: None for what the environment says.
    """

    path: Path
    runs: tuple[RunRef, ...]
    name: str
    out: Path | None = None
    base: str | None = None
    suite: Path | None = None
    gates: tuple[str, ...] = ()
    host: str | None = None
    package: Options = field(default_factory=dict)
    publish: tuple[Target, ...] = ()
    gateways: tuple[Gateway, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the package goes."""
        from ggship.place import name_for

        return self.out or self.path.parent / "dist" / name_for(self.name)

    def steps(self) -> tuple[Step, ...]:
        """What `ggship ship` does, in order: package, then every target, then every gateway."""
        return (self.packaging(), *self.publishing(), *self.routing())

    def packaging(self) -> Step:
        """The main job."""
        runs = [str(ref.path) if ref.weight == 1.0 else f"{ref.path}@{ref.weight:g}" for ref in self.runs]
        arguments = [*runs, "--name", self.name, "--out", str(self.folder)]
        arguments += [*_said("base", self.base), *_said("suite", self.suite), *self._host()]
        for gate in self.gates:
            arguments += ["--gate", gate]
        return Step(("package",), (*arguments, *_arguments(self.package)), self.name)

    def publishing(self) -> tuple[Step, ...]:
        """To each target."""
        return tuple(
            Step(
                ("publish",),
                (str(self.folder), "--to", target.to, *self._host(), *_arguments(target.options)),
                target.to,
            )
            for target in self.publish
        )

    def routing(self, verb: str = "apply") -> tuple[Step, ...]:
        """`gateway apply`, or another of its commands, for each gateway."""
        return tuple(
            Step(
                ("gateway", verb),
                (str(self.folder), *(_said("gateway", gateway.name or None)), *_arguments(gateway.options)),
                gateway.name or str(gateway.options.get("url", "")),
            )
            for gateway in self.gateways
        )

    def _host(self) -> Iterator[str]:
        yield from _said("host", self.host)


def _said(name: str, value: object) -> Iterator[str]:
    if value is not None:
        yield from (f"--{name}", str(value))


def _arguments(options: Options) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, bool):
            if value:
                yield f"--{name}"
        elif isinstance(value, tuple):
            for one in value:
                yield from (f"--{name}", one)
        else:
            yield from (f"--{name}", f"{value:g}" if isinstance(value, float) else str(value))
