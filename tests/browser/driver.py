"""A real Chromium without a window: the system's own, driven by its chromedriver."""

from __future__ import annotations

import base64
import json
import os
import shutil

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

    def picture_of(self, path, first, last=None, *, margin=10):
        """Write a PNG of the page from the element that one selector finds to that of another; None: of the one."""
        edges = """
          const [a, b] = [...arguments].map((css) => document.querySelector(css).getBoundingClientRect());
          return [Math.min(a.left, b.left) + scrollX, a.top + scrollY, Math.max(a.right, b.right) + scrollX, b.bottom + scrollY];
        """
        left, top, right, bottom = self.script(edges, first, last or first)
        box = {"x": max(left - margin, 0), "y": max(top - margin, 0), "scale": 1}
        box |= {"width": right + margin - box["x"], "height": bottom + margin - box["y"]}
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=box)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def pdf(self):
        """The page printed on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.cdp("Page.printToPDF", **paper)["data"])


def start_browser(folder):
    """A browser with its profile below `folder`.

    Raises:
        LookupError: this machine has none.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium" if browser is None else "chromedriver"
        raise LookupError(
            f"{missing} is not on this machine; on Debian: apt install chromium chromium-driver"
        )
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
