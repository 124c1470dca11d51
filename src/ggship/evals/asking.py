"""Asking one model every case of a suite: several at a time where its server gains by it, and nothing asked twice."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ggship.clock import Clock
from ggship.errors import GgshipError, ServerError, ServerUnreachable
from ggship.evals import stats
from ggship.evals.kept import Answers, Forgetful, question_of
from ggship.evals.patience import Patience
from ggship.evals.report import Speed
from ggship.evals.suite import Case
from ggship.evals.turns import questions
from ggship.runtimes.model import Answer, ChatOptions, Endpoint, Message

WARM_UP = (Message(role="user", content="Hi"),)
BROKEN_IN_A_ROW = 2  # answers lost to the connection, one after the other, before the server counts as gone


@dataclass(slots=True)
class Asked:
    """What one model gave: for each case id its answers, one for each repeat, and why the next one is missing.

    before: beside each answer, what it said earlier in that conversation, where the suite leaves turns to the model.
    lost: whether something is missing that another time may bring, since the server was gone or at fault.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    before: dict[str, list[tuple[Answer, ...]]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    load_seconds: float | None = None
    lost: bool = False

    def speed(self) -> Speed:
        """Latencies and rate over the answers; `seconds` of a case are the mean of its repeats."""
        every = [answer for answers in self.answers.values() for answer in answers]
        counted = [answer for answer in every if answer.tokens]
        spent = sum(answer.seconds for answer in counted)
        first = [a.first_token_seconds for a in every if a.first_token_seconds is not None]
        return Speed(
            p50_seconds=stats.percentile([answer.seconds for answer in every], 0.5),
            p95_seconds=stats.percentile([answer.seconds for answer in every], 0.95),
            tokens_per_second=sum(answer.tokens or 0 for answer in counted) / spent if spent else None,
            first_token_p50_seconds=stats.percentile(first, 0.5),
            load_seconds=self.load_seconds,
            seconds={case: sum(a.seconds for a in given) / len(given) for case, given in self.answers.items() if given},
        )


class Asking:
    """All cases put to one endpoint. at_once: how many questions may be at the server at a time.

    kept: answers that are there already, and where new ones go as they come.
    """

    def __init__(
        self, cases: Sequence[Case], endpoint: Endpoint, clock: Clock, *, kept: Answers | None = None, at_once: int = 1
    ) -> None:
        self.asked = Asked(answers={case.id: [] for case in cases}, before={case.id: [] for case in cases})
        self._cases = cases
        self._endpoint = endpoint
        self._kept: Answers = Forgetful() if kept is None else kept
        self._patience = Patience(clock)
        self._at_once = at_once
        self._lock = threading.Lock()
        self._left: set[str] = set()
        self._broken = 0
        self._gone = ""

    def each(self) -> Iterator[Case]:
        """Ask; gives each case as soon as its answers, or its error, are in `asked`.

        A model whose every answer is kept is not even loaded. Closing the iterator early asks nothing more.
        """
        todo: queue.Queue[Case | None] = queue.Queue()
        done: queue.Queue[Case | BaseException] = queue.Queue()
        left = self._left = {case.id for case in self._cases if not self._all_kept(case)}
        if left:
            self.asked.load_seconds = self._warm_up()
        for case in self._cases:
            todo.put(case)
        workers = max(1, min(self._at_once, len(left)))
        for _ in range(workers):
            todo.put(None)
            # A daemon: an evaluation that is interrupted does not wait for a model that thinks for minutes.
            threading.Thread(target=self._work, args=(todo, done), daemon=True).start()
        try:
            for _ in self._cases:
                came = done.get()
                if isinstance(came, BaseException):
                    raise came
                yield came
        finally:
            self._gone = self._gone or "not asked: the evaluation was stopped"

    def was_asked(self, case: Case) -> bool:
        """Whether that case was put to the model now; not where its answers were kept from another time."""
        return case.id in self._left

    def end(self, digest: str | None) -> bool:
        """All is asked. digest: the model's, now; False where it is not the one that was there when asking began."""
        return self._kept.end(whole=not self.asked.lost, digest=digest)

    def _work(self, todo: queue.Queue[Case | None], done: queue.Queue[Case | BaseException]) -> None:
        while (case := todo.get()) is not None:
            try:
                self._ask(case)
            except BaseException as error:  # it is the other thread's to raise
                done.put(error)
                return
            done.put(case)

    def _all_kept(self, case: Case) -> bool:
        return all(self._known(case, options) for options in case.options_of_repeats())

    def _known(self, case: Case, options: ChatOptions) -> bool:
        """Whether every answer of the conversation is kept."""
        said: list[Answer] = []
        for turns in questions(case, said):
            answer = self._kept.get(question_of(turns, options))
            if answer is None:
                return False
            said.append(answer)
        return True

    def _warm_up(self) -> float | None:
        """Have the model loaded before anything is timed; the seconds that loading took, where the server says."""
        try:
            return self._endpoint.chat(WARM_UP, ChatOptions(num_predict=1)).load_seconds
        except GgshipError:
            return None  # the first case will meet the same error, and there it is recorded

    def _ask(self, case: Case) -> None:
        for options in case.options_of_repeats():
            said: list[Answer] = []
            for turns in questions(case, said):
                answer = self._answer(case, turns, options)
                if answer is None:
                    return
                said.append(answer)
            *before, last = said
            self.asked.before[case.id].append(tuple(before))
            self.asked.answers[case.id].append(last)

    def _answer(self, case: Case, turns: Sequence[Message], options: ChatOptions) -> Answer | None:
        """The answer, asked or kept; None where there is none, and why is noted."""
        question = question_of(turns, options)
        answer = self._kept.get(question)
        if answer is None and self._gone:
            self._miss(case, self._gone, lost=True)
        elif answer is None:
            try:
                answer = self._patience.ask(self._endpoint, turns, options)
            except GgshipError as error:
                self._failed(case, error)
                return None
            self._kept.put(question, answer)
            self._broken = 0
        return answer

    def _failed(self, case: Case, error: GgshipError) -> None:
        status = error.status if isinstance(error, ServerError) else 0
        # A refusal is an answer too: the same question would meet it again. A busy or broken server may mend.
        self._miss(case, str(error), lost=status is None or status >= 500 or status in (408, 429))
        with self._lock:
            # A status means that the server still talks. Without one, waiting for each case's time-out in turn could
            # take hours and would find nothing.
            self._broken = self._broken + 1 if status is None else 0
            if (isinstance(error, ServerUnreachable) or self._broken >= BROKEN_IN_A_ROW) and not self._gone:
                self._gone = f"not asked: the server was gone at case {case.id} ({error.message})"

    def _miss(self, case: Case, why: str, *, lost: bool) -> None:
        with self._lock:
            self.asked.errors[case.id] = why
            self.asked.lost = self.asked.lost or lost
