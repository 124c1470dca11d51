"""Bundles signed by model-signing itself: only what the key signed comes in.

Marked hf, since ggship[sign] is installed where ggship[hf] is.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ggship.bundles.container import open_bundle
from ggship.package import read_package

pytestmark = pytest.mark.hf


def make_key(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A private and a public elliptic-curve key in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(pem, form, locked))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def law(shop: Any) -> Any:
    shop.package(evaluate=False)
    return shop


def test_what_the_key_signed_comes_in_and_nothing_else(law: Any, capsys: pytest.CaptureFixture[str]) -> None:
    private, public = make_key(law.root, "mine")
    _, other = make_key(law.root, "other")
    assert law.ggship("export", "law", "-o", "signed.ggship", "--sign", private) == 0
    assert law.ggship("export", "law", "-o", "plain.ggship") == 0
    command = ("import", "--runtime", "none", "--out", "there", "--name", "there")
    capsys.readouterr()
    assert law.ggship(*command, "plain.ggship", "--verify-key", public) == 4
    assert "the bundle is not signed" in capsys.readouterr().err
    assert law.ggship(*command, "signed.ggship", "--verify-key", other) == 4
    assert "signature does not hold" in capsys.readouterr().err
    assert not (law.root / "there").exists()
    assert law.ggship(*command, "signed.ggship", "--verify-key", public) == 0
    assert "by mine.pub, sha256" in capsys.readouterr().out
    assert str(read_package(law.root / "there").document["imported"]["signature"]).startswith("by mine.pub")


def test_unsigned_and_unchecked_say_so(law: Any, capsys: pytest.CaptureFixture[str]) -> None:
    private, _ = make_key(law.root, "mine")
    assert law.ggship("export", "law", "-o", "signed.ggship", "--sign", private) == 0
    assert law.ggship("import", "signed.ggship", "--runtime", "none", "--out", "there") == 0
    assert "nobody looked at the signature" in capsys.readouterr().err


def test_a_signature_of_another_bundle_or_a_broken_one_is_refused(law: Any) -> None:
    from ggship.bundles.container import Bundle, header
    from ggship.bundles.signing import verifier
    from ggship.errors import Refused

    private, public = make_key(law.root, "mine")
    assert law.ggship("export", "law", "-o", "a.ggship", "--sign", private) == 0
    bundle = open_bundle(law.root / "a.ggship")
    verify = verifier(public)
    verify(bundle)
    for raw, signature in (
        (bundle.raw.replace(b"law", b"lax", 1), bundle.signature),
        (bundle.raw, bundle.signature.replace(b'"sig": "ME', b'"sig": "MF').replace(b'"sig":"ME', b'"sig":"MF')),
        (bundle.raw, b"{}"),
        (bundle.raw, b"\x00\xff"),
    ):
        with pytest.raises(Refused, match="signature does not hold"):
            verify(Bundle(bundle.path, bundle.manifest, raw, signature, bundle.starts))
    assert header("bundle.sig", len(bundle.signature)) in (law.root / "a.ggship").read_bytes()


def test_model_signing_verifies_it_without_us(law: Any) -> None:
    private, public = make_key(law.root, "mine")
    assert law.ggship("export", "law", "-o", "a.ggship", "--sign", private) == 0
    (law.root / "by-hand").mkdir()
    subprocess.run(["tar", "-xf", "a.ggship", "bundle.sig"], cwd=law.root, check=True)
    subprocess.run(["tar", "-C", "by-hand", "-xf", "a.ggship", "bundle.json"], cwd=law.root, check=True)
    from model_signing import verifying

    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(law.root / "by-hand", law.root / "bundle.sig")
    (law.root / "by-hand/bundle.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="mismatch"):
        config.verify(law.root / "by-hand", law.root / "bundle.sig")


def test_keys_with_a_password_and_keys_that_are_none(
    law: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = make_key(law.root, "mine", b"marker-password")
    command = ("export", "law", "-o", "a.ggship", "--sign")
    assert law.ggship(*command, private) == 2
    assert "GGSHIP_SIGN_PASSWORD holds the password" in capsys.readouterr().err
    monkeypatch.setenv("GGSHIP_SIGN_PASSWORD", "marker-password")
    assert law.ggship(*command, private) == 0
    assert b"marker-password" not in (law.root / "a.ggship").read_bytes()
    monkeypatch.delenv("GGSHIP_SIGN_PASSWORD")
    with contextlib.suppress(FileNotFoundError):
        (law.root / "a.ggship").unlink()
    assert law.ggship(*command, public) == 2
    assert law.ggship(*command, law.root / "nothing.pem") == 2
    assert "openssl ecparam" in capsys.readouterr().err
    assert not (law.root / "a.ggship").exists()
