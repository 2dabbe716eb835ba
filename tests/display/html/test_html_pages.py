"""Pages without a browser: what they say, that they are safe, and that they are one file."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from graphs_to_show import HOSTILE, blocks, bottleneck, hostile, small
from results_to_show import (
    bench,
    diff,
    empty_plan,
    exported,
    failed,
    five_hundred,
    not_calibrated,
    nothing,
    oneline,
    plan,
    synthetic,
    whole_low_plan,
)

import octconvert.display  # noqa: F401  (registers how results are shown)
from octconvert.cli.spelling import spell
from octconvert.errors import UsageError
from octconvert.results.shown import View, as_page

RESULTS = {
    "small": small,
    "bottleneck": bottleneck,
    "blocks": blocks,
    "five hundred": five_hundred,
    "nothing": nothing,
    "failed": failed,
    "synthetic": synthetic,
    "not calibrated": not_calibrated,
    "diff": diff,
    "plan": plan,
    "whole-low plan": whole_low_plan,
    "empty plan": empty_plan,
    "bench": bench,
    "exported": exported,
}


class Page(HTMLParser):
    """The elements of a page with their attributes, the texts of scripts and styles, and all other text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.code, self.words = [], [], []
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        (self.code if self.cdata_elem else self.words).append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_every_result_is_one_file_that_loads_nothing(result):
    page = Page(result().to_html())
    links = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(link.startswith("#") for link in links)
    targets = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert {link[1:] for link in links} <= set(targets) and len(targets) == len(set(targets))
    assert not re.search(r"@import|url\((?!#)|sourceMappingURL", " ".join(page.code))


WITH_FIGURES = ("small", "five hundred", "failed", "synthetic", "not calibrated", "diff", "plan", "bench", "exported")


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_a_page_has_the_figures_of_the_terminal(name):
    result = RESULTS[name]()
    page, terminal = Page(result.to_html()).text, oneline(result, View(verbose=True))
    figures = set(re.findall(r"[\w.%,]*\d[\w.%,]*", terminal))
    assert len(figures) > 6 and {figure for figure in figures if ".." not in figure and figure not in page} == set()


SENTENCES = {
    "small": "Accuracy 84.1% -> 83.0% of 5,000 samples (test.npz).",
    "failed": "FAILED: oracle (1 of 3 checks). Do not use the converted model.",
    "nothing": "Nothing was converted: all 3 convolutions stay plain.",
    "not calibrated": "Nothing was kept: each step below says why.",
    "diff": "Side by side: 4 of 5 convolutions differ in MACs.",
    "five hundred": "Counted for inputs of size 512x512x3; the model leaves the size open.",
    "plan": "4 of 5 convolutions would become octave layers.",
    "bench": "2 threads, batch 1, medians of interleaved runs (15 rounds); models in their form for inference.",
    "exported": "litert, 255 KB, in its form for inference.",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_page_has_the_sentences_of_the_terminal(name):
    result = RESULTS[name]()
    assert SENTENCES[name] in Page(result.to_html()).text and SENTENCES[name] in oneline(result)


def test_only_the_scripts_and_styles_of_the_page_itself_may_run():
    page = Page(small().to_html())
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "unsafe" not in policy
    style, data, script = page.code
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert json.loads(data)["nodes"][1][0] == "conv1"
    assert not [attributes for _, attributes in page.elements if "style" in attributes or "onclick" in attributes]


def test_names_of_strangers_are_text_wherever_they_are_shown():
    page, usual = Page(hostile().to_html()), Page(replace(small(), repairs=("a",), notes=("b",)).to_html())
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in usual.elements}
    assert len(page.named("script")) == len(usual.named("script")) == 2 and not page.named("img")
    shown = HOSTILE.replace("\u202e", "?")
    assert page.text.count(shown) > 8 and "{{7*7}}" in page.text
    assert json.loads(page.code[1])["nodes"][1][2] == shown


def test_a_name_that_no_encoding_has_can_be_written(tmp_path):
    report = replace(small(), source="half \ud83d of a character\x00")
    report.to_html(tmp_path / "page.html")
    assert "half ? of a character?" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_to_html_replaces_a_file_only_where_that_is_allowed(tmp_path):
    path = tmp_path / "page.html"
    text = small().to_html(path)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(UsageError, match=r"page\.html: exists already"):
        plan().to_html(path)
    assert path.read_text(encoding="utf-8") == text
    assert plan().to_html(str(path), overwrite=True) != text


def test_options_are_spelled_as_flags_on_the_command_line():
    assert "`evaluate`" in as_page(synthetic()) and "`evaluate`" not in as_page(synthetic(), View(spell=spell))
    assert "--evaluate with labelled data" in as_page(synthetic(), View(spell=spell))


def test_a_notebook_shows_it_in_a_frame_of_its_own():
    """Two results in one notebook must not run each other's scripts, nor the notebook theirs."""
    bundle = small()._repr_mimebundle_()
    frame = Page(bundle["text/html"])
    ((tag, attributes),) = frame.elements
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == small().to_html() and bundle["text/plain"] == str(small())


def test_pages_are_small():
    assert len(small().to_html()) < 300_000 and len(plan().to_html()) < 50_000


def test_the_libraries_are_those_that_were_pinned():
    place = files("octconvert.display.html") / "scripts"
    pins = json.loads((place / "pins.json").read_text(encoding="utf-8"))
    notice = (place / "NOTICE.txt").read_text(encoding="utf-8")
    for pin in pins:
        assert hashlib.sha256((place / pin["file"]).read_bytes()).hexdigest() == pin["sha256"]
        assert f"{pin['package']} {pin['version']} (" in notice
    assert {pin["file"] for pin in pins} == {each.name for each in place.iterdir() if each.name.endswith(".js")}
