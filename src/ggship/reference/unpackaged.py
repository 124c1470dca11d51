"""Opening `hf:RUN`: the run, the base that it was trained on, and the prompt of training, as packaging finds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ggship.bases import check_fit, find_base
from ggship.bases.fingerprint import fingerprint, require_possible
from ggship.bases.from_directory import weight_files
from ggship.bases.model import Base
from ggship.convert.peft import need_peft, peft_needs
from ggship.digests import DigestCache
from ggship.errors import UsageError
from ggship.needs import require_room
from ggship.progress import Progress, Silent
from ggship.prompts.asked import asked_prompt
from ggship.prompts.bos import adds_bos
from ggship.reference.endpoint import RunEndpoint, Slot, Unpackaged
from ggship.runner import run_subprocess
from ggship.runs import read_run
from ggship.runtimes.holding import holding_for
from ggship.runtimes.model import Endpoint
from ggship.stages.base_file import BaseFile

PREFIX = "hf:"


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run to ask, and its base alone under the same prompt; only one of the two is in memory at a time.

    base_found: which base it is, and why. special_tokens: what no answer may show.
    """

    tuned: RunEndpoint
    base: RunEndpoint
    base_found: str
    special_tokens: tuple[str, ...]


@contextmanager
def open_run(
    ref: str,
    *,
    base: str | None = None,
    host: str | None = None,
    allow_pickle: bool = False,
    beside: Endpoint | None = None,
    progress: Progress | None = None,
) -> Iterator[OpenedRun]:
    """Ask the run that `hf:RUN` names, RUN being its directory or one of its checkpoints.

    base: as packaging takes it; without it the base is found as packaging finds it, with the Ollama server at `host`
    among the places. beside: where that is another run, the two take turns in memory. Nothing is loaded before the
    first question. Raises what reading the run and finding the base raise, MissingExtra without ggship[hf], NoRoom
    where the memory is too small.
    """
    need_peft(f"asking {ref}")
    path = Path(ref.removeprefix(PREFIX))
    if not path.name:
        raise UsageError("which run?", where=ref, hint="hf:RUN, RUN being the directory that training wrote")
    run = read_run(path, allow_pickle=allow_pickle)
    found = find_base(run, base, ollama=holding_for(base, host))
    check_fit(run, found)
    require_possible(fingerprint(run, found), found)
    prompt = asked_prompt(run, found)
    file = BaseFile(found, DigestCache(), run_subprocess)
    weights = _weights(found, file, progress or Silent())
    require_room([], memory=peft_needs(run, weights).memory)
    subject = Unpackaged(run, found, weights, file.key(progress), prompt, adds_bos(found))
    slot = beside.slot if isinstance(beside, RunEndpoint) else Slot()
    try:
        yield OpenedRun(
            RunEndpoint(subject, slot, ref),
            RunEndpoint(subject, slot, f"{ref} without its adapter", bare=True),
            f"{found.ref} ({found.found})",
            prompt.special_tokens,
        )
    finally:
        slot.close()


def _weights(base: Base, file: BaseFile, progress: Progress) -> Path:
    """What Transformers loads: the Hugging Face directory, or the GGUF file where there is none."""
    folder = base.config_dir
    return folder if folder is not None and weight_files(folder) else file.file(progress)
