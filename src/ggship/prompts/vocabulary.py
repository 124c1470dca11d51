"""What is known of the tokenizer of training: the tokens that it never splits, and itself, where it can be run here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ggship.bases.model import Base
from ggship.prompts.tokenparity import TrainingTokens
from ggship.prompts.tokens import added_tokens
from ggship.runs.files import is_regular
from ggship.runs.model import Run

# llama.cpp's kinds of tokens that it finds in a text before it cuts the rest (llama-vocab.h: CONTROL, USER_DEFINED).
_WHOLE = (3, 4)


def training_tokens(run: Run, base: Base) -> TrainingTokens:
    """From the run's tokenizer files, else from those of the base, else from the base's GGUF.

    encode needs the `tokenizers` package (it comes with ggship[hf]) and a tokenizer.json. Raises BadFile where a file
    is damaged.
    """
    added = dict(added_tokens(run, base)) or _of_gguf(base.gguf)
    return TrainingTokens(added, _encoder(run, base))


def file_tokens(file: Path | None) -> TrainingTokens:
    """The same of a model's GGUF alone, where the files of training are not at hand."""
    return TrainingTokens(_of_gguf(file), None)


def _of_gguf(file: Path | None) -> dict[str, int]:
    if file is None:
        return {}
    from ggship.gguf.reader import read_gguf

    header = read_gguf(file)
    names, kinds = header.get("tokenizer.ggml.tokens"), header.get("tokenizer.ggml.token_type")
    if not isinstance(names, list) or not isinstance(kinds, list):
        return {}
    return {name: at for at, (name, kind) in enumerate(zip(names, kinds, strict=False)) if kind in _WHOLE and name}


def _encoder(run: Run, base: Base) -> Callable[[str], Sequence[int]] | None:
    for folder in (run.tokenizer_dir, base.config_dir):
        file = folder / "tokenizer.json" if folder else None
        if file is None or not is_regular(file):
            continue
        try:
            from tokenizers import Tokenizer
        except ImportError:
            return None
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception:  # all it raises for a file that it cannot read; without ids the special tokens are compared
            return None
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)
    return None
