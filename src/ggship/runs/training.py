"""What a trainer wrote down of its own work: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

Confidence = Literal["high", "medium", "low"]
PromptKind = Literal["template", "jinja", "dataset", "format", "tokenizer", "plain"]
Value = Union[str, int, float, bool, "tuple[str, ...]"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of training: our word for it, the value as it was recorded, and the file that says so.

    Names mean the same whichever program trained: learning_rate, epochs, max_steps, batch_size (of one device),
    gradient_accumulation, sequence_length (tokens), seed, datasets, template, thinking, system, ...
    """

    name: str
    value: Value
    source: str


@dataclass(frozen=True, slots=True)
class RecordedPrompt:
    """How the trainer says that it made its prompts.

    kind, and what `name` and `text` then are:
      template   the trainer's own template of that name (LLaMA-Factory `qwen`, ms-swift `qwen3`, Axolotl `chatml`);
                 text is its Jinja where the run holds that too
      jinja      a chat template written out: text is the Jinja
      dataset    a prompt that belongs to the kind of data (Axolotl `alpaca`, `alpaca:chat`): no chat template was used
      format     prompts written out in the trainer's own placeholders, in `parts`: (the trainer's name, text)
      tokenizer  the chat template of the tokenizer: text is the one saved with the run, "" where only the base has it
      plain      none: raw text was trained on
    system: the default system text exactly as it was set (documents leave out what looks like a token); None where
    none was set (the template may have one of its own).
    thinking: enable_thinking as it was set, None where it was not. source: the file, of the run, that says all this.
    confidence: high where the trainer itself wrote it, lower where it is concluded.
    """

    kind: PromptKind
    name: str = ""
    text: str = ""
    system: str | None = None
    thinking: bool | None = None
    source: str = ""
    confidence: Confidence = "high"
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Training:
    """How the run was trained, as far as its files tell.

    settings: by name, sorted. prompts: each way in which prompts were made, once; several where datasets differ.
    doubts: where two files of the run disagree on a setting, in words.
    """

    settings: tuple[Setting, ...] = ()
    prompts: tuple[RecordedPrompt, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def template(self) -> RecordedPrompt | None:
        """The one way in which prompts were made; None where nothing tells, and where there were several."""
        return self.prompts[0] if len(self.prompts) == 1 else None

    def setting(self, name: str) -> Setting | None:
        """The setting of that name."""
        return next((setting for setting in self.settings if setting.name == name), None)
