"""LiteLLM's proxy: deployments in a YAML file of ggship's own, or through its admin API where it has a database.

Source: LiteLLM 1.106.2, run for real with a file and no database; its admin API by its source
(proxy/management_endpoints/model_management_endpoints.py), since that needs PostgreSQL and Prisma's engine.
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from ggship.errors import BadFile, Refused, ServerError, UsageError
from ggship.gateways.gateway import ASK_TOKENS, LIMITS_CHECK, Gateway, GatewayStatus, Said, Tested, Traits
from ggship.gateways.model import DISABLED, ENABLED, MARK, PRIORITY, Channel, ChannelId
from ggship.gateways.relay import Relay, no_key
from ggship.gateways.secrets import TOKEN, Secret
from ggship.transport import Reply, Transport

NATIVE, OPENAI, OTHER = 0, 1, -1
PREFIXES = {NATIVE: "ollama_chat/", OPENAI: "openai/"}
PLACEHOLDER = "ollama"  # the OpenAI client behind it wants a key; Ollama reads none
TEST_SECONDS = 300.0


class LiteLlm(Gateway):
    """One LiteLLM proxy. key: a client's virtual key, or the master key, to ask and to look with."""

    def __init__(self, transport: Transport, key: Secret | None, hide: Sequence[Secret] = ()) -> None:
        super().__init__()
        self.url = transport.base_url
        self._transport = transport
        self._key = key
        self._secrets = [*hide, *([key] if key else [])]
        self._relay = Relay(transport, key, self._hide) if key else None

    @property
    def can_ask(self) -> bool:
        """Whether there is a key."""
        return self._relay is not None

    def status(self) -> GatewayStatus:
        """What answers there. No key is sent. Raises ServerError where it is no LiteLLM."""
        reply = self._transport.request("GET", "/health/readiness", read_seconds=30)
        if not is_readiness(reply):
            raise ServerError(
                "this is no LiteLLM", where=f"GET {self.url}/health/readiness: HTTP {reply.status}", hint="check --url"
            )
        return GatewayStatus("litellm", reply.headers.get("x-litellm-version", ""), "")

    def find(self, name: str) -> list[Channel]:
        """The deployments of exactly that id; ids are names here."""
        return [channel for channel in self.channels() if channel.id == name]

    def get(self, number: ChannelId) -> Channel:
        """One deployment. Raises ServerError where there is none of that id."""
        found = self.find(str(number))
        if not found:
            raise ServerError("there is no such deployment", where=f"{number} at {self.url}", status=404)
        return found[0]

    def test(self, number: ChannelId, model: str) -> Tested:  # noqa: ARG002  (it asks the deployment's own model)
        """LiteLLM asks the deployment's upstream itself (/health?model_id=)."""
        if self._key is None:
            raise no_key()
        reply = self._get(f"/health?model_id={quote(str(number), safe='')}", self._key, seconds=TEST_SECONDS)
        found = _object(reply)
        if found.get("healthy_endpoints"):
            return Tested(True, "", 0.0)
        sick = found.get("unhealthy_endpoints")
        why = str(
            (sick[0] if isinstance(sick, list) and sick else {}).get("error") or _words(found) or "not known there"
        )
        return Tested(False, self._hide(why.splitlines()[0][:300]), 0.0)

    def ask(
        self, model: str, *, channel: ChannelId | None = None, stream: bool = False, tokens: int = ASK_TOKENS
    ) -> Said:
        """Ask as a client does, or for one deployment by its id."""
        if self._relay is None:
            raise no_key()
        return self._relay.ask(model if channel is None else str(channel), stream=stream, tokens=tokens)

    def comes_back(self) -> str:
        """What is blocked stays so."""
        return ""

    def holds_limits(self) -> bool:
        """Whether `rpm` and `tpm` are limits there, and not merely weights."""
        if self._key is None:
            return False
        values = _object(self._get("/router/settings", self._key)).get("current_values")
        checks = values.get("optional_pre_call_checks") if isinstance(values, dict) else None
        return LIMITS_CHECK in (checks or [])

    @abstractmethod
    def need_writable(self) -> GatewayStatus:
        """See Gateway."""

    def _get(self, path: str, key: Secret, seconds: float | None = 60) -> Reply:
        headers = {"Authorization": f"Bearer {key.reveal()}"}
        return self._transport.request("GET", path, headers=headers, read_seconds=seconds)

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = secret.hide_in(text)
        return text


