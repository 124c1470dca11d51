"""The child process that is the reference: base and adapter in Transformers and PEFT, in 32-bit floats, on the CPU.

`python -m ggship.reference.child`: JSON lines in, JSON lines out. The first line says what to load: base, gguf_file,
adapter, tensors, scratch as in `ggship.convert.peft_child`, tokenizer (a folder), tokenizer_file (a GGUF in it, or
null), stops; the answer is {"versions": {...}} or {"refused": {code, what, where}}. Each line after it is a prompt:
{"prompt": text, "bos": whether the server puts BOS in front, "tokens": most tokens of the answer, "whole": at how many
positions the whole distribution is wanted, "out": file}. The answer: {"ids": tokens of the prompt, "pieces": their
bytes in hex, "answer": tokens of the greedy answer, "whole": [position, ...]}; `out` then holds float32 [positions,
vocabulary], natural logarithms. A prompt with "stops" wants words, one with "forced" the likelihood of those words, as
`ggship.reference.speech` has them. Without an adapter (null) the base alone is asked. It ends when its stdin does.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ggship.convert.peft_child import attach, load_base, plain_adapter
from ggship.convert.peft_proof import RefusedError
from ggship.reference.speech import listen, speak
from ggship.reference.spread import spread

LIBRARIES = ("torch", "transformers", "peft")  # the last only where there is an adapter
_NO_END = 1 << 30  # the model's config names no longest context
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Model:
    """Base, adapter and tokenizer, loaded."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.tokenizer = _tokenizer(spec)
        folder, shapes = plain_adapter(spec) if spec["adapter"] else (None, {})
        base = load_base({**spec, "dtype": "float32"}, shapes)
        ends = getattr(base.generation_config, "eos_token_id", None)
        self.ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id}
        self.keeps = "logits_to_keep" in inspect.signature(base.forward).parameters
        self.vocabulary = int(base.get_input_embeddings().weight.shape[0])
        self.context = int(getattr(base.config, "max_position_embeddings", None) or _NO_END)
        self.model = base if folder is None else attach(base, folder)
        self.ends |= self.single_tokens(spec["stops"])
        self._alphabet = _byte_alphabet() if "ByteLevel" in _decoder(self.tokenizer) else None

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """Tokens of the prompt, the greedy answer to it, and some whole distributions."""
        ids = self.prompt_ids(task["prompt"], bos=task["bos"])
        said, rows = self._greedy(ids, task["tokens"])
        whole = spread(len(said), task["whole"])
        _write(Path(task["out"]), [rows[at] for at in whole])
        return {"ids": ids, "pieces": [self.bytes_of(each).hex() for each in ids], "answer": said, "whole": whole}

    def prompt_ids(self, prompt: str, *, bos: bool) -> list[int]:
        """The tokens of a rendered prompt; with BOS in front where the server puts it there."""
        ids = list(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        first = self.tokenizer.bos_token_id
        return [first, *ids] if bos and first is not None and ids[:1] != [first] else ids

    def single_tokens(self, texts: Iterable[str]) -> set[int]:
        """The tokens of those texts that are one token each."""
        cut = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts if text]
        return {ids[0] for ids in cut if len(ids) == 1}

    def _greedy(self, ids: list[int], most: int) -> tuple[list[int], list[Any]]:
        import torch

        said: list[int] = []
        rows: list[Any] = []
        cache, given = None, ids
        last: dict[str, Any] = {"logits_to_keep": 1} if self.keeps else {}
        with torch.no_grad():
            while len(said) < most and not (said and said[-1] in self.ends):
                done = self.model(input_ids=torch.tensor([given]), past_key_values=cache, use_cache=True, **last)
                rows.append(torch.log_softmax(done.logits[0, -1].float(), dim=-1))
                cache, given = done.past_key_values, [int(rows[-1].argmax())]
                said += given
        return said, rows

    def bytes_of(self, token: int) -> bytes:
        """What the token stands for, in bytes."""
        text = str(self.tokenizer.convert_ids_to_tokens(token))
        if token in self.tokenizer.all_special_ids:
            return text.encode()
        found = _BYTE.fullmatch(text)
        if found:
            return bytes([int(found[1], 16)])
        if self._alphabet is not None and all(char in self._alphabet for char in text):
            return bytes(self._alphabet[char] for char in text)
        return text.replace("\u2581", " ").encode()


def _tokenizer(spec: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    options = {"gguf_file": spec["tokenizer_file"]} if spec["tokenizer_file"] else {}
    try:
        return AutoTokenizer.from_pretrained(
            spec["tokenizer"], local_files_only=True, trust_remote_code=False, **options
        )
    except (AssertionError, ImportError, KeyError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        raise RefusedError(
            "tokenizer-unreadable", "transformers cannot read the tokenizer", f"{type(error).__name__}: {error}"[:600]
        ) from error


def _decoder(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return repr(getattr(backend, "decoder", "")) if backend is not None else ""


def _byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes in a byte-level BPE (GPT-2's encoder.py, bytes_to_unicode)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


def _write(out: Path, rows: list[Any]) -> None:
    with out.open("wb") as file:
        for row in rows:
            file.write(row.contiguous().numpy().astype("<f4").tobytes())


def main() -> None:
    """Keep stdout for the answers alone: libraries print too."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    import torch

    spec = json.loads(sys.stdin.readline())
    torch.set_num_threads(spec["threads"])
    try:
        model = Model(spec)
    except RefusedError as refused:
        say({"refused": refused.told})
        return
    say({"versions": {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}})
    for line in sys.stdin:
        task = json.loads(line)
        say(listen(model, task) if "forced" in task else speak(model, task) if "stops" in task else model.answer(task))


if __name__ == "__main__":
    main()
