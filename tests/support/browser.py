"""A real browser for system tests: Debian's Chromium, one process for all tests of a module, a context for each page.

What a page may never do is watched: uncaught errors, errors on the console, violations of the content security policy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 30_000
"""How long anything on a page is waited for: ten programs may share a core."""
WATCH = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass
class Watched:
    """A page, and what went wrong in it."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing that a page may never do was done."""
        violations = [] if self.page.is_closed() else self.page.evaluate("globalThis.violations ?? []")
        assert (self.errors, violations) == ([], [])


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, for the length of a block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(browser: Browser, allowed: tuple[str, ...] = (), **options: Any) -> Iterator[Page]:
    """A page in a context of its own; errors are looked for at the end, but for those with `allowed` in them."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(WATCH)
    watched = Watched(context.new_page())
    add = watched.errors.append

    def heard(kind: str, text: str) -> None:
        if kind == "error" and not any(each in text for each in allowed):
            add(text)

    watched.page.on("console", lambda message: heard(message.type, message.text))
    watched.page.on("pageerror", lambda error: add(f"uncaught: {error}"))
    try:
        yield watched.page
        watched.check()
    finally:
        context.close()
