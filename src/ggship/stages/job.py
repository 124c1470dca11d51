"""All that the stages of one packaging job have in common: values, decided before the first stage runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship import __version__
from ggship.bases.fingerprint import Fingerprint
from ggship.bases.model import Base
from ggship.clock import Clock
from ggship.digests import DigestCache
from ggship.errors import BadFile
from ggship.modelfile import to_parameters
from ggship.package import ADAPTER, BASE
from ggship.parameters import Parameters
from ggship.plan import PackageOptions, Plan
from ggship.progress import Progress
from ggship.prompts.plan import PromptPlan
from ggship.runner import Runner
from ggship.runs.findings import Finding
from ggship.runs.model import Run
from ggship.runtimes.model import ENABLE_THINKING, ModelSpec, Runtime
from ggship.stages.base_file import BaseFile

if TYPE_CHECKING:
    from ggship.evals.remembered import Answers
    from ggship.evals.report import Instrument
    from ggship.evals.suite import Suite  # a run with nothing to do never asks, and should not wait for it


@dataclass(frozen=True, slots=True)
class Job:
    """One packaging job. `runtime` is None where the package is only written (`--runtime none`).

    weights: the base's weights as a file, which may be made only when a stage first needs them. asked_with: parameters
    beside the prompt's stops. plugins: the modules with assertions of the user's own that were run. findings: on the
    run, held against the base. candidate: it is made to be compared, and never goes live. answers: where the base's are
    kept, for several jobs that are compared with it. selection: how this one was chosen of several (candidates.py).
    """

    options: PackageOptions
    run: Run
    base: Base
    weights: BaseFile
    plan: Plan
    prompt: PromptPlan
    suite: Suite | None
    runtime: Runtime | None
    digests: DigestCache
    clock: Clock
    runner: Runner
    asked_with: Parameters = field(default_factory=Parameters)
    plugins: tuple[Instrument, ...] = ()
    findings: tuple[Finding, ...] = ()
    fingerprint: Fingerprint | None = None
    candidate: bool = False
    answers: Answers | None = None
    selection: Mapping[str, Any] | None = None

    @property
    def host(self) -> str | None:
        """The address of the server, where there is one."""
        client = getattr(self.runtime, "client", None)
        return str(client.url) if client else None

    @property
    def needs_weights(self) -> bool:
        """Whether the base's weights are needed as a file here: to merge into, or to lie beside the adapter."""
        return self.plan.strategy == "merge" or self.plan.base_file

    def run_files(self) -> list[dict[str, object]]:
        """What the run's tensor files hold now."""
        return [
            {"file": path.name, "sha256": self.digests.sha256(path), "bytes": path.stat().st_size}
            for path in self.run.tensor_files
        ]

    def shares(self) -> dict[str, Any]:
        """What a blend is made of, for the keys of stages; nothing for a run alone."""
        shares = [[share.weight, share.run.config] for share in self.run.shares]
        return {"shares": shares} if shares else {}

    def require_unchanged(self, before: list[dict[str, object]], made: Path) -> None:
        """Remove what was made of the run's files and raise BadFile, where they are no longer as they were `before`."""
        if self.run_files() != before:
            made.unlink()
            raise BadFile(
                "the run changed while it was read",
                where=str(self.run.path),
                hint="wait until training has ended, then run the same command again",
            )

    def parameters(self) -> dict[str, Any]:
        """The Modelfile parameters of the model."""
        return to_parameters(self.asked_with.pairs(self.prompt.stops))

    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Every decision, and why."""
        return (*self.plan.reasons, *self.prompt.reasons(), *self.asked_with.reasons())

    def spec(self, folder: Path) -> ModelSpec:
        """What the served model is made of, with the files that lie in `folder`."""
        model, from_name, adapter = self._sources(folder)
        return ModelSpec(
            model=model,
            from_name=from_name,
            adapter=adapter,
            template=self.prompt.go,
            system=self.prompt.system,
            parameters=self.parameters(),
            jinja=self.prompt.jinja,
        )

    def base_spec(self, folder: Path, progress: Progress) -> ModelSpec:
        """The base alone, asked with the very prompt and parameters of the tuned model: a fair comparison."""
        by_name = self.runtime is not None and self.runtime.kind == "ollama" and self.base.from_name is not None
        model = None
        if not by_name:
            model = folder / BASE if self.plan.base_file else self.weights.file(progress)
        return ModelSpec(
            model=model,
            from_name=self.base.from_name if by_name else None,
            template=self.prompt.go,
            system=self.prompt.system,
            parameters=self.parameters(),
            jinja=self.prompt.jinja,
        )

    def _sources(self, folder: Path) -> tuple[Path | None, str | None, Path | None]:
        if self.plan.strategy == "merge":
            return folder / self.plan.merged_name, None, None
        if self.plan.base_file:
            return folder / BASE, None, folder / ADAPTER
        return None, self.base.from_name, folder / ADAPTER

    def verifications(self) -> tuple[str, ...]:
        """What will be held against what before anything goes live, in words."""
        laws = ["everything that was trained has its tensor in the base"]
        if self.plan.strategy == "merge":
            laws.append("all of it merged, and at least half of the update left after quantization")
        if self.runtime is not None:
            laws += [
                "the server's layers are our files",
                "the server renders the prompt of training",
                "answers end, leak no template, do not loop, differ from the base's",
            ]
        if self.suite is not None:
            laws.append(f"the gates of {self.suite.name}")
        return tuple(laws)

    @property
    def think(self) -> bool:
        """What endpoints tell the model, where it can think."""
        return self.prompt.thinking.ask if self.prompt.thinking else ENABLE_THINKING

    def special_tokens(self) -> Sequence[str]:
        """Strings that a user must never see in an answer."""
        return self.prompt.special_tokens

    def identity(self) -> Mapping[str, Any]:
        """What every stage key begins with."""
        return {"ggship": __version__}
