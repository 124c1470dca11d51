"""`ggship bench` beside a hand-written loop on the same server: their figures must be alike.

    python benchmarks/load.py --host 127.0.0.1:11434 --model smollm2:135m --streams 2 --seconds 10 --rounds 3

The loop is what one would write oneself: threads, plain http.client, a clock, as many questions as fit. Both ask
questions of the same kind and length, in turns, and the ratio of their figures is printed (1.00: alike).
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import threading
import time

from ggship.evals.bench import BenchPlan, bench, questions_of
from ggship.evals.stats import percentile
from ggship.runtimes.endpoints import parse_endpoint


def bare(host: str, model: str, streams: int, seconds: float, tokens: int, seed: str) -> dict[str, float]:
    """Answers and tokens a second, and latencies, by nothing of ggship's but its questions."""
    questions = questions_of(None)
    done: list[tuple[float, float, float, int]] = []
    begin = time.perf_counter()

    def work(stream: int) -> None:
        connection = http.client.HTTPConnection(host)
        number = stream
        while time.perf_counter() < begin + seconds:
            messages, options = questions.question(number, seed=seed, tokens=tokens)
            number += streams
            body = {"model": model, "messages": list(messages), "stream": True}
            body["options"] = {
                "temperature": 0,
                "seed": options.seed,
                "num_predict": tokens,
                "repeat_penalty": 1.0,
                "top_k": 1,
            }
            asked = time.perf_counter()
            connection.request("POST", "/api/chat", json.dumps(body))
            first = 0.0
            for line in connection.getresponse():
                piece = json.loads(line)
                if not first and piece["message"]["content"]:
                    first = time.perf_counter() - asked
            done.append((time.perf_counter() - asked, first, time.perf_counter() - begin, piece["eval_count"]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = max(end for _, _, end, _ in done)
    return {
        "answers/s": len(done) / took,
        "tokens/s": sum(count for *_, count in done) / took,
        "p50 s": percentile([whole for whole, *_ in done], 0.5) or 0.0,
        "p95 s": percentile([whole for whole, *_ in done], 0.95) or 0.0,
        "first p50 s": percentile([first for _, first, *_ in done], 0.5) or 0.0,
    }


def ours(host: str, model: str, streams: int, seconds: float, tokens: int) -> dict[str, float]:
    """The same by `ggship bench`."""
    plan = BenchPlan(concurrency=(streams,), duration=seconds, tokens=tokens)
    (level,) = bench(parse_endpoint(f"http://{host}#{model}"), questions_of(None), plan).levels
    whole, first = level.latency, level.first_token
    if whole is None or first is None:
        raise SystemExit(f"no answers: {level.failures}")
    return {
        "answers/s": level.requests_per_s,
        "tokens/s": level.tokens_per_s,
        "p50 s": whole.p50,
        "p95 s": whole.p95,
        "first p50 s": first.p50,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1:11434")
    parser.add_argument("--model", default="smollm2:135m")
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    pairs = []
    for number in range(asked.rounds):
        mine = ours(asked.host, asked.model, asked.streams, asked.seconds, asked.tokens)
        loop = bare(asked.host, asked.model, asked.streams, asked.seconds, asked.tokens, f"{time.time()} {number}")
        pairs.append((mine, loop))
    for name in pairs[0][0]:
        mine, loop = (statistics.median(pair[side][name] for pair in pairs) for side in (0, 1))
        print(f"{name:12} ggship {mine:7.3f}   loop {loop:7.3f}   ratio {mine / loop:.2f}")


if __name__ == "__main__":
    main()
