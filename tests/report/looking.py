"""A parser of pages that is stricter than a browser."""

import re
from html.parser import HTMLParser

VOID = {"br", "img", "link", "meta"}


class Parser(HTMLParser):
    """Reads a page, and refuses what is not balanced or reaches outside.

    Attributes:
        texts: What the page says, piece by piece.
        found: The tags, each with its attributes.
    """

    def __init__(self):
        super().__init__()
        self.texts, self.found, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        """All that is said, with a blank for each gap."""
        return " ".join(" ".join(self.texts).split())


def check_html(html):
    """Check that a page is balanced, asks for nothing and can be read aloud; return all of it."""
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    tags = [tag for tag, _ in parser.found]
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(tags)
    assert tags.count("h1") == 1
    for tag, attributes in parser.found:
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert ("html", {"lang": "en"}) in parser.found
    assert any(a.get("name") == "viewport" for tag, a in parser.found if tag == "meta")
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", re.sub(r">[^<]*<", "><", html)))
    assert all("w3.org" in address for address in addresses)  # names of XML's languages
    ids = [attributes["id"] for _, attributes in parser.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(ids)
    return parser
