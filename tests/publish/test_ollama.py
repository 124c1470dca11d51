"""Pushing and reading back: what arrived is what the server holds, or an error names the layer that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ggship.errors import Damaged, Refused, ServerError, ServerUnreachable, UsageError
from ggship.publish import Published, parse_target, publish_to_registry
from ggship.publish.registry import FETCHED_BYTES
from ggship.transport import Reply, Transport

PLACE = "ollama:localhost:5000/ns/law"
REFERENCE = "localhost:5000/ns/law:latest"
LAYERS = {"model": b"weights" * 10, "adapter": b"lora", "template": b"{{ .Prompt }}", "params": b'{"stop":["x"]}'}


def publish(world: SimpleNamespace, place: str = PLACE, **more: Any) -> Published:
    return publish_to_registry(world.client, "law:latest", parse_target(place), connect=world.connect, **more)


def test_every_layer_is_pushed_and_read_back(world: SimpleNamespace) -> None:
    held = world.ollama.add("law:latest", **LAYERS)
    seen: list[str] = []
    done = publish(world, on_progress=lambda status, completed, total: seen.append(status))
    assert done.pushed
    assert done.reference == REFERENCE
    assert [layer.kind for layer in done.layers] == [*LAYERS, "config"]
    assert [layer.digest for layer in done.layers[:-1]] == [world.digest_of(data) for data in LAYERS.values()]
    assert done.digest == world.digest_of(world.registry.manifests["ns/law:latest"])
    assert done.bytes == sum(layer.size for layer in done.layers)
    assert world.ollama.pushes == [{"model": REFERENCE, "insecure": True, "stream": True}]
    assert seen[-1] == "success"
    assert list(world.ollama.models) == ["law:latest"]  # the second name is gone
    assert world.client.digest("law:latest") == held.removeprefix("sha256:")


def test_publishing_again_pushes_nothing(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    first = publish(world)
    again = publish(world)
    assert (again.pushed, again.digest, again.replaced) == (False, first.digest, "")
    assert len(world.ollama.pushes) == 1


def test_a_new_release_replaces_the_tag_and_says_what_it_replaced(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    first = publish(world)
    world.ollama.add("law:latest", **{**LAYERS, "adapter": b"better"})
    second = publish(world)
    assert (second.pushed, second.replaced) == (True, first.digest)


def other_layer(kind: str) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        manifest = json.loads(raw)
        for row in [*manifest["layers"], manifest["config"]]:
            if row["mediaType"].endswith(f".{kind}") or (kind == "config" and row is manifest["config"]):
                row["digest"] = "sha256:" + "7" * 64
        return json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize("kind", ["model", "adapter", "template", "params", "config"])
def test_a_registry_that_lists_another_layer_is_found_out_by_its_name(world: SimpleNamespace, kind: str) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.before_manifest = other_layer(kind)
    with pytest.raises(Damaged, match=f"another {kind} layer") as caught:
        publish(world)
    assert "sha256:7777" in caught.value.where
    assert REFERENCE not in world.ollama.models


@pytest.mark.parametrize("kind", ["adapter", "params"])
def test_a_manifest_that_leaves_a_layer_out_is_found_out(world: SimpleNamespace, kind: str) -> None:
    world.ollama.add("law:latest", **LAYERS)

    def leave_out(raw: bytes) -> bytes:
        manifest = json.loads(raw)
        manifest["layers"] = [row for row in manifest["layers"] if not row["mediaType"].endswith(kind)]
        return json.dumps(manifest).encode()

    world.ollama.before_manifest = leave_out
    with pytest.raises(Damaged, match=r"leaves out|another adapter layer"):
        publish(world)


def test_a_manifest_in_other_words_with_the_same_layers_is_the_same_model(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.before_manifest = lambda raw: json.dumps(json.loads(raw), indent=1, sort_keys=True).encode()
    assert publish(world).pushed


def test_a_registry_that_lies_about_its_manifest(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    publish(world)
    world.registry.said_digest = "sha256:" + "0" * 64
    with pytest.raises(Damaged, match="names another digest"):
        publish(world)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda blobs, digest: blobs.pop(digest), "does not hold"),
        (lambda blobs, digest: blobs.update({digest: b"{{ .Prompt }!"}), "not what its digest says"),
        (lambda blobs, digest: blobs.update({digest: b"short"}), "has 5 bytes"),
    ],
)
def test_a_registry_whose_blob_is_not_the_one_it_lists(world: SimpleNamespace, damage: Any, words: str) -> None:
    world.ollama.add("law:latest", **LAYERS)
    publish(world)
    digest = world.digest_of(LAYERS["template"])
    damage(world.registry.blobs, digest)
    with pytest.raises(Damaged, match=words) as caught:
        publish(world)
    assert f"template layer {digest}" in caught.value.where


def test_large_blobs_are_not_fetched_but_their_size_is_compared(world: SimpleNamespace) -> None:
    big = b"w" * (FETCHED_BYTES + 1)
    world.ollama.add("law:latest", model=big)
    publish(world)
    assert f"HEAD http://localhost:5000/v2/ns/law/blobs/{world.digest_of(big)}" in world.registry.calls
    world.registry.blobs[world.digest_of(big)] = big[:-1]
    with pytest.raises(Damaged, match="a layer in the registry has"):
        publish(world)


@pytest.mark.parametrize("length", ["", "many", "-5", "1e6", "0x10"])
def test_a_registry_that_tells_no_size_is_found_out(world: SimpleNamespace, length: str) -> None:
    big = b"w" * (FETCHED_BYTES + 1)
    world.ollama.add("law:latest", model=big)
    world.registry.said_length = length
    with pytest.raises(Damaged, match="does not tell the size") as caught:
        publish(world)
    assert world.digest_of(big) in caught.value.where


@pytest.mark.parametrize(
    "digest",
    ["sha256:77", "sha256:" + "g" * 64, "sha256:" + "7" * 64 + "/../x", "../../v2/_catalog", "md5:" + "7" * 32],
)
def test_what_is_no_digest_never_becomes_an_address(world: SimpleNamespace, digest: str) -> None:
    world.ollama.add("law:latest", **LAYERS)

    def change(raw: bytes) -> bytes:
        manifest = json.loads(raw)
        manifest["layers"][0]["digest"] = digest
        return json.dumps(manifest).encode()

    world.ollama.before_manifest = change
    with pytest.raises(Damaged, match="no manifest of a model"):
        publish(world)
    assert not [call for call in world.registry.calls if "/blobs/" in call]


def test_an_error_inside_the_push_is_an_error_and_the_second_name_goes(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.push_error = "unauthorized: access denied"
    with pytest.raises(ServerError, match="could not push") as caught:
        publish(world)
    assert "access denied" in caught.value.where
    assert list(world.ollama.models) == ["law:latest"]


def test_a_stop_in_the_middle_of_the_push_takes_the_second_name_away(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)

    def stopped(status: str, completed: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(world, on_progress=stopped)
    assert list(world.ollama.models) == ["law:latest"]


def test_a_name_of_someone_elses_on_the_server_is_not_taken(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.add(REFERENCE, model=b"another")
    with pytest.raises(Refused, match="another model under the name"):
        publish(world)
    assert world.ollama.pushes == []
    assert publish(world, force=True).pushed
    assert REFERENCE in world.ollama.models  # it was there before


def test_no_registry_there() -> None:
    from ggship.publish.registry import find_scheme

    with pytest.raises(ServerUnreachable, match="no registry answers at 127"):
        find_scheme(parse_target("ollama:127.0.0.1:1/ns/law"), insecure=False)


def test_no_model_there(world: SimpleNamespace) -> None:
    with pytest.raises(ServerError, match="holds no model"):
        publish(world)
    assert world.registry.calls == []


def test_plain_http_far_away_needs_a_flag(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    place = "ollama:http://reg.example.com/ns/law"
    with pytest.raises(UsageError, match="plain http"):
        publish(world, place)
    assert world.registry.calls == []
    assert publish(world, place, insecure=True).pushed
    assert world.ollama.pushes[0]["insecure"] is True


@pytest.mark.parametrize("place", ["ollama:reg.example.com/ns/law", PLACE])
def test_https_is_pushed_to_as_https(world: SimpleNamespace, place: str) -> None:
    world.registry.scheme = "https"
    world.ollama.add("law:latest", **LAYERS)
    assert publish(world, place).pushed
    assert world.ollama.pushes[0]["insecure"] is False


def test_a_registry_that_wants_a_login_to_be_read_is_said(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.registry.status = 401
    with pytest.raises(ServerError, match="does not show") as caught:
        publish(world)
    assert "login" in caught.value.hint


def test_a_registry_with_an_error_of_its_own_gets_no_push(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.registry.status = 500
    with pytest.raises(ServerError):
        publish(world, "ollama:http://localhost:5000/ns/law")
    assert world.ollama.pushes == []


def test_what_is_no_registry_gets_a_word_for_it(world: SimpleNamespace) -> None:
    from ggship.publish import Registry
    from ggship.transport import Reply

    page = Transport("http://x.test", handler=lambda sent: Reply(200, b"<html>", {"content-type": "text/html"}))
    with pytest.raises(Damaged, match="no manifest of a model"):
        Registry(page, parse_target(PLACE)).manifest()


def test_whether_ollama_can_pull_it_is_said(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    assert "Location" in publish(world).warnings[0]
    world.registry.location = True
    assert publish(world).warnings == ()


@pytest.mark.parametrize(("kind", "named"), [("model", "the model layer"), ("params", "the layer")])
def test_a_push_that_breaks_off_names_the_layer_and_how_far_it_came(
    world: SimpleNamespace, kind: str, named: str
) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.breaks_at = kind
    with pytest.raises(ServerError, match="could not push") as caught:
        publish(world)
    digest = world.digest_of(LAYERS[kind])[7:19]
    assert f"broke off at {named} {digest}, 3 of {len(LAYERS[kind])} bytes sent" in caught.value.where
    assert "run the same command again" in caught.value.hint
    assert list(world.ollama.models) == ["law:latest"]
    assert world.registry.manifests == {}


def test_an_ollama_that_is_not_signed_in_pushes_nothing_to_ollama_com(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    link = "https://ollama.com/connect?name=x&key=y"
    world.ollama.account = Reply(401, json.dumps({"error": "unauthorized", "signin_url": link}).encode())
    with pytest.raises(UsageError, match="not signed in") as caught:
        publish(world, "ollama:me/law")
    assert "https://ollama.com/settings/keys" in caught.value.where
    assert caught.value.hint == f"ollama signin   (or open {link})"
    assert (world.ollama.pushes, world.registry.calls) == ([], [])


def test_what_must_stand_on_ollama_com_is_said(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.registry.scheme = "https"
    told = publish(world, "ollama:me/law", dry_run=True).warnings
    assert "cannot be seen from here" in told[0]
    assert "me be that account's name" in told[0]
    world.ollama.account = Reply(200, b'{"name":"someone","email":"x@y.z"}')
    assert "signed in as someone: a push into me" in publish(world, "ollama:me/law", dry_run=True).warnings[0]
    world.ollama.account = Reply(200, b'{"name":"Me"}')
    assert publish(world, "ollama:me/law", dry_run=True).warnings == ()
    world.ollama.push_error = "unauthorized: access denied"
    with pytest.raises(ServerError, match="could not push") as caught:
        publish(world, "ollama:me/law")
    assert "must be at https://ollama.com/settings/keys" in caught.value.hint


def test_a_registry_of_ones_own_needs_no_account(world: SimpleNamespace) -> None:
    world.ollama.add("law:latest", **LAYERS)
    world.ollama.account = Reply(401, b'{"error":"unauthorized"}')
    assert publish(world).pushed
