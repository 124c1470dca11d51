"""`ggship package --gateway NAME` goes the whole way, and no further than it was proven."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ggship.gateways.book import Known, add


@pytest.fixture(scope="module")
def stand_in() -> ModuleType:
    folder = Path(__file__).parent.parent / "gateways" / "stand_in"
    spec = importlib.util.spec_from_file_location(
        "one_api_stand_in_ship", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def office(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A One-API that was added as `office`, with its secrets in the environment."""
    running = stand_in.StandIn()
    running.add_key("CLIENT")
    add(Known("office", "one-api", running.start()))
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN_OFFICE", "ROOT-TOKEN")
    monkeypatch.setenv("GGSHIP_GATEWAY_KEY_OFFICE", "CLIENT")
    yield running
    running.stop()


def ship(shop: Any, *arguments: str) -> int:
    """`ggship package` of the shop's run, on its server."""
    rest = ("--name", "law", "--base", shop.base, "--out", shop.root / "law", "--host", shop.server.url)
    code: int = shop.ggship("package", shop.run, *rest, *arguments)
    return code


def test_the_whole_way_and_again_is_nothing(shop: Any, office: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ship(shop, "--gateway", "office") == 0
    words = capsys.readouterr().out
    assert "is live" in words
    assert "channel 1 at http://127.0.0.1" in words
    (channel,) = office.channels.values()
    assert (channel["status"], channel["base_url"]) == (1, shop.server.url)
    writes = len(office.writes())
    assert ship(shop, "--gateway", "office", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ran"] == []
    assert (document["gateway"]["id"], document["gateway"]["changed"]) == (1, [])
    assert len(office.writes()) == writes


def test_what_does_not_pass_never_comes_to_the_gateway(shop: Any, office: Any) -> None:
    shop.server.answer = lambda request: "The same words for all."
    assert ship(shop, "--gateway", "office") == 3
    assert office.writes() == []


def test_a_gateway_that_cannot_be_written_stops_the_work_before_it_begins(
    shop: Any, office: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GGSHIP_GATEWAY_TOKEN_OFFICE", "EXPIRED")
    assert ship(shop, "--gateway", "office") == 1
    assert "access token" in capsys.readouterr().err
    assert not shop.server.models
    assert ship(shop, "--gateway", "elsewhere") == 1
    assert "known here: office" in capsys.readouterr().err
    assert not shop.server.models


def test_where_the_gateway_fails_the_model_is_live_and_that_is_said(
    shop: Any, office: Any, stand_in: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    office.fault = stand_in.Answer(500, {"error": {"message": "out of order"}})
    assert ship(shop, "--gateway", "office", "--json") == 1
    printed = capsys.readouterr()
    assert "itself is live at" in printed.err
    document = json.loads(printed.out)
    assert document["model"]["digest"]
    assert "out of order" in document["gateway"]["error"]
    assert office.channels == {}
