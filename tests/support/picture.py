"""The picture of the dashboard in the handbook: `make picture`. A real candidate, in the middle of its ramp."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright

from tests.support.browser import CHROMIUM, FLAGS
from tests.support.load import Load
from tests.support.system import ROOT, canary, models, understudy

PICTURE: Final = ROOT / "docs" / "images" / "dashboard.png"
WIDTH, HEIGHT = 1240, 1400
STEPS: Final = [
    {"setMirror": {"percent": 100}},
    {"analysis": {"minSamples": 500}},
    {"setWeight": 5},
    {"analysis": {"minSamples": 150}},
    {"setWeight": 25},
    {"analysis": {"minSamples": 20_000}},
    {"setWeight": 50},
    {"analysis": {}},
]
METRICS: Final = [
    {"name": "errors", "maxIncrease": ["20%", "0.5pp"]},
    {"name": "latency.p99", "maxIncrease": "60%"},
    {"name": "prediction.label", "maxShift": "3pp"},
    {"name": "prediction.score", "maxShift": "0.1sd"},
    {"name": "pair.label", "maxDisagreement": "2%", "role": "signal"},
]
RATE: Final = 120.0
BEFORE_S, AFTER_S = 35.0, 40.0
"""How long the second stage and the third are watched."""


async def take() -> None:
    """Run it all, and keep what is seen."""
    with tempfile.TemporaryDirectory() as folder, models("v1", "v2") as (stable, candidate):
        for model in (stable, candidate):
            model.control(delayMs=4)
        config = canary(stable, candidate, STEPS, METRICS, minDuration="5m")
        for backend, name in zip(config["backends"], ("fraud-v1", "fraud-v2"), strict=True):
            backend["name"] = name
        (route,) = config["routes"]
        route["name"] = "fraud"
        route["backendRefs"] = [{"name": "fraud-v1", "role": "stable"}, {"name": "fraud-v2", "role": "canary"}]
        route["strategy"]["canary"]["steps"].insert(4, {"pause": {"duration": f"{BEFORE_S:g}s"}})
        with understudy(Path(folder), config) as system:
            async with Load(system.port, rate=RATE), async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
                page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                await page.goto(f"{system.admin}/#/routes/fraud")
                await page.locator(".big .figure").get_by_text("25 %").wait_for(timeout=180_000)
                await asyncio.sleep(AFTER_S)
                await page.screenshot(path=PICTURE)
                await browser.close()


if __name__ == "__main__":
    asyncio.run(take())
