"""Takes the screens of the documentation from a running `lake dev`: python -m docs.make_screens (after `lake demo`)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from lake_pipeline_tests.ui import browser, eventually, lake_dev, page_text

FOLDER = Path(__file__).parent / "images"
# Page, text that shows it has loaded, height of the window.
SCREENS = {
    "asset-graph": ("/locations/lake_pipeline.definitions/asset-groups/events", "curated", 700),
    "materialization": ("/assets/events/curated?view=overview", "throughput MB/s", 1500),
    "partitions": ("/assets/events/curated?view=partitions&partition=2026-week08.0001", "throughput MB/s", 1300),
    "runs": ("/runs", "events_manifest", 700),
}
_SETTLE_SECONDS = 4


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, lake_dev(Path(folder) / "dev.log") as dev:
        for name, (page, text, height) in SCREENS.items():
            shoot(dev.url + page, text, height, FOLDER / f"{name}.png")


def shoot(url: str, text: str, height: int, target: Path) -> None:
    """The page as it is once it shows the text, 1500 pixels wide."""
    with browser(1500, height) as driver:
        driver.get(url)
        eventually(lambda: text in page_text(driver), 60, f"{text} on {url}")
        time.sleep(_SETTLE_SECONDS)  # animations have no end that a page would tell
        driver.save_screenshot(str(target))
    print(target)


if __name__ == "__main__":
    main()
