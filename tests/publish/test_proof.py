"""Nothing is published or routed that did not pass, or is no longer what passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggship.errors import GateFailed, Refused
from ggship.package import PackageInfo
from ggship.publish import need_proof

DIGEST = "a" * 64


def package(*, passed: bool | None = True, digest: str | None = DIGEST) -> PackageInfo:
    model = {"runtime": "ollama", "host": "http://ollama.test:11434", "name": "law:latest", "digest": digest}
    return PackageInfo(Path("dist/law"), {"name": "law", "model": model, "eval": {"passed": passed}})


def test_what_passed_and_is_still_there_goes() -> None:
    assert need_proof(package(), DIGEST) == ()
    assert need_proof(package(digest=f"sha256:{DIGEST}"), DIGEST) == ()


@pytest.mark.parametrize("passed", [False, None])
def test_what_did_not_pass_goes_nowhere_unless_forced(passed: bool | None) -> None:
    with pytest.raises(GateFailed) as caught:
        need_proof(package(passed=passed), DIGEST)
    assert caught.value.exit_code == 3
    assert "ggship eval law" in caught.value.hint
    assert "did not pass" in need_proof(package(passed=passed), DIGEST, force=True)[0]


def test_a_model_that_was_exchanged_behind_the_name_is_refused() -> None:
    with pytest.raises(Refused, match="not the one that was proven") as caught:
        need_proof(package(), "b" * 64)
    assert caught.value.exit_code == 4
    assert need_proof(package(), "b" * 64, force=True)
    with pytest.raises(Refused):
        need_proof(package(digest=None), DIGEST)


def test_a_model_that_is_gone_cannot_be_forced() -> None:
    with pytest.raises(Refused, match="holds no model law:latest"):
        need_proof(package(), None, force=True)
