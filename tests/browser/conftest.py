"""A real Chromium without a window, for what only a browser can tell: the system's own, driven by its chromedriver.

A test asks for `browser`, or for `open_browser` where it needs two at once, as two people have them. Browsers
are kept for the session, and each test gets one with an empty tab, no cookies and no log.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil

import pytest

pytest.importorskip("selenium", reason="the extra aeflow[dev] is not installed")

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--window-size=1280,900",
)
_WAIT_S = 20


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


class Browser:
    """One browser with one tab in use. `driver` is Selenium's own."""

    def __init__(self, driver):
        self.driver = driver
        self._log = []

    def renew(self):
        """An empty tab, no cookies, nothing emulated, no log of what was before."""
        old = self.driver.window_handles
        self.driver.switch_to.new_window("tab")
        fresh = self.driver.current_window_handle
        for handle in old:
            self.driver.switch_to.window(handle)
            self.driver.close()
        self.driver.switch_to.window(fresh)
        self.cdp("Network.clearBrowserCookies")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self._log = []

    def cdp(self, command, **arguments):
        """Call a method of the DevTools protocol; returns what it answers."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, place):
        """Go to a URL, or open a file from the disk."""
        self.driver.get(place.as_uri() if hasattr(place, "as_uri") else place)
        return self

    def script(self, text, *arguments):
        """Run a function's body in the page; returns what it returns."""
        return self.driver.execute_script(text, *arguments)

    def one(self, css):
        """The first element that the selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        """Every element that the selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css="body"):
        """What a person reads in the first element that the selector finds."""
        return self.one(css).text

    def press(self, *keys):
        """Press keys one after another, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()
        return self

    def wait(self, condition):
        """What `condition()` returns, once that is true; it may fail to find an element meanwhile."""

        def held(_):
            return condition()

        waiting = WebDriverWait(self.driver, _WAIT_S, 0.05, ignored_exceptions=(WebDriverException,))
        return waiting.until(held, f"nothing came of {condition}")

    def go_offline(self):
        """No network for this tab, loopback neither."""
        self.cdp("Network.enable")
        nothing = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.cdp("Network.emulateNetworkConditions", offline=True, **nothing)
        return self

    def show_as(self, *, scheme="light", media=""):
        """The page as in a light or dark scheme, on screen or in print (`media="print"`)."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.cdp("Emulation.setEmulatedMedia", media=media, features=[feature])
        return self

    def resize(self, width, height=900, *, mobile=False):
        """Another size of the page, in CSS pixels."""
        size = {"width": width, "height": height}
        self.cdp("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=mobile)
        return self

    def console_errors(self):
        """What the console complained of since the test began."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """The URL of everything that was asked for since the test began, pages and data URIs too."""
        self._log += [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"] for m in self._log if m["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def screenshot(self, path, *, whole=False):
        """Write a PNG of what is seen, or of the whole page."""
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def pdf(self):
        """The page printed on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.cdp("Page.printToPDF", **paper)["data"])


def _start(folder):
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium" if browser is None else "chromedriver"
        pytest.skip(f"{missing} is not on this machine; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Fontconfig and the like write into the home.
    environment = {**os.environ, "HOME": str(folder), "SE_AVOID_STATS": "true", "SE_OFFLINE": "true"}
    service = webdriver.ChromeService(driver, env=environment)
    started = webdriver.Chrome(options, service)
    started.set_page_load_timeout(60)
    return Browser(started)


@pytest.fixture(scope="session")
def _kept(tmp_path_factory):
    """Browsers that no test uses at the moment, and how to start another."""
    free, every = [], []

    def take():
        if not free:
            free.append(_start(tmp_path_factory.mktemp("chromium")))
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
