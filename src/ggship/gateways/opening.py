"""Which gateway is at an address, and a client for it; its secrets are read from the environment only now."""

from __future__ import annotations

from pathlib import Path

from ggship.errors import GgshipError, ServerError, UsageError
from ggship.gateways.book import Known
from ggship.gateways.gateway import Gateway
from ggship.gateways.one_api import NEW_API_SIGNS, OneApi
from ggship.gateways.secrets import KEY, TOKEN, check_address, gateway_secret
from ggship.transport import Transport

KINDS = ("one-api", "new-api", "litellm")


def detect(url: str, *, insecure_http: bool = False) -> str:
    """What answers there, by what anyone may see; no secret is sent. Raises ServerError where we know it not."""
    transport = Transport(check_address(url, insecure_http=insecure_http))
    try:
        data = _object(transport, "/api/status").get("data")
        if isinstance(data, dict) and "version" in data:
            return "new-api" if any(sign in data for sign in NEW_API_SIGNS) else "one-api"
        from ggship.gateways.litellm import is_readiness

        if is_readiness(transport.request("GET", "/health/readiness", read_seconds=30)):
            return "litellm"
    finally:
        transport.close()
    raise ServerError(
        "no gateway that ggship knows answers there",
        where=f"{url}: neither /api/status (One-API, new-api) nor /health/readiness (LiteLLM) is as theirs",
        hint="check the address; --kind one-api|new-api|litellm if you know better",
    )


def open_gateway(known: Known) -> Gateway:
    """A client of that gateway, with its secrets. Raises UsageError where one is missing or may not travel there."""
    address = check_address(known.url, insecure_http=known.insecure_http)
    transport = Transport(address)
    key = gateway_secret(KEY, known.suffix)
    if known.kind == "litellm":
        from ggship.gateways.litellm import LiteLlmApi, LiteLlmFile

        token = gateway_secret(TOKEN, known.suffix)
        if known.config:
            return LiteLlmFile(transport, Path(known.config).expanduser(), key or token)
        if token is None:
            raise _no_token(known, "LiteLLM's master key")
        return LiteLlmApi(transport, token, key or token)
    token = gateway_secret(TOKEN, known.suffix)
    if token is None:
        raise _no_token(known, "an admin's access token of the gateway")
    if known.kind == "new-api":
        from ggship.gateways.new_api import NewApi

        return NewApi(transport, token, key, user_id=known.user_id)
    return OneApi(transport, token, key)


def _no_token(known: Known, what: str) -> GgshipError:
    names = [f"{TOKEN}{known.suffix}", TOKEN] if known.suffix else [TOKEN]
    return UsageError(
        f"{what} is needed",
        where=f"none of {', '.join(f'{name}[_FILE]' for name in names)} is set",
        hint=f"export {names[0]}_FILE=~/.config/ggship/secret   (a file with mode 600), or set {names[0]}",
    )


def _object(transport: Transport, path: str) -> dict[str, object]:
    reply = transport.request("GET", path, read_seconds=30)
    try:
        found = reply.json() if reply.ok else None
    except ServerError:
        found = None
    return found if isinstance(found, dict) else {}
