"""The site that `make docs` builds: its links, and how a browser without a network shows it."""

import fcntl
import importlib
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from browser import BROWSER, Browser

pytest.importorskip("furo", reason="the extra docs is not installed: the site was not built")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
# What is looked at on a phone and on a desk, in light and in dark.
LOOKED_AT = ("index", "start", "results", "theory", "layers", "reference/nn", "reference/keys")
# Whose reference pages are named like them.
MODULES = sorted(
    path.stem
    for path in ROOT.glob("docs/reference/*.md")
    if path.stem not in ("commands", "keys", "python")
)


@pytest.fixture(scope="module")
def site():
    """The site, built as `make docs` builds it; in no time, if that was just done."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (options,) = re.findall(r"^SPHINX := \S+ (.*)", makefile, re.MULTILINE)
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "site.lock").open("w") as lock:  # another worker may want it, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, *options.split(), ".", "build/site"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


class Page(HTMLParser):
    """The anchors of a page, and what it links to and loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        """Note a tag's anchor and addresses."""
        told = dict(attributes)
        self.anchors |= {told[name] for name in ("id", "name") if told.get(name)}
        if told.get("href"):
            (self.loaded if tag == "link" else self.links).add(told["href"])
        if told.get("src"):
            self.loaded.add(told["src"])


@pytest.fixture(scope="module")
def read(site):
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_links_lead_somewhere(read):
    broken = []
    for path, page in read.items():
        for address in page.links | page.loaded:
            parts = urlsplit(address)
            if parts.scheme or address == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (
                anchor and target in read and anchor not in read[target].anchors
            ):
                broken.append(f"{path.relative_to(SITE)}: {address}")
    assert not broken


@pytest.mark.parametrize("name", MODULES)
def test_all_that_a_module_offers_is_in_its_reference(name, site, read):
    shown = read[site / "docs" / "reference" / f"{name}.html"].anchors
    shown |= (
        read[site / "docs" / "reference" / "inference.html"].anchors if name == "nn" else set()
    )
    module = importlib.import_module(f"ugmm.{name}")
    offered = [
        n
        for n in module.__all__
        if inspect.isroutine(getattr(module, n)) or (inspect.isclass(getattr(module, n)))
    ]
    assert [n for n in offered if not any(anchor.endswith(f".{n}") for anchor in shown)] == []


def test_nothing_is_loaded_from_elsewhere(site, read):
    for path, page in read.items():
        foreign = {address for address in page.loaded if urlsplit(address).netloc}
        assert not foreign, path
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)[\"' ]*(https?:)?//", path.read_text()), path


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the site was not looked at")
def test_a_browser_shows_it_without_a_network(site, tmp_path):
    with Browser(tmp_path) as browser:
        for name in LOOKED_AT:
            for width, dark in ((390, True), (1280, False)):
                browser.open((site / f"docs/{name}.html").as_uri(), width, dark)
                across = browser.ask("document.documentElement.scrollWidth")
                assert across <= width, f"{name} is {across} pixels wide"
                assert browser.ask("document.querySelectorAll('mjx-merror').length") == 0
                paper = browser.ask("getComputedStyle(document.body).backgroundColor")
                assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == dark
    assert browser.complaints == []
    assert not [url for url in browser.asked if not url.startswith(("file:", "data:"))]
