"""Pages as people meet them: in a real Chromium, whose every request, error and dialog is kept to be asserted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Quiet and alone: what a browser does for itself would otherwise be taken for what the page did.
ALONE = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Browser tests are collected only where they are asked for: `pytest -m browser`."""
    return None if "browser" in config.option.markexpr else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the browser, whether its author remembered the mark or not."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Opened:
    """A page that was opened, and all it did: requests by address and those that failed, errors of scripts
    and policy, dialogs it showed."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("dialog", self._asked)

    def refused(self, url: str) -> bool:
        """Whether the browser itself held the request back."""
        return url in self.failed

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium with a new profile: GGSHIP_TEST_BROWSER, or the one of this machine."""
    from playwright.sync_api import sync_playwright

    named = os.environ.get("GGSHIP_TEST_BROWSER")
    found = next((path for name in ([named] if named else NAMES) if (path := shutil.which(name))), None)
    if found is None:
        # A failure and not a skip: a run in the browser that tests nothing must not look green.
        pytest.fail("no Chromium here: `apt-get install chromium`, or name one in GGSHIP_TEST_BROWSER", pytrace=False)
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:  # it gives the browser a profile folder of its own, and removes it
        browser = driver.chromium.launch(executable_path=found, args=[*ALONE, *as_root])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Opened]]:
    """open_page(address, width=1280, height=900, dark=False): the page, in a context of its own, closed at the end.

    More arguments go to playwright's `new_context`: java_script_enabled, reduced_motion, ...
    """
    contexts = []

    def open_page(address: str, *, width: int = 1280, height: int = 900, dark: bool = False, **more: Any) -> Opened:
        scheme: Any = "dark" if dark else "light"
        viewport: Any = {"width": width, "height": height}
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, **more)
        context.set_default_timeout(10_000)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(address)
        return opened

    yield open_page
    for context in contexts:
        context.close()
