"""The smoke test and the suite, asked of the staged model and of its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.bases.portable import portable
from ggship.digests import digest_of
from ggship.errors import ServerError
from ggship.package import EVAL_FILES
from ggship.pipeline import Facts
from ggship.progress import ByStatus, Progress
from ggship.releases.promotion import base_name
from ggship.runs import training_curve
from ggship.runtimes.model import Endpoint, Runtime
from ggship.stages.create import CreateStage
from ggship.stages.job import Job

if TYPE_CHECKING:
    from ggship.evals.graders import Graders
    from ggship.evals.report import Report
    from ggship.evals.review.store import Reviews
    from ggship.evals.runner import CaseDone
    from ggship.evals.suite import Suite


class EvaluateStage:
    """Reads: the created model, the base, the suite. Writes: eval/. Its verdict decides whether the model goes live."""

    name = "evaluate"
    title = "Asking it and its base"
    outputs: tuple[str, ...] = EVAL_FILES

    def __init__(self, job: Job, runtime: Runtime, create: CreateStage) -> None:
        self._job = job
        self._runtime = runtime
        self._create = create

    @property
    def _suite(self) -> Suite:
        if self._job.suite is not None:
            return self._job.suite
        from ggship.evals.smoke import smoke_suite

        return smoke_suite()

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of the model, the base and the suite."""
        return digest_of(
            {
                **self._job.identity(),
                "model": facts["create"]["digest"],
                "base": self._base_sha256(facts) or self._job.base.ref,
                "suite": self._suite.digest,
                "special": list(self._job.special_tokens()),
                **self._judged_by(),
                **({"people": self._reviews.digest()} if self._people else {}),
            }
        )

    @property
    def _people(self) -> bool:
        """Whether a gate of the suite asks what people found."""
        return any(gate.startswith("human.") for gate in self._suite.gates)

    @property
    def _reviews(self) -> Reviews:
        from ggship.evals.review.store import Reviews

        return Reviews(self._job.options.name)

    def _judged_by(self) -> dict[str, object]:
        """The models and plugins that judge, where there are any."""
        options, plugins = self._job.options, self._job.plugins
        if self._job.suite is None or not (options.judge or options.embedder or plugins):
            return {}
        return {"graders": self._graders().identity(), "plugins": [[one.name, one.digest] for one in plugins]}

    def _graders(self) -> Graders:
        from ggship.evals.graders import Graders

        options = self._job.options
        host = self._job.host or options.host
        return Graders(options.judge, options.embedder, options.judge_prompt, host)

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Ask every case of both, grouped by model, and write the reports. A failed verdict is a fact, not an error."""
        from ggship.evals.graders import equip
        from ggship.evals.kept import Kept
        from ggship.evals.remembered import Listening
        from ggship.evals.runner import evaluate
        from ggship.evals.summary import report_markdown, summary_rows
        from ggship.evals.write import write_reports

        job, suite = self._job, self._suite
        instruments, used = equip(suite, self._graders(), job.plugins)
        found: dict[str, int] = {}
        kept = Kept(fresh=job.options.fresh, on_found=found.__setitem__)
        subject = self._create.subject(work, str(facts["create"]["digest"]), progress)
        base, known = self._base(work, facts, progress)
        progress.start(self.title, total=2 * len(suite.cases), unit="answers")

        def heard(case: CaseDone) -> None:
            progress.advance(1, case.total)

        report = evaluate(
            suite,
            self._runtime.endpoint(subject, think=job.think),
            base,
            clock=job.clock,
            on_case=heard,
            special_tokens=job.special_tokens(),
            tuned_label=job.options.name,
            base_label=_base_label(job),
            instruments=instruments,
            used=used,
            kept=kept,
            concurrency=job.options.concurrency,
            people=self._reviews.humans if self._people else None,
        )
        if isinstance(base, Listening):
            self._runtime.delete(base_name(job.options.name))
            if job.answers is not None:
                job.answers.write(known, suite, base)
        self._same(report, str(facts["create"]["digest"]), subject)
        report = replace(report, provenance=tuple(_provenance(job, facts)))
        write_reports(
            report,
            work / "eval",
            suite=suite,
            suite_path=job.options.suite if job.suite else None,
            curve=training_curve(job.run),
        )
        rows = summary_rows(report)
        again = (
            [f"{count} answer{'' if count == 1 else 's'} kept from before"] if (count := sum(found.values())) else []
        )
        progress.done("; ".join([*(value for _, value in rows[:1]), *again]))
        return {
            "passed": report.passed,
            "failures": list(report.verdict.reasons),
            "errors": report.errors,
            "suite": suite.name,
            "suite_sha256": suite.digest,
            "rows": [list(row) for row in rows],
            "markdown": report_markdown(report),
        }

    def _base(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> tuple[Endpoint, str]:
        """What answers for the base, and what its answers depend on; asked once where several models are compared."""
        from ggship.evals.remembered import Listening

        job = self._job
        key = digest_of(
            {
                **job.identity(),
                "base": self._base_sha256(facts) or job.base.ref,
                "runtime": self._runtime.describe(),
                "prompt": [job.prompt.go, job.prompt.jinja, job.prompt.system, job.parameters(), job.think],
                "suite": self._suite.digest,
            }
        )
        remembered = job.answers.read(key, self._suite) if job.answers is not None else None
        if remembered is not None:
            return remembered, key
        name = base_name(job.options.name)
        bringing = ByStatus(progress, "Bringing the base beside it")
        self._runtime.create(name, job.base_spec(work, progress), bringing)
        bringing.done()
        return Listening(self._runtime.endpoint(name, think=job.think)), key

    def _same(self, report: Report, made: str, subject: str) -> None:
        """Law: the report is of the model that was made, and of no other that came under its name meanwhile."""
        asked = report.tuned.digest
        died = asked is None and not report.passed  # then the report itself says that the server was lost
        if asked != made and not died:
            raise ServerError(
                "the model that was asked is not the one that was made: someone replaced it meanwhile",
                where=f"{subject} at {self._runtime.describe()}: {asked or 'gone'}, made was {made}",
                hint="nothing was promoted; run the same command again",
            )

    @staticmethod
    def _base_sha256(facts: Mapping[str, Facts]) -> str | None:
        return facts.get("merge", {}).get("base_sha256") or facts.get("base", {}).get("sha256")

    def check(self, done: Facts) -> bool:
        """A model that failed is asked again: a server can have a bad moment. A candidate is, where answers lack."""
        return done["passed"] is True or (self._job.candidate and not done["errors"])


def _base_label(job: Job) -> str:
    """What reports call the base: as training named it, and never a path."""
    return portable(job.run.base_named, hub=True) or portable(job.base.ref)


def _provenance(job: Job, facts: Mapping[str, Facts]) -> list[tuple[str, str]]:
    """What the report's reader wants to know of where the model came from."""
    rows = [
        ("run", f"{job.run.root.resolve().name} ({job.run.chosen})"),
        ("base", f"{_base_label(job)}, {job.base.file_type}"),
    ]
    if "convert" in facts:
        rows.append(("adapter", f"sha256 {facts['convert']['sha256']}"))
    if "merge" in facts:
        rows.append(("merged model", f"sha256 {facts['merge']['sha256']}"))
        rows.append(("update survival", f"{facts['merge']['survival']:.3f}"))
    rows.append(("runs on", str(facts["create"]["runtime"])))
    return [*rows, *job.reasons()]
