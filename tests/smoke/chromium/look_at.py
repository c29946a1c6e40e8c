"""Opens Grafana's dashboards in a browser and says what a person sees there.

    look_at.py URL UID...

The environment gives USER_NAME and PASSWORD. Writes a picture /pictures/UID.png of each, and on standard output
{"UID": {"PANEL": "what is wrong with it, or nothing"}}. The names of the page's parts are Grafana's own, for its tests.
"""

from __future__ import annotations

import base64
import json
import os
import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

WIDTH, HEIGHT = 1600, 1000
DRAWN_SECONDS = 60
PANEL = '[data-testid^="data-testid Panel header "]'
CONTENT = '[data-testid="data-testid panel content"]'
FAILED = '[data-testid="data-testid Panel status error"]'
LOADING = '[aria-label="Panel loading bar"]'
EMPTY = "No data"


def browser() -> webdriver.Chrome:
    """Start chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium-headless-shell"
    for argument in (
        "--headless",
        "--no-sandbox",  # the container is one
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--hide-scrollbars",
        f"--window-size={WIDTH},{HEIGHT}",
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options=options)


def panels(driver: webdriver.Chrome) -> dict[str, str]:
    """Return the panels that are on the page, with what is wrong."""
    found = {}
    for panel in driver.find_elements(By.CSS_SELECTOR, PANEL):
        title = panel.get_attribute("data-testid").removeprefix("data-testid Panel header ")
        contents = panel.find_elements(By.CSS_SELECTOR, CONTENT)
        failures = panel.find_elements(By.CSS_SELECTOR, FAILED)
        text = " ".join(one.text for one in contents)
        if failures:
            found[title] = "error: " + (
                failures[0].text or failures[0].get_attribute("aria-label") or text
            )
        elif not contents:
            found[title] = "not drawn"
        else:
            found[title] = "empty" if EMPTY in text else ""
    return found


def look_at(driver: webdriver.Chrome, url: str) -> dict[str, str]:
    """Open a dashboard, wait until all of it is drawn, and return its panels."""
    driver.set_window_size(WIDTH, HEIGHT)
    driver.get(url)

    def drawn(_: object) -> bool:
        return bool(driver.find_elements(By.CSS_SELECTOR, CONTENT)) and not driver.find_elements(
            By.CSS_SELECTOR, LOADING
        )

    wait = WebDriverWait(driver, DRAWN_SECONDS)
    wait.until(drawn)
    # All of the page in the window: Grafana draws what is below it only then.
    driver.set_window_size(
        WIDTH, driver.execute_script("return document.documentElement.scrollHeight")
    )
    wait.until(drawn)
    return panels(driver)


def main(url: str, *uids: str) -> None:
    """Look at each dashboard."""
    driver = browser()
    try:
        login = f"{os.environ['USER_NAME']}:{os.environ['PASSWORD']}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": headers})
        seen = {}
        for uid in uids:
            seen[uid] = look_at(driver, f"{url}/d/{uid}?kiosk")
            driver.save_screenshot(f"/pictures/{uid}.png")
        print(json.dumps(seen))
    finally:
        driver.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
