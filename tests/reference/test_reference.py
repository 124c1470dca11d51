"""`ggship verify --reference` says of a package whether it is what was trained, to the token."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ggship.evals import read_report
from ggship.gguf.reader import read_gguf
from ggship.package import write_sums

pytestmark = pytest.mark.hf


def alter(package: Path, name: str = "blk.1.ffn_down.weight") -> None:
    """Turn a tensor's sign round and sign the package again: every digest holds, and the model is another one."""
    file = package / "model.f16.gguf"
    tensor = next(tensor for tensor in read_gguf(file).tensors if tensor.name == name)
    content = bytearray(file.read_bytes())
    for at in range(tensor.offset + 1, tensor.offset + tensor.nbytes, 2):
        content[at] ^= 0x80
    file.unlink()  # it may be a link to the ledger's
    file.write_bytes(content)
    document = json.loads((package / "ggship.json").read_text())
    document["merge"]["sha256"] = sha256(content).hexdigest()
    (package / "ggship.json").write_text(json.dumps(document))
    (package / "SHA256SUMS").write_text(write_sums(package))


def test_a_package_that_is_what_was_trained_and_one_that_is_not(shop, capsys):
    assert shop.make() == 0
    capsys.readouterr()

    assert shop.ggship("verify", "law", "--reference", "--tokens", 12, "--json") == 0
    found = json.loads(capsys.readouterr().out)["reference"]
    assert found["agreement"] == 1
    assert 20 < found["positions"] <= 36  # some answers end earlier
    assert found["same_answers"] == 3
    assert 0 < found["kl_mean"] <= found["kl_max"] < 1e-4
    assert (found["precision"], found["bar"], found["tokens"], found["prompts"]) == ("F16", 0.99, [], [])
    report = read_report(shop.package / "eval" / "report.json")
    assert report.reference is not None
    assert report.passed
    assert "Against what was trained" in (shop.package / "eval" / "report.html").read_text()
    assert shop.ggship("verify", "law") == 0
    capsys.readouterr()
    assert shop.make("--json") == 0
    assert json.loads(capsys.readouterr().out)["ran"] == []

    alter(shop.package)
    assert shop.ggship("verify", "law") == 0
    assert shop.ggship("verify", "law", "--reference", "--tokens", 12) == 3
    told = capsys.readouterr()
    assert "law is not what was trained" in told.err
    assert "99 % wanted at F16" in told.err
    report = read_report(shop.package / "eval" / "report.json")
    assert not report.passed
    assert report.reference.agreement < 0.9
    assert report.reference.kl_mean > 0.01
