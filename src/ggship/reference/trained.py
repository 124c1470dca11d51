"""What was trained, asked: the other end of `ggship.reference.child`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.convert.peft import need_peft
from ggship.errors import NotExpressible, Refused
from ggship.reference.lines import Lines
from ggship.runs.model import Run
from ggship.runtimes.embedded import threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODULE = "ggship.reference.child"
LOAD_SECONDS = 3600.0
ANSWER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What base and adapter make of a prompt. ids: its tokens, pieces: their bytes; answer: the greedy one, with its
    end; whole: positions of the answer whose distribution is in `file`, float32 [positions, vocabulary], nats.
    """

    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]
    answer: tuple[int, ...]
    whole: tuple[int, ...]
    file: Path

    def distributions(self) -> NDArray[np.float32]:
        """[positions, vocabulary]; read from the disk each time."""
        import numpy as np

        numbers = np.fromfile(self.file, "<f4")
        return numbers.reshape(len(self.whole), numbers.size // max(1, len(self.whole)))


class Trained:
    """Base and adapter in a process of their own.

    base: a Hugging Face directory, or a GGUF file, whose tokenizer is taken where the run has none. bare: the base
    without the adapter. Raises MissingExtra without ggship[hf], Refused where Transformers cannot read the base, or
    PEFT not load all of the adapter.
    """

    def __init__(
        self, run: Run, base: Path, stops: Sequence[str], *, bare: bool = False, command: Sequence[str] | None = None
    ) -> None:
        need_peft("the reference")
        self._scratch = tempfile.TemporaryDirectory(prefix="ggship-reference-")
        self._asked = 0
        self._child = Lines(MODULE, "the reference (Transformers and PEFT)", command=command)
        try:
            spec = {**self._spec(run, base, stops), **({"adapter": None} if bare else {})}
            told = self._child.ask(spec, seconds=LOAD_SECONDS)
        except BaseException:
            self.close()
            raise
        if "refused" in told:
            self.close()
            raise _refusal(told["refused"])
        self.versions: dict[str, str] = dict(told["versions"])

    def ask(self, prompt: str, *, bos: bool, tokens: int, whole: int) -> Expected:
        """The greedy answer to a rendered prompt, of at most so many tokens."""
        self._asked += 1
        file = Path(self._scratch.name) / f"{self._asked}.f32"
        told = self._child.ask(
            {"prompt": prompt, "bos": bos, "tokens": tokens, "whole": whole, "out": str(file)}, seconds=ANSWER_SECONDS
        )
        return Expected(
            tuple(told["ids"]),
            tuple(bytes.fromhex(piece) for piece in told["pieces"]),
            tuple(told["answer"]),
            tuple(told["whole"]),
            file,
        )

    def say(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The answer in words: see `ggship.reference.speech`. Raises ToolFailed where the child dies."""
        return self._child.ask(task, seconds=ANSWER_SECONDS)

    def end(self) -> None:
        """Give its memory back; what it said stays until `close`."""
        self._child.close()

    def close(self) -> None:
        """End it, and remove what it wrote."""
        self._child.close()
        self._scratch.cleanup()

    def _spec(self, run: Run, base: Path, stops: Sequence[str]) -> dict[str, Any]:
        plain = Path(self._scratch.name) / "adapter"
        plain.mkdir()
        named = "tokenizer.json" in run.tokenizer_files or "tokenizer.model" in run.tokenizer_files
        folder = run.tokenizer_dir if named else None
        inside = base.parent if base.is_file() else base
        return {
            "base": str(inside.resolve()),
            "gguf_file": base.name if base.is_file() else None,
            "adapter": str(run.path.resolve()),
            "tensors": [str(file.resolve()) for file in run.tensor_files],
            "scratch": str(plain),
            "tokenizer": str((folder or inside).resolve()),
            "tokenizer_file": base.name if folder is None and base.is_file() else None,
            "stops": list(stops),
            "threads": threads(os.environ),
        }


def _refusal(told: dict[str, str]) -> Refused:
    from ggship.convert.peft import HINTS

    if told["code"] == "tokenizer-unreadable":
        hint = "put the run's tokenizer files back, or take them away: then the base's own is used"
    else:
        hint = HINTS.get(told["code"], "name another form of the same base with --base: its Hugging Face directory")
    return NotExpressible(told["what"], where=told["where"], hint=hint, code=told["code"])
