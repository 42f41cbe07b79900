"""Debian's Chromium, driven by Playwright: a new profile each time, nothing asked of anybody but who is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.kept_output import OUTPUT

CHROMIUM = "/usr/bin/chromium"

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, address: str, *, width: int = 1280, height: int = 800, **more: Any
) -> Iterator[Visit]:
    """A page, open in a window of its own; JavaScript is off unless `java_script_enabled` says otherwise."""
    settings = {"java_script_enabled": False, **more}
    context = browser.new_context(viewport={"width": width, "height": height}, **settings)
    try:
        yield Visit(context, address)
    finally:
        context.close()


class Visit:
    """One page in one window, and what happened while it was open."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self._devtools = context.new_cdp_session(self.page)

    def widths(self) -> tuple[float, float]:
        """Of the window, and of what is in it: the same, unless one has to scroll sideways."""
        told = self._devtools.send("Page.getLayoutMetrics")
        return told["cssLayoutViewport"]["clientWidth"], told["cssContentSize"]["width"]

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything a screen reader is told of, in order."""
        self._devtools.send("Accessibility.enable")
        nodes = self._devtools.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"] and "role" in node
        ]

    def picture(self, name: str) -> None:
        """Keep the whole page as a picture."""
        OUTPUT.mkdir(exist_ok=True)
        self.page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)

    def axe(self) -> dict[str, list[str]]:
        """What axe-core finds, all rules: violations, and what it cannot decide; rule and place of each."""
        source = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(source)
        results = self.page.evaluate("axe.run(document)")
        assert len(results["passes"]) > 20, "axe-core did not look at the page"
        return {
            kind: [f"{rule['id']}: {place['html']}" for rule in results[kind] for place in rule["nodes"]]
            for kind in ("violations", "incomplete")
        }
