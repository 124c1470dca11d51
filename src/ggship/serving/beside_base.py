"""vLLM, SGLang and Ray Serve: the adapter beside the original base, with the chat template of training."""

from __future__ import annotations

import shlex
from typing import Any

from ggship.errors import Refused, UsageError
from ggship.serving.model import ADAPTER_FOLDER, TEMPLATE_FILE, Kit, Served, to_yaml

# vllm 0.33.0, config/lora.py: MaxLoRARanks; the smallest that holds the adapter takes the least memory.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# ray 2.60.0, llm_config.py: what dynamic_lora_loading_path may begin with.
_BUCKETS = ("s3://", "gs://", "abfss://", "azure://")


def vllm(served: Served) -> Kit:
    """`vllm serve BASE --lora-modules NAME=./adapter`."""
    flags = ["--enable-lora", "--max-lora-rank", str(_vllm_rank(served.lora().rank))]
    flags += ["--lora-modules", f"{served.name}=./{ADAPTER_FOLDER}", "--chat-template", f"./{TEMPLATE_FILE}"]
    flags += ["--max-model-len", str(served.context)] if served.context else []
    command = ["vllm", "serve", served.repository, *_revision(served), *flags]
    return Kit(
        {**served.lora_files(), "serve.sh": script(command, port=8000)},
        "sh serve.sh",
        "http://127.0.0.1:8000/v1",
        served.stop_notes(),
    )


def sglang(served: Served) -> Kit:
    """`python -m sglang.launch_server --model-path BASE --lora-paths NAME=./adapter`."""
    command = ["python3", "-m", "sglang.launch_server", "--model-path", served.repository, *_revision(served)]
    command += ["--enable-lora", "--lora-paths", f"{served.name}=./{ADAPTER_FOLDER}"]
    command += ["--max-lora-rank", str(served.lora().rank), "--chat-template", f"./{TEMPLATE_FILE}"]
    command += ["--context-length", str(served.context)] if served.context else []
    return Kit(
        {**served.lora_files(), "serve.sh": script(command, port=30000)},
        "sh serve.sh",
        "http://127.0.0.1:30000/v1",
        served.stop_notes(),
    )


def ray_serve(served: Served) -> Kit:
    """A Serve config of `ray.serve.llm:build_openai_app`; replicas load the adapter from a bucket."""
    root = served.options.lora_root.rstrip("/")
    if not root.startswith(_BUCKETS):
        raise UsageError(
            "Ray Serve loads adapters from a bucket",
            where=f"--lora-root {root or '(not given)'}",
            hint=f"--lora-root s3://BUCKET/loras; it may begin with {', '.join(_BUCKETS)}",
        )
    base = served.repository.rpartition("/")[2]
    engine: dict[str, Any] = {"enable_lora": True, "max_lora_rank": _vllm_rank(served.lora().rank)}
    engine |= {"chat_template": served.template}
    engine |= {"max_model_len": served.context} if served.context else {}
    engine |= {"revision": served.revision} if served.revision else {}
    config = {
        "model_loading_config": {"model_id": base, "model_source": served.repository},
        "lora_config": {"dynamic_lora_loading_path": root, "max_num_adapters_per_replica": 4},
        "engine_kwargs": engine,
        "deployment_config": {"autoscaling_config": {"min_replicas": 1, "max_replicas": 2}},
    }
    document = {
        "applications": [
            {
                "name": served.label,
                "route_prefix": "/",
                "import_path": "ray.serve.llm:build_openai_app",
                "args": {"llm_configs": [config]},
            }
        ]
    }
    files = served.lora_files()
    files["serve.yaml"] = to_yaml(document)
    bring = f"bring {ADAPTER_FOLDER}/ to {root}/{served.label}/ first"
    return Kit(
        files,
        "serve run serve.yaml",
        "http://127.0.0.1:8000/v1",
        (bring, f"clients ask for {base}:{served.label}", *served.stop_notes()),
    )


def script(command: list[str], *, port: int) -> str:
    """A script that starts it from its own folder, on $HOST and $PORT; further arguments are passed on."""
    words = " ".join(shlex.quote(word) for word in command)
    return (
        "#!/bin/sh\n"
        "# Made by ggship. HOST and PORT move it; further arguments go to the engine.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        f'exec {words} --host "${{HOST:-127.0.0.1}}" --port "${{PORT:-{port}}}" "$@"\n'
    )


def _vllm_rank(rank: int) -> int:
    for most in VLLM_RANKS:
        if rank <= most:
            return most
    raise Refused(
        f"vLLM serves adapters up to rank {VLLM_RANKS[-1]}",
        where=f"this one has {rank}",
        hint="serve the merged model: --for llama-server, kubernetes or compose",
    )


def _revision(served: Served) -> list[str]:
    return ["--revision", served.revision] if served.revision else []
