"""The reference as a model to talk to: tokens until the answer ends, and its words. Runs in the child process."""

from __future__ import annotations

import codecs
import time
from typing import TYPE_CHECKING, Any

from ggship.runtimes.forced import same

if TYPE_CHECKING:
    from ggship.reference.child import Model


def speak(model: Model, task: dict[str, Any]) -> dict[str, Any]:
    """Answer a rendered prompt: {"text", "finish", "prompt_tokens", "tokens", "first", "seconds"} or {"refused": why}.

    task: prompt and bos as elsewhere, tokens (the most that are said), temperature, seed, stops (texts at which the
    answer ends), within (the most seconds). Law: at temperature 0 the same task gives the same words.
    """
    began = time.perf_counter()
    ids = model.prompt_ids(task["prompt"], bos=task["bos"])
    refused = _refusal(model, ids)
    if refused:
        return {"refused": refused}
    voice = _Voice(model, task["stops"])
    room = min(task["tokens"], model.context - len(ids))
    first, finish = None, "length"
    for token in _tokens(model, ids, room, task["temperature"], task["seed"]):
        first = time.perf_counter() - began if first is None else first
        if voice.ends(token):
            finish = "stop"
            break
        if time.perf_counter() - began > task["within"]:
            return {"refused": f"the answer took longer than {task['within']:.0f} s"}
    return {
        "text": voice.text(),
        "finish": finish,
        "prompt_tokens": len(ids),
        "tokens": voice.count,
        "first": first,
        "seconds": time.perf_counter() - began,
    }


def listen(model: Model, task: dict[str, Any]) -> dict[str, Any]:
    """How probable the model finds words: {"log_likelihood", "tokens"}, natural logarithm, or {"refused": why}.

    task: prompt and bos as elsewhere, forced: the words that follow the prompt.
    """
    import torch

    before = model.prompt_ids(task["prompt"], bos=task["bos"])
    ids = model.prompt_ids(task["prompt"] + task["forced"], bos=task["bos"])
    refused = _refusal(model, ids)
    if refused:
        return {"refused": refused}
    start = same(before, ids)
    with torch.no_grad():
        rows = model.model(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1].float()
    told = torch.log_softmax(rows, dim=-1).gather(1, torch.tensor(ids[start:])[:, None])
    return {"log_likelihood": float(told.double().sum()), "tokens": len(ids) - start}


def _refusal(model: Model, ids: list[int]) -> str:
    if len(ids) >= model.context:
        return f"the conversation is {len(ids)} tokens long, and the model was made for {model.context}"
    strange = [token for token in ids if token >= model.vocabulary]
    return f"the base has no token {strange[0]}, which training added" if strange else ""


class _Voice:
    """Collects an answer's tokens as bytes, and says when it has ended."""

    def __init__(self, model: Model, stops: list[str]) -> None:
        self._model = model
        self._hidden = set(model.tokenizer.all_special_ids)
        self._ends = model.ends | model.single_tokens(stops)
        self._stops = [stop.encode() for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._said = bytearray()
        self._cut: int | None = None
        self.count = 0

    def ends(self, token: int) -> bool:
        """Take the next token; whether the answer ends with it."""
        self.count += 1
        if token in self._ends:
            return True
        if token in self._hidden:  # servers show no control tokens either
            return False
        before = len(self._said)
        self._said += self._model.bytes_of(token)
        start = max(0, before - self._longest)
        found = [at for at in (self._said.find(stop, start) for stop in self._stops) if at >= 0]
        self._cut = min(found, default=None)
        return self._cut is not None

    def text(self) -> str:
        """What was said, without the stop. Bytes that are no UTF-8 become U+FFFD; a character that is not whole at the
        end, where the answer was cut, is left out, as llama.cpp leaves it out.
        """
        return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._said[: self._cut]))


def _tokens(model: Model, ids: list[int], most: int, temperature: float, seed: int) -> Any:
    import torch

    dice = torch.Generator().manual_seed(seed)
    cache, given = None, ids
    last: dict[str, Any] = {"logits_to_keep": 1} if model.keeps else {}
    for _ in range(most):
        with torch.no_grad():
            done = model.model(input_ids=torch.tensor([given]), past_key_values=cache, use_cache=True, **last)
            row = done.logits[0, -1].float()
            if temperature > 0:
                token = int(torch.multinomial(torch.softmax(row / temperature, dim=-1), 1, generator=dice))
            else:
                token = int(row.argmax())
        cache, given = done.past_key_values, [token]
        yield token
