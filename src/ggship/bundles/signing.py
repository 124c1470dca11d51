"""Signatures of bundles, by OpenSSF's model-signing (ggship[sign]): over bundle.json, which has every digest.

bundle.sig is a Sigstore bundle, as model-signing makes it of a folder with nothing but bundle.json in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ggship.bundles.container import Bundle
from ggship.bundles.manifest import MANIFEST, SIGNATURE
from ggship.errors import MissingExtra, Refused, UsageError
from ggship.secrets import read_secret

PASSWORD = "GGSHIP_SIGN_PASSWORD"  # the name of a variable
_NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"


def signer(key: Path) -> Callable[[bytes], bytes]:
    """What makes bundle.sig of bundle.json, with a private elliptic-curve key in PEM.

    Its password, where it has one, comes from $GGSHIP_SIGN_PASSWORD or the file that $GGSHIP_SIGN_PASSWORD_FILE names.
    Raises MissingExtra without ggship[sign], UsageError where the key is none.
    """
    signing = _need().signing
    password = read_secret(PASSWORD)
    with _key(key, "private", f"is it encrypted? {PASSWORD} holds the password" if password is None else ""):
        config = signing.Config().use_elliptic_key_signer(
            private_key=key, password=password.reveal().encode() if password else None
        )

    def sign(manifest: bytes) -> bytes:
        with _folder(manifest) as (folder, signature):
            config.sign(folder, signature)
            return signature.read_bytes()

    return sign


def verifier(key: Path) -> Callable[[Bundle], str]:
    """What holds bundle.sig against a public key in PEM, and says whose it is.

    Raises MissingExtra and UsageError like `signer`. The returned function raises Refused where the bundle has no
    signature, or has one by another key or over other content.
    """
    verifying = _need().verifying
    with _key(key, "public", ""):
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)

    def verify(bundle: Bundle) -> str:
        if not bundle.signature:
            raise Refused(
                "the bundle is not signed",
                where=str(bundle.path),
                hint="ask for one that is (ggship export --sign KEY), or leave --verify-key out",
            )
        with _folder(bundle.raw) as (folder, signature):
            signature.write_bytes(bundle.signature)
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it prints warnings
                    config.verify(folder, signature)
            except Exception as error:  # it raises what its parts raise: of cryptography, protobuf, JSON
                raise Refused(
                    "the bundle's signature does not hold",
                    where=f"{bundle.path}: {str(error).strip() or type(error).__name__}; the key is {key}",
                    hint="was it signed with the other half of this key? If so, do not use this bundle",
                ) from error
        return f"by {key.name}, sha256 {_fingerprint(bundle.signature)[:16]}"

    return verify


def _need() -> Any:
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError as error:
        raise MissingExtra("sign", needed_for="signing a bundle, and checking who signed it,") from error
    return model_signing


@contextlib.contextmanager
def _key(path: Path, kind: str, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the {kind} key cannot be read", where=f"{path}: {error.strerror}", hint=f"a new pair: {_NEW_KEY}"
        ) from error
    except Exception as error:  # ValueError and TypeError of cryptography, UnsupportedAlgorithm of no common kind
        told = " ".join(str(error).split())[:120]
        raise UsageError(
            f"this is no {kind} key that signs bundles: an elliptic-curve one in PEM",
            where=f"{path}: {told}",
            hint=hint or f"a new pair: {_NEW_KEY}",
        ) from None


@contextlib.contextmanager
def _folder(manifest: bytes) -> Iterator[tuple[Path, Path]]:
    """(A folder called `bundle` with bundle.json in it, where its signature goes beside it.)"""
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "bundle"
        folder.mkdir()
        (folder / MANIFEST).write_bytes(manifest)
        yield folder, Path(above) / SIGNATURE


def _fingerprint(signature: bytes) -> str:
    """The sha256 of the public key's PEM, which the signature names; verification has held it against the key."""
    hint = json.loads(signature).get("verificationMaterial", {}).get("publicKey", {}).get("hint", "")
    return str(hint)
