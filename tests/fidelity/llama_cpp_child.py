"""A process that loads one model after the other into llama.cpp and asks each: JSON lines in, JSON lines out.

Each line in: {"model": path, "adapter": path or null, "prompts": [[token, ...], ...], "vocabulary": size}. Each line
out: {"rows": [[log-probability of each token], ...]} or {"error": text}. In 32-bit floats everywhere.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def ask(task: dict[str, Any]) -> list[list[float]]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = task["model"]
    params.n_ctx = 128
    params.n_parallel = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.warmup = False
    params.endpoint_slots = False
    params.ui = False
    params.cache_prompt = False
    params.cache_ram_mib = 0
    params.fit_params = False
    params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if task["adapter"]:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = task["adapter"]
        adapter.scale = 1.0
        params.lora_adapters = [adapter]
    server = xllamacpp.Server(params)
    rows = []
    for prompt in task["prompts"]:
        body = {
            "prompt": prompt,
            "n_predict": 1,
            "n_probs": task["vocabulary"],
            "temperature": -1.0,
            "cache_prompt": False,
            "ignore_eos": False,
        }
        answer = server.handle_completions(body)
        row = [float("nan")] * task["vocabulary"]
        for token in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            row[token["id"]] = token["logprob"]
        rows.append(row)
    return rows


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"rows": ask(json.loads(line))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
