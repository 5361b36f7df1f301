"""Browsers for what only a browser can tell.

A test asks for `browser`, or for `open_browser` where it needs two at once, as two people have them. Browsers
are kept for the session, and each test gets one with an empty tab, no cookies and no log.
"""

from __future__ import annotations

import contextlib

import pytest

pytest.importorskip("selenium", reason="the extra aeflow[dev] is not installed")

from selenium.common.exceptions import WebDriverException

from tests.browser.driver import start_browser


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def _kept(tmp_path_factory):
    """Browsers that no test uses at the moment, and how to start another."""
    free, every = [], []

    def take():
        if not free:
            try:
                free.append(start_browser(tmp_path_factory.mktemp("chromium")))
            except LookupError as error:
                pytest.skip(str(error))
            every.append(free[-1])
        return free.pop()

    yield take, free
    for browser in every:
        with contextlib.suppress(WebDriverException, OSError):
            browser.driver.quit()


@pytest.fixture
def open_browser(_kept):
    """A function that gives a browser; called twice, it gives two that know nothing of each other."""
    take, free = _kept
    taken = []

    def give():
        browser = take()
        browser.renew()
        taken.append(browser)
        return browser

    yield give
    for browser in taken:
        # One that died in a test is not given to the next.
        with contextlib.suppress(WebDriverException):
            browser.renew()
            free.append(browser)


@pytest.fixture
def browser(open_browser):
    """A browser with an empty tab."""
    return open_browser()
