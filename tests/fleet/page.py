"""Judges a page: every element is closed in order, and everything is found in the page itself."""
import sys
from html.parser import HTMLParser

VOID = {"meta", "input", "br"}


class Judge(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.title = [], set(), set(), ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in attributes:
            assert name not in ("src", "srcset", "action") and not name.startswith("on"), (tag, name)
        if "id" in attributes:
            assert attributes["id"] not in self.ids, attributes["id"]
            self.ids.add(attributes["id"])
        if "href" in attributes:
            assert attributes["href"].startswith("#"), attributes["href"]
            self.links.add(attributes["href"][1:])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open and self.open[-1] == "h1":
            self.title += data


judge = Judge()
judge.feed(open(sys.argv[1], encoding="utf-8").read())
judge.close()
assert not judge.open, judge.open
assert judge.links <= judge.ids, judge.links - judge.ids
print(judge.title)
