"""ChatGLM3's own traps on the way to GGUF, and a patched copy of its folder in which they are not.

llama.cpp's converter (conversion/chatglm.py) takes the sentencepiece vocabulary only where `_name_or_path` of
config.json holds "THUDM/chatglm3-6b": a copy, a re-saved or a merged model falls into GLM-4's branch and crashes. It
loads the tokenizer by running the Python file that lies with the weights, which needs an old transformers and trust in
whoever wrote it. And it names no end of turn, so that answers run on into the user's next words.

The copy is links to the files, a config.json with that name, and a tokenizer of ours: the same tokens, not the code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.errors import BadFile
from ggship.gguf.reader import read_gguf
from ggship.runs.files import MIB, is_regular, read_object

CHANGES = "chatglm3: name, tokenizer, end of turn; 1"
"""What is other than the folder itself; a part of the key of what was converted."""
END_OF_TURN = "<|user|>"
_NAME = "THUDM/chatglm3-6b"
_CLASSES = ("ChatGLMModel", "ChatGLMForConditionalGeneration")
_CONFIG_FILES = ("config.json", "tokenizer_config.json")
_PROTOBUF = b"\n"  # a sentencepiece model begins with its first piece, GLM-4's tokenizer.model with base64
# tokenization_chatglm.py of chatglm3-6b: SPTokenizer.__init__, convert_id_to_token.
_TOKENIZER = """
import os

from sentencepiece import SentencePieceProcessor

SPECIAL = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]


class ChatGLM3:
    def __init__(self, path):
        self.sp_model = SentencePieceProcessor(model_file=os.path.join(path, "tokenizer.model"))
        self.tokenizer = self
        self.special = {self.sp_model.vocab_size() + number: token for number, token in enumerate(SPECIAL)}

    @classmethod
    def register_for_auto_class(cls, *_, **__):
        pass

    @classmethod
    def from_pretrained(cls, path, *_, **__):
        return cls(path)

    def _convert_id_to_token(self, index):
        if index in self.special:
            return self.special[index]
        inside = 0 <= index < self.sp_model.vocab_size()
        ends = (self.sp_model.bos_id(), self.sp_model.eos_id(), self.sp_model.pad_id())
        return self.sp_model.IdToPiece(index) if inside and index not in ends else ""

    def get_vocab(self):
        size = self.sp_model.vocab_size() + len(SPECIAL)
        return {self._convert_id_to_token(index): index for index in range(size)}
"""


def is_chatglm3(base_dir: Path, config: Mapping[str, Any]) -> bool:
    """Whether the folder holds a ChatGLM of the third generation (or second), whose vocabulary is sentencepiece's."""
    classes = config.get("architectures")
    model = base_dir / "tokenizer.model"
    if not isinstance(classes, list) or not any(name in _CLASSES for name in classes) or not is_regular(model):
        return False
    with model.open("rb") as file:
        return file.read(1) == _PROTOBUF


def patched_copy(base_dir: Path, folder: Path) -> Path:
    """Links to everything in `base_dir` but Python files, with the changes, in the new `folder`."""
    folder.mkdir(parents=True)
    for path in sorted(base_dir.iterdir()):
        if path.is_file() and path.suffix != ".py" and path.name not in _CONFIG_FILES:
            (folder / path.name).symlink_to(path.resolve())
    config = read_object(base_dir / "config.json", base_dir.resolve(), 16 * MIB)
    config["_name_or_path"] = _NAME
    config.pop("auto_map", None)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = base_dir / "tokenizer_config.json"
    fields = read_object(tokenizer, base_dir.resolve(), 16 * MIB) if is_regular(tokenizer) else {}
    fields |= {"tokenizer_class": "ChatGLM3", "auto_map": {"AutoTokenizer": ["tokenization_ggship.ChatGLM3", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields), encoding="utf-8")
    (folder / "tokenization_ggship.py").write_text(_TOKENIZER, encoding="utf-8")
    return folder


def end_of_turn(file: Path) -> dict[str, int]:
    """The metadata that tells llama.cpp where a turn of ChatGLM3 ends. Raises BadFile where there is no such token."""
    tokens = read_gguf(file).get("tokenizer.ggml.tokens", [])
    if END_OF_TURN not in tokens:
        raise BadFile("the converted ChatGLM has no token <|user|>", where=str(file))
    return {"tokenizer.ggml.eot_token_id": tokens.index(END_OF_TURN)}