class LiteLlmFile(LiteLlm):
    """A LiteLLM without a database. file: YAML that the proxy's own file includes, and that holds nothing but ours."""

    traits: ClassVar[Traits] = Traits(
        "litellm", types={"native": NATIVE, "openai": OPENAI}, weights=True, limits=True, groups=False, restart=True
    )

    def __init__(self, transport: Transport, file: Path, key: Secret | None = None) -> None:
        super().__init__(transport, key)
        self.file = file

    def need_writable(self) -> GatewayStatus:
        """Raise Refused where the file holds what ggship did not write: it would come out without its comments."""
        document = self._read()
        foreign = [key for key in document if key != "model_list"]
        foreign += [c.name or "a deployment without an id" for c in self._channels(document) if not c.mark]
        if foreign:
            raise Refused(
                "that file holds more than ggship's own deployments, so it is not written",
                where=f"{self.file}: {', '.join(sorted(set(foreign)))}",
                hint="name a file of its own with --config, and add it to LiteLLM's: include: [ggship.yaml]",
            )
        return GatewayStatus("litellm", "", "")

    def channels(self) -> list[Channel]:
        """What the file holds, newest first; none where there is no file yet."""
        return self._channels(self._read())[::-1]

    def warnings(self, model: str) -> list[str]:  # noqa: ARG002
        """Nothing that an admin would not know."""
        return []

    def _channels(self, document: Mapping[str, Any]) -> list[Channel]:
        rows = document.get("model_list") or []
        return [channel_of(row) for row in rows if isinstance(row, dict)]

    def _read(self) -> dict[str, Any]:
        import yaml

        try:
            found = yaml.safe_load(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise BadFile(
                "LiteLLM's file cannot be read",
                where=f"{self.file}: {str(error).splitlines()[0]}",
                hint="check --config",
            ) from error
        if found is None:
            return {}
        if not isinstance(found, dict) or not isinstance(found.get("model_list") or [], list):
            raise BadFile("that is no file of LiteLLM's", where=str(self.file), hint="check --config")
        return found

    def _post(self, wanted: Channel) -> None:
        self._change(lambda rows: [*rows, deployment(wanted)])

    def _put(self, now: Channel, wanted: Channel) -> None:
        self._change(lambda rows: [deployment(wanted) if _id(row) == now.id else row for row in rows])

    def _remove(self, number: ChannelId) -> None:
        self._change(lambda rows: [row for row in rows if _id(row) != number])

    def _change(self, change: Callable[[list[Any]], list[Any]]) -> None:
        """Write the file beside its place and rename it there; what it was stays as FILE.bak."""
        import yaml

        rows = change(list(self._read().get("model_list") or []))
        head = "# Written by ggship, which writes over it: nothing of your own is kept here.\n"
        text = head + yaml.safe_dump({"model_list": rows}, sort_keys=False, allow_unicode=True)
        beside = self.file.with_name(f".{self.file.name}.new")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, "utf-8")
            if self.file.exists():
                shutil.copymode(self.file, beside)
                shutil.copy2(self.file, self.file.with_name(f"{self.file.name}.bak"))
            beside.replace(self.file)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise UsageError("LiteLLM's file cannot be written", where=f"{self.file}: {error.strerror}") from error


