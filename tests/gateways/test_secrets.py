"""Secrets come from the environment or a private file, and travel only where nobody listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggship.errors import UsageError
from ggship.gateways import Secret, check_address, need_secret, read_secret

NAME = "GGSHIP_GATEWAY_TOKEN"


def private_file(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return {f"{NAME}_FILE": str(path)}


def test_from_the_environment_first(tmp_path: Path) -> None:
    env = private_file(tmp_path, "from-file\n")
    from_file, from_env = read_secret(NAME, env), read_secret(NAME, {**env, NAME: " from-env "})
    assert from_file
    assert from_file.reveal() == "from-file"
    assert from_env
    assert from_env.reveal() == "from-env"
    assert read_secret(NAME, {}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError) as caught:
        read_secret(NAME, private_file(tmp_path, "s3cret", mode))
    assert caught.value.hint.startswith("chmod 600")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["s3cret\nX-Evil: 1", "s3cret\rtwo", "s3cret\x07", "s3cret-schl\u00fcssel", "\ufeffs3cret"]
)
def test_what_no_header_can_carry_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    for env in ({NAME: value}, private_file(tmp_path, value)):
        with pytest.raises(UsageError, match=NAME) as caught:
            read_secret(NAME, env)
        told = f"{caught.value} {caught.value.where} {caught.value.hint} {caught.value!r}"
        assert "s3cret" not in told
        assert "X-Evil" not in told


def test_an_empty_or_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        read_secret(NAME, private_file(tmp_path, " \n"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_secret(NAME, {f"{NAME}_FILE": str(tmp_path / "none")})
    with pytest.raises(UsageError, match=NAME):
        need_secret(NAME, "a token", {})


def test_a_secret_shows_itself_in_no_text() -> None:
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {[secret]}"
    assert secret.hide_in("key s3cret.") == "key ***."


@pytest.mark.parametrize(
    ("url", "insecure", "goes"),
    [
        ("http://127.0.0.1:3000", False, True),
        ("http://localhost:3000/", False, True),
        ("http://[::1]:3000", False, True),
        ("http://10.0.0.5:3000", False, True),
        ("http://192.168.1.2", False, True),
        ("http://one-api:3000", False, True),  # resolves into the private network below
        ("https://gw.example.com", False, True),
        ("http://gw.example.com", False, False),
        ("http://gw.example.com", True, True),
        ("http://mixed.example.com", False, False),
        ("http://nowhere.example.com", False, False),
        ("http://8.8.8.8:3000", False, False),
        ("https://user:pass@gw.example.com", False, False),
        ("https://gw.example.com/?token=x", False, False),
        ("gw.example.com:3000", False, False),
        ("ftp://gw.example.com", False, False),
    ],
)
def test_where_a_token_may_travel(url: str, insecure: bool, goes: bool) -> None:
    names = {
        "one-api": ["172.18.0.3"],
        "gw.example.com": ["93.184.216.34"],
        "mixed.example.com": ["10.0.0.1", "93.184.216.34"],
    }
    if goes:
        assert check_address(url, insecure_http=insecure, resolver=lambda h: names.get(h, [])) == url.rstrip("/")
        return
    with pytest.raises(UsageError) as caught:
        check_address(url, insecure_http=insecure, resolver=lambda h: names.get(h, []))
    assert "pass" not in caught.value.where
    assert "token=x" not in caught.value.where
