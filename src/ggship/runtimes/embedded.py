"""llama.cpp embedded as a runtime: no server to install, models held as values for as long as the runtime lives."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ggship.clock import Clock, SystemClock
from ggship.cores import cores
from ggship.digests import digest_of, sha256_file
from ggship.errors import MissingExtra, ServerError, UsageError
from ggship.runtimes.embedded_process import COMMAND, Child, Load
from ggship.runtimes.forced import force
from ggship.runtimes.gathering import ANSWER_SECONDS, Gathering, OnText
from ggship.runtimes.model import (
    ENABLE_THINKING,
    Answer,
    ChatOptions,
    Created,
    Forced,
    Message,
    ModelSpec,
    Progress,
    PromptTokens,
    Tools,
    Witness,
)
from ggship.runtimes.names import check_model_name, full_name
from ggship.runtimes.ollama_errors import error_text

DEFAULT_CONTEXT = 4096
# The tuned model and its base, asked in turn.
MAX_CHILDREN = 2
MAX_THREADS = 16


class EmbeddedRuntime:
    """llama.cpp in child processes, so that a crash of native code is an error and not the end.

    `create` only remembers: a model is loaded when it is first asked, stays loaded, and is gone with `close`. Model
    names are those of Ollama, so that nothing depends on the runtime. command: what starts a child, for tests. note:
    why it was taken, where the user may have meant another; "" otherwise.
    """

    kind = "embedded"

    def __init__(self, *, command: Sequence[str] | None = None, clock: Clock | None = None, note: str = "") -> None:
        if command is None and not embedded_version():
            raise MissingExtra("embedded", needed_for="running a model without Ollama")
        self.note = note
        self._command = tuple(command or COMMAND)
        self._clock = clock or SystemClock()
        self._models: dict[str, ModelSpec] = {}
        self._children: list[Child] = []
        self._digests: dict[tuple[str, int, int], str] = {}
        self._lock = threading.Lock()  # several threads may ask: a child is started once

    def describe(self) -> str:
        """In words: "llama.cpp embedded (xllamacpp 2026.10.1)"."""
        version = embedded_version()
        return f"llama.cpp embedded (xllamacpp {version})" if version else "llama.cpp embedded"

    def accepts_adapters(self) -> bool:
        """Always."""
        return True

    def create(self, name: str, spec: ModelSpec, on_progress: Progress | None = None) -> Created:
        """Remember the model under that name. Its files are hashed; UsageError or BadFile where they cannot serve."""
        check_model_name(name)
        whole = self._resolve(spec)
        layers = tuple(self._sha256(path, on_progress) for path in (whole.model, whole.adapter) if path is not None)
        self._models[full_name(name)] = whole
        return Created(name, self._digest(whole), layers)

    def digest(self, name: str) -> str | None:
        """sha256 over the files' digests, the template, the system prompt and the parameters."""
        spec = self._models.get(full_name(name))
        return None if spec is None else self._digest(spec)

    def copy(self, source: str, target: str) -> None:
        """Give the model a second name."""
        check_model_name(target)
        self._models[full_name(target)] = self.spec(source)

    def delete(self, name: str) -> None:
        """Forget the name."""
        self._models.pop(full_name(name), None)

    def spec(self, name: str) -> ModelSpec:
        """What the model of that name is made of."""
        try:
            return self._models[full_name(name)]
        except KeyError:
            raise ServerError(
                f"the embedded runtime holds no model {name}",
                where=f"holds {', '.join(self._models) or 'none'}; models live as long as the command that made them",
                status=404,
            ) from None

    def endpoint(self, name: str, *, think: bool = ENABLE_THINKING) -> Witness:
        """An endpoint to ask that model; it is loaded at the first question."""
        return EmbeddedEndpoint(self, name, self._clock, think=think)

    def child(self, load: Load) -> Child:
        """A running child that serves this; the one used longest ago makes room where there are too many."""
        with self._lock:
            return self._child(load)

    def _child(self, load: Load) -> Child:
        for child in [child for child in self._children if not child.alive]:
            self._children.remove(child)
            child.close()
        for child in self._children:
            if child.load.serves(load):
                self._children.remove(child)
                self._children.append(child)
                return child
        while len(self._children) >= MAX_CHILDREN:
            self._children.pop(0).close()
        child = Child(load, threads=threads(os.environ), command=self._command)
        self._children.append(child)
        return child

    def close(self) -> None:
        """End every child."""
        while self._children:
            self._children.pop().close()

    def _resolve(self, spec: ModelSpec) -> ModelSpec:
        if (spec.model is None) == (spec.from_name is None):
            raise UsageError("a model is made of a file or of a model that the runtime holds: exactly one of the two")
        if spec.from_name is None:
            return spec
        base = self.spec(spec.from_name)
        if spec.adapter is not None and base.adapter is not None:
            raise UsageError(f"{spec.from_name} carries an adapter already")
        # As Ollama does it: what is not said anew comes with the base.
        return replace(
            spec,
            model=base.model,
            from_name=None,
            adapter=spec.adapter or base.adapter,
            jinja=spec.jinja or base.jinja,
            system=base.system if spec.system is None else spec.system,
            parameters={**base.parameters, **spec.parameters},
        )

    def _digest(self, spec: ModelSpec) -> str:
        return digest_of(
            {
                "model": self._sha256(spec.model) if spec.model else None,
                "adapter": self._sha256(spec.adapter) if spec.adapter else None,
                "template": spec.template,
                "jinja": spec.jinja,
                "system": spec.system,
                "parameters": dict(spec.parameters),
                "license": spec.license,
            }
        )

    def _sha256(self, path: Path, on_progress: Progress | None = None) -> str:
        stat = path.stat()
        key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            done = 0

            def advance(read: int) -> None:
                nonlocal done
                done += read
                if on_progress:
                    on_progress("hashing", done, stat.st_size)

            self._digests[key] = sha256_file(path, advance)
        return self._digests[key]


