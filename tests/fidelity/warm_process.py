"""A process with torch, transformers and PEFT loaded, which runs one Python script after the other in a fork of itself.

Each line in: {"argv": [...], "env": {...}, "cwd": path or null, "output": path, "timeout": seconds}. Each line out:
{"returncode": status}, or null for one that took too long. A script that loads torch by itself needs 6 seconds before
its first line; here it is one. What runs is the same file, with the same arguments and environment.

llama.cpp's convert_hf_to_gguf.py gets a made-up vocabulary instead of a model's own, which tiny random models lack. The
weights are converted by it as always.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

CONVERTER = "convert_hf_to_gguf.py"


def load(vendor: str) -> None:
    """Import what takes long, and nothing that starts threads, which would not survive a fork."""
    sys.path[:0] = [vendor, str(Path(vendor) / "gguf-py")]
    import conversion
    import gguf
    import peft
    import safetensors.torch
    import torch
    import transformers

    _ = gguf, peft, safetensors.torch, transformers.AutoModelForCausalLM
    torch.set_num_threads(1)
    find = conversion.get_model_class
    conversion.get_model_class = lambda *arguments, **options: with_made_up_vocabulary(find(*arguments, **options))


def with_made_up_vocabulary(model: Any) -> Any:
    """The converter's class of that architecture; its tokens are numbers, since prompts are token ids."""

    def set_vocab(self: Any) -> None:
        size = self.hparams["vocab_size"]
        # llama.cpp looks the last ones up in models of Phi (llama-vocab.cpp).
        special = ["<unk>", "<s>", "</s>", "<|endoftext|>"]
        tokens = [f"<{number}>" for number in range(size - len(special))] + special
        writer = self.gguf_writer
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([1] * size)
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(size - 1)
        writer.add_eos_token_id(size - 1)
        writer.add_add_bos_token(False)

    return type(model.__name__, (model,), {"set_vocab": set_vocab, "model_arch": model.model_arch})


def run(task: dict[str, Any]) -> None:
    """Become the script: argv is [python, script, ...] or [python, "-m", module, ...]."""
    output = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(task["env"])
    if task["cwd"]:
        os.chdir(task["cwd"])
    argv = task["argv"][1:]
    status = 0
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).parent))
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    load(sys.argv[1])
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            run(task)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(int(task["timeout"] or 0))
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        out.write(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
