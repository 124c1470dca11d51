"""What quantizes here is told without loading it, and how many cores there are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ggship.cores import cores
from ggship.gguf.installed import find_library, kernels_identity
from ggship.gguf.quantize import best_kernels


def test_the_identity_changes_with_the_library_that_quantizes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    alone = kernels_identity()
    assert alone.startswith(best_kernels().name.partition(" ")[0])
    library = tmp_path / "libggml-base.so"
    library.write_bytes(b"one")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path))
    assert find_library() == library
    one = kernels_identity()
    assert set(one.split(" and ")) > set(alone.split(" and "))
    library.write_bytes(b"another")
    assert len({alone, one, kernels_identity()}) == 3


def test_telling_it_imports_neither_numpy_nor_the_kernels():
    code = (
        "import sys; from ggship.gguf.installed import kernels_identity; kernels_identity();"
        "sys.exit(' '.join({'numpy', 'gguf', 'libgguf', 'ctypes'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux takes cores away")
def test_cores_are_those_that_we_may_use():
    one = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    code = f"{one}; from ggship.cores import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert cores() == len(os.sched_getaffinity(0))