class LiteLlmApi(LiteLlm):
    """A LiteLLM with a database. token: the master key, or an admin's."""

    traits: ClassVar[Traits] = Traits(
        "litellm", types={"native": NATIVE, "openai": OPENAI}, weights=True, limits=True, groups=False, lag=30
    )

    def __init__(self, transport: Transport, token: Secret, key: Secret | None = None) -> None:
        super().__init__(transport, key, [token])
        self._token = token

    def need_writable(self) -> GatewayStatus:
        """Raise Refused where it has no database: then nothing can be written through its API."""
        status = self.status()
        reply = self._get("/health/readiness", self._token)
        if _object(reply).get("db") != "connected":
            raise Refused(
                "this LiteLLM has no database, so its deployments stand in a file",
                where=self.url,
                hint="--config FILE   a file of ggship's own, that LiteLLM's includes: include: [ggship.yaml]",
            )
        return status

    def channels(self) -> list[Channel]:
        """Every deployment, newest first, those of its file too."""
        rows = self._admin("GET", "/model/info").get("data")
        return [channel_of(row) for row in rows if isinstance(row, dict)][::-1] if isinstance(rows, list) else []

    def warnings(self, model: str) -> list[str]:  # noqa: ARG002
        """Nothing that an admin would not know."""
        return []

    def _post(self, wanted: Channel) -> None:
        self._admin("POST", "/model/new", deployment(wanted))
        self._block(wanted)

    def _put(self, now: Channel, wanted: Channel) -> None:  # noqa: ARG002  (it takes the whole of it)
        # Off first, on last: it is never on as it was before.
        if not wanted.enabled:
            self._block(wanted)
        self._admin("POST", "/model/update", deployment(wanted))
        if wanted.enabled:
            self._block(wanted)

    def _remove(self, number: ChannelId) -> None:
        self._admin("POST", "/model/delete", {"id": str(number)})

    def _block(self, wanted: Channel) -> None:
        word = "unblock" if wanted.enabled else "block"
        self._admin("POST", f"/model/{word}", {"model_id": _id(deployment(wanted))})

    def _admin(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        reply = self._transport.request(method, path, json=body, headers=headers, read_seconds=60)
        found = _object(reply)
        if reply.ok and "error" not in found:
            return found
        words = self._hide(_words(found) or "no reason given")
        where = f"{method} {path} at {self.url}: HTTP {reply.status}: {words.splitlines()[0][:200]}"
        hint = f"{TOKEN} is LiteLLM's master key, or an admin's" if reply.status in (400, 401, 403) else ""
        raise ServerError("LiteLLM refused", where=where, hint=hint, status=reply.status)


def is_readiness(reply: Reply) -> bool:
    """Whether that is how a LiteLLM says that it is ready; a version stands in it only for those with a key."""
    found = _object(reply)
    return reply.status in (200, 503) and "status" in found and "db" in found


def channel_of(row: Mapping[str, Any]) -> Channel:
    """A deployment as a channel. What is no Ollama's has the type OTHER."""
    params = _dict(row.get("litellm_params"))
    info = _dict(row.get("model_info"))
    full, public = str(params.get("model") or ""), str(row.get("model_name") or "")
    kind = next((kind for kind, prefix in PREFIXES.items() if full.startswith(prefix)), OTHER)
    model = full.removeprefix(PREFIXES.get(kind, ""))
    number = str(info.get("id") or "")
    return Channel(
        id=number,
        name=number,
        type=kind,
        status=DISABLED if info.get("blocked") else ENABLED,
        base_url=str(params.get("api_base") or "").rstrip("/").removesuffix("/v1"),
        models=(public,) if public else (),
        group=("default",),
        model_mapping={} if model == public else {public: model},
        priority=PRIORITY,
        config={MARK: info[MARK]} if isinstance(info.get(MARK), dict) else {},
        weight=int(params.get("weight") or 0),
        rpm=params.get("rpm"),
        tpm=params.get("tpm"),
    )


def deployment(channel: Channel) -> dict[str, Any]:
    """The channel as LiteLLM writes one. Law: channel_of(deployment(channel)) == channel, for a channel of ours."""
    number = str(channel.id or channel.name)
    params: dict[str, Any] = {"model": f"{PREFIXES[channel.type]}{channel.model}", "api_base": channel.base_url}
    if channel.type == OPENAI:
        params |= {"api_base": f"{channel.base_url}/v1", "api_key": PLACEHOLDER}
    limits = {"weight": channel.weight or None, "rpm": channel.rpm, "tpm": channel.tpm}
    params |= {key: value for key, value in limits.items() if value is not None}
    info = {"id": number, "blocked": not channel.enabled, MARK: dict(channel.mark)}
    return {"model_name": channel.public, "litellm_params": params, "model_info": info}


def _id(row: Any) -> str:
    return str(_dict(_dict(row).get("model_info")).get("id") or "")


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _object(reply: Reply) -> dict[str, Any]:
    try:
        return _dict(reply.json())
    except ServerError:
        return {}


def _words(found: Mapping[str, Any]) -> str:
    error = found.get("error") or found.get("detail")
    if isinstance(error, dict):
        error = error.get("message") or error.get("error")
    return str(error or "")