class EmbeddedEndpoint:
    """One model of the embedded runtime, asked through llama.cpp's own server; one question at a time."""

    most_at_once = 1

    def __init__(self, runtime: EmbeddedRuntime, model: str, clock: Clock, *, think: bool = ENABLE_THINKING) -> None:
        self.model = model
        self.label = model
        self._think = think
        self._runtime = runtime
        self._clock = clock

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask. The answer is streamed, so that the time of its first word is known."""
        return self.speak(messages, options, None)

    def speak(self, messages: Sequence[Message], options: ChatOptions, on_text: OnText | None) -> Answer:
        """Ask, and hear the words as they come."""
        spec = self._runtime.spec(self.model)
        gathering = Gathering(self.label, options, self._clock, on_text)
        child = self._runtime.child(_load(spec, options.num_ctx))
        loaded = gathering.seconds
        own = spec.parameters.get("stop") or ()
        stops = [*((own,) if isinstance(own, str) else own), *options.stop]
        body: dict[str, Any] = {
            **_prompted(spec, messages, self._think),
            "temperature": options.temperature,
            "seed": options.seed,
            "max_tokens": options.num_predict,
            "stop": list(dict.fromkeys(stops)),
            "repeat_penalty": 1.0,
            "min_p": 0.0,
            # A prompt taken from the cache is computed in other batches, and rounds differently.
            "cache_prompt": False,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if options.temperature == 0:
            body["top_k"] = 1
        if options.tools:
            body["tools"] = list(options.tools)
            self._require_tools(child, body)
        finish = ""
        usage: Mapping[str, Any] = {}
        for piece in self._pieces(child, body):
            usage = piece.get("usage") or usage
            gathering.add()
            for choice in piece.get("choices") or []:
                delta = choice.get("delta") or {}
                gathering.add(str(delta.get("content") or ""), str(delta.get("reasoning_content") or ""))
                gathering.call(delta.get("tool_calls") or ())
                finish = choice.get("finish_reason") or finish
        if not finish:
            raise ServerError("the embedded runtime's answer broke off", where=self.label, hint="run it again")
        return gathering.answer(
            str(finish),
            prompt_tokens=usage.get("prompt_tokens"),
            tokens=usage.get("completion_tokens"),
            load_seconds=loaded,
        )

    def render(self, messages: Sequence[Message], tools: Tools = ()) -> str | None:
        """The prompt that llama.cpp makes of these messages when it is asked as `chat` asks."""
        spec = self._runtime.spec(self.model)
        child = self._runtime.child(_load(spec, None))
        given = {"tools": [dict(tool) for tool in tools]} if tools else {}
        with child.watched() as http:
            reply = http.request("POST", "/apply-template", json={**_prompted(spec, messages, self._think), **given})
        if not reply.ok:
            raise self._refusal(reply.status, reply.text())
        answer = reply.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("prompt"), str):
            raise ServerError("llama.cpp's answer holds no prompt", where=reply.text()[:200])
        return str(answer["prompt"])

    def takes_tools(self) -> bool:
        """Always: what becomes of them is the template's word."""
        return True

    def prompt_tokens(self, messages: Sequence[Message], prompt: str) -> PromptTokens | None:
        """Asked for one token; the text by llama.cpp's own tokenizer."""
        asked = self.chat(messages, ChatOptions(num_predict=1)).prompt_tokens
        child = self._runtime.child(_load(self._runtime.spec(self.model), None))
        told = []
        for special in (True, False):
            body = {"content": prompt, "add_special": special, "parse_special": True}
            with child.watched() as http:
                reply = http.request("POST", "/tokenize", json=body)
            if not reply.ok:
                raise self._refusal(reply.status, reply.text())
            told.append(tuple(reply.json().get("tokens") or ()))
        return PromptTokens(asked, len(told[0]), told[1]) if asked is not None else None

    def score(self, messages: Sequence[Message], answer: str) -> Forced:
        """How probable the model finds this answer, token by token."""
        prompt = self.render(messages)
        child = self._runtime.child(_load(self._runtime.spec(self.model), None))

        def post(path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
            with child.watched() as http:
                reply = http.request("POST", path, json=dict(body))
            if not reply.ok:
                raise self._refusal(reply.status, reply.text())
            told = reply.json()
            return told if isinstance(told, dict) else {}

        return force(post, prompt or "", answer)

    def digest(self) -> str | None:
        """As the runtime tells it."""
        return self._runtime.digest(self.model)

    def setting(self) -> dict[str, Any]:
        """What else its answers depend on."""
        return {"embedded": embedded_version(), "think": self._think}

    def _pieces(self, child: Child, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        with (
            child.watched() as http,
            http.stream("POST", "/v1/chat/completions", json=dict(body), within=ANSWER_SECONDS) as (reply, lines),
        ):
            if not reply.ok:
                raise self._refusal(reply.status, reply.text())
            for line in lines:
                kind, _, data = line.partition(":")
                if kind == "error":
                    raise self._refusal(500, data)
                if kind != "data" or data.strip() == "[DONE]":
                    continue
                piece = _decoded(data)
                if piece is None or "error" in piece:
                    raise self._refusal(500, data)
                yield piece

    def _require_tools(self, child: Child, body: Mapping[str, Any]) -> None:
        """ServerError where the chat template drops the tools: llama.cpp does so without a word."""
        asked = {name: body[name] for name in ("messages", "chat_template_kwargs")}
        with child.watched() as http:
            prompts = [http.request("POST", "/apply-template", json=request) for request in (asked, dict(body))]
        if all(reply.ok for reply in prompts) and prompts[0].text() == prompts[1].text():
            raise ServerError(
                f"the chat template of {self.label} has no place for tools: the model would not know of them",
                hint="a model that was trained with tools, or a test without `tools`",
                status=400,
            )

    def _refusal(self, status: int, body: str) -> ServerError:
        text = error_text(body)
        hint = "a shorter conversation, or PARAMETER num_ctx in the model" if "context size" in text else ""
        return ServerError(f"llama.cpp could not answer as {self.label}", where=text[:600], hint=hint, status=status)


def embedded_version() -> str:
    """The version of xllamacpp; "" where it is not installed. Does not import it."""
    if importlib.util.find_spec("xllamacpp") is None:
        return ""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "unknown"


def threads(env: Mapping[str, str]) -> int:
    """How many threads llama.cpp gets: GGSHIP_THREADS, else all cores but one, at most 16.

    Its threads wait for each other in a spin: where something else needs a core too, one thread too many made the real
    135M base 50 times slower (1 token a second, not 50).
    """
    asked = env.get("GGSHIP_THREADS", "")
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise UsageError("GGSHIP_THREADS is a number of threads", where=asked)
        return int(asked)
    return max(1, min(MAX_THREADS, cores() - 1))


def _load(spec: ModelSpec, num_ctx: int | None) -> Load:
    if spec.model is None:
        raise AssertionError("create resolves from_name")
    wanted = num_ctx or int(spec.parameters.get("num_ctx") or DEFAULT_CONTEXT)
    return Load(spec.model, spec.adapter, spec.jinja, wanted)


def _decoded(data: str) -> Mapping[str, Any] | None:
    """A piece of an answer; None where it is no object."""
    try:
        piece = json.loads(data)
    except ValueError:
        return None
    return piece if isinstance(piece, dict) else None


def _prompted(spec: ModelSpec, messages: Sequence[Message], think: bool) -> dict[str, Any]:
    """What the prompt is made of, in every request alike."""
    return {
        "messages": _conversation(spec, messages),
        # As `think` on Ollama; where it is false the template of a model that can think closes its thoughts at once.
        "chat_template_kwargs": {"enable_thinking": think},
    }


def _conversation(spec: ModelSpec, messages: Sequence[Message]) -> list[Message]:
    """The messages, with the model's own system prompt where they bring none."""
    whole = list(messages)
    if spec.system and not (whole and whole[0]["role"] == "system"):
        whole.insert(0, {"role": "system", "content": spec.system})
    return whole
