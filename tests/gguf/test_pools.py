"""Whoever does the work of a merge: the same results in order, every error heard, nothing left running."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ggship.errors import NotExpressible, ToolFailed
from ggship.gguf.merge import merge_adapter
from ggship.gguf.pools import Forks, Threads, pool_of
from ggship.gguf.reader import read_gguf

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
KINDS = [Threads, pytest.param(Forks, marks=linux)]


class Squares:
    """Later items are done sooner."""

    def __init__(self, act=lambda number: None, check=lambda: None):
        self.act, self.check = act, check

    def do(self, number):
        time.sleep(0.002 * (9 - number % 10) / 9)
        self.act(number)
        return number * number, os.getpid()

    def verify(self, part, parts):
        self.check()


def refuse(number):
    if number == 7:
        raise NotExpressible("seven cannot be said", where="item 7", hint="leave it out", code="seven")


def fail():
    raise OSError(5, "the disk is gone")


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_the_order_of_their_numbers(kind):
    with kind(Squares(), 3) as pool:
        assert [result for result, _ in pool.results(40)] == [number * number for number in range(40)]
        pool.verify()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_worker_is_the_error_of_the_merge(kind):
    with pytest.raises(NotExpressible, match="seven cannot be said") as caught, kind(Squares(refuse), 2) as pool:
        list(pool.results(40))
    assert (caught.value.where, caught.value.hint, caught.value.code) == ("item 7", "leave it out", "seven")
    with kind(Squares(check=fail), 2) as pool:
        list(pool.results(3))
        with pytest.raises(OSError, match="the disk is gone"):
            pool.verify()


@linux
def test_processes_do_the_work_and_are_gone_after_it():
    with pool_of(Squares(), 2) as pool:
        pids = {pid for _, pid in pool.results(40)}
        pool.verify()
    assert os.getpid() not in pids
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@linux
def test_a_worker_that_is_killed_is_an_error_with_a_way_out():
    def die(number):
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ToolFailed, match="ended before its time") as caught, Forks(Squares(die), 2) as pool:
        list(pool.results(40))
    assert "signal 9" in caught.value.where
    assert "memory" in caught.value.hint


@linux
def test_workers_end_when_what_started_them_is_killed(tmp_path):
    program = """
        import os, signal, sys
        from ggship.gguf.pools import Forks

        class Work:
            def do(self, number):
                return os.getpid()

        with Forks(Work(), 2) as pool:
            pids = set()
            for pid in pool.results(1_000_000):
                pids.add(pid)
                if len(pids) == 2:
                    print(*pids, flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived the process that started it"
        time.sleep(0.02)


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"  # a zombie waits for its new parent alone
    except (FileNotFoundError, ProcessLookupError):
        return False


@linux
@pytest.mark.parametrize("quant", [None, "Q8_0", "Q4_K_M"])
def test_processes_write_the_bytes_that_one_thread_writes(models, adapter, tmp_path, quant):
    model = models.Model("llama", 3, width=512, ffn=1024, vocab=512, tied=False)
    base, lora = model.write(tmp_path / "base.gguf", "F16"), adapter(model)
    alone = merge_adapter(base, lora, tmp_path / "alone.gguf", quant=quant, threads=1)
    together = merge_adapter(base, lora, tmp_path / "together.gguf", quant=quant, threads=3)
    assert (tmp_path / "alone.gguf").read_bytes() == (tmp_path / "together.gguf").read_bytes()
    assert alone == together
    assert read_gguf(tmp_path / "together.gguf").size == together.bytes
