"""The page of a report in a real browser: it draws, folds, hovers, sorts, searches, and is readable on a phone."""

import re
from dataclasses import replace

import pytest
from graphs_to_show import HOSTILE, blocks, bottleneck, hostile, small
from results_to_show import bench, diff, five_hundred, plan

from octconvert.display.html.rendering import in_frame
from octconvert.results.next_step import python_call

BOXES = "#graph-view .node"


def column(page, header):
    place = page.locator("table.layers th").all_text_contents().index(header)
    return page.locator(f"table.layers tbody tr td:nth-child({place + 1})").all_text_contents()


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_it_opens_with_its_graph_and_every_part(open_page):
    page = open_page(small().to_html()).page
    assert page.locator(BOXES).count() == 11
    assert page.locator(".tile").all_text_contents()[0].split() == [
        "MACs",
        "10.86",
        "M",
        "from",
        "20.37",
        "M",
        "ratio",
        "1.88x",
    ]
    parts = page.locator("main section.card").evaluate_all("parts => parts.map(part => part.id)")
    assert parts == ["graph", "macs", "errors", "layers", "calibration", "chains", "plain", "checks", "repairs", "next"]


def test_a_box_tells_of_its_layer_under_the_pointer_and_keeps_to_it_when_clicked(open_page):
    page = open_page(small().to_html()).page
    details = page.locator("#details")
    page.get_by_role("button", name="Fit").click()
    page.locator(BOXES, has_text="head").hover()
    text = " ".join(details.inner_text().split())
    for part in ("head Conv2D", "role plain", "MACs before 10.2 K", "MACs after 10.2 K", "why its map of 4 x 4"):
        assert part in text
    page.locator(BOXES, has_text="bn1").hover()
    assert "BatchNormalization" in details.inner_text() and "high map after 32x32x8" in " ".join(
        details.inner_text().split()
    )
    page.locator("[data-name='n4']").click()
    page.mouse.move(5, 5)
    assert "error 12.4%" in " ".join(details.inner_text().split())
    assert page.locator("tr.found").get_attribute("data-layer") == "conv2"


def test_frequencies_differ_without_colour_too(open_page):
    page = open_page(bottleneck().to_html()).page
    kinds = {name: page.locator(BOXES, has=page.locator(f"text={name}")).first for name in ("reduce", "stem")}
    assert "low" in kinds["reduce"].text_content() and "low" not in kinds["stem"].text_content()
    dashes = "node => getComputedStyle(node.querySelector('.body')).strokeDasharray"
    assert kinds["reduce"].evaluate(dashes) != "none" == kinds["stem"].evaluate(dashes)


def test_a_large_model_is_folded_and_unfolds_block_by_block(open_page):
    page = open_page(blocks().to_html()).page
    assert page.locator(BOXES).count() < 6
    run = page.locator(".node.fold", has_text="40 x 5 layers")
    run.click()
    assert page.locator(".node.fold").count() == 41  # the blocks, and the nested head
    page.locator(".node.fold", has_text="block7").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(BOXES, has_text="block7_add").count() == 1
    page.keyboard.press("Enter")  # what was unfolded has the focus
    assert page.locator(BOXES, has_text="block7_add").count() == 0
    page.get_by_role("button", name="Unfold all").click()
    assert page.locator(BOXES).count() == 204
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert page.locator(BOXES).count() < 6


def test_a_row_of_the_table_leads_to_its_box_in_a_fold(open_page):
    report = blocks()
    row = report.convolutions[0]
    renamed = row.__class__(**{**vars(row), "name": "block7_conv"})
    page = open_page(report.__class__(**{**vars(report), "convolutions": (renamed,)}).to_html()).page
    page.locator("tr[data-layer='block7_conv'] td").first.click()
    assert page.locator(".node.seen").text_content().startswith("Conv2D")
    assert page.locator(".node.seen").is_visible() and "block7_conv" in page.locator("#details").inner_text()


@pytest.mark.parametrize("layer", ["conv1", "conv1#2"], ids=["second call of a layer", "name with a number"])
def test_the_box_that_is_clicked_stays_and_its_row_is_marked(open_page, layer):
    report = small()
    nodes = list(report.graph.nodes)
    nodes[4] = replace(nodes[4], name="conv1#2", layer=layer)
    rows = (*report.convolutions[:1], replace(report.convolutions[1], name="conv1#2"), *report.convolutions[2:])
    page = open_page(replace(report, graph=replace(report.graph, nodes=tuple(nodes)), convolutions=rows).to_html()).page
    page.get_by_role("button", name="Fit").click()
    page.locator("[data-name='n4']").click()
    assert page.locator(".node.seen").get_attribute("data-name") == "n4"
    assert page.locator("tr.found").get_attribute("data-layer") == layer


def test_zoom_and_pan(open_page):
    page = open_page(small().to_html()).page
    scene = page.locator("#graph-view > g")
    places = [scene.get_attribute("transform")]
    page.get_by_role("button", name="Larger").click()
    places.append(scene.get_attribute("transform"))
    box = page.locator("#graph-view").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=4)
    page.mouse.up()
    places.append(scene.get_attribute("transform"))
    page.get_by_role("button", name="Fit").click()
    places.append(scene.get_attribute("transform"))
    assert len(set(places)) == 4
    page.mouse.wheel(0, 200)  # scrolls the page, as everywhere else
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") > 0
    assert scene.get_attribute("transform") == places[-1]


def test_the_table_sorts_by_numbers_not_by_their_text(open_page):
    page = open_page(small().to_html()).page
    page.locator("table.layers th", has_text="MACs before").click()
    page.wait_for_selector("th[aria-sort='ascending']")
    page.wait_for_timeout(50)
    assert column(page, "MACs before") == ["10.2 K", "598 K", "885 K", "9.44 M", "9.44 M"]
    page.locator("table.layers th", has_text="error").click()
    page.wait_for_timeout(50)
    page.locator("table.layers th", has_text="error").click()
    page.wait_for_selector("th[aria-sort='descending']")
    page.wait_for_timeout(50)
    assert column(page, "error") == ["1400%", "12.4%", "3.1%", "0.04%", ""]
    assert page.locator("table.layers tfoot td").first.text_content() == "all 5"


def test_the_table_is_searched(open_page):
    page = open_page(five_hundred().to_html()).page
    page.get_by_role("searchbox").fill("stage9 excluded")
    assert page.locator(".count").text_content() == "0 of 500"
    page.get_by_role("searchbox").fill("STAGE9 plain")
    assert page.locator(".count").text_content() == "50 of 500"
    assert page.locator("table.layers tbody tr:visible").count() == 50


def test_bars_show_the_largest_and_all_when_asked(open_page):
    page = open_page(five_hundred().to_html()).page
    assert page.locator("#macs .bars li:visible").count() == 16
    page.get_by_role("button", name="Show all 500").click()
    assert page.locator("#macs .bars li:visible").count() == 500


def test_light_and_dark_follow_the_system_and_the_switch(open_page):
    light, dark = (open_page(small().to_html(), scheme=scheme).page for scheme in ("light", "dark"))
    colours = [background(light), background(dark)]
    assert len(set(colours)) == 2
    for page in (light, dark):
        page.get_by_role("button", name="Light or dark").click()
    assert [background(light), background(dark)] == colours[::-1]
    light.reload()
    assert background(light) == colours[1]


@pytest.mark.parametrize("result", [small, blocks, five_hundred, diff, plan, bench, hostile])
def test_a_phone_has_no_sideways_scrolling_and_letters_of_a_size(open_page, result):
    page = open_page(result().to_html(), width=390, touch=True).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    small_text = """() => [...document.querySelectorAll('main *')].filter(each => !each.closest('svg')
        && [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim())
        && parseFloat(getComputedStyle(each).fontSize) < 12).map(each => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(small_text) == []


def test_a_tap_shows_the_layer(open_page):
    page = open_page(small().to_html(), width=390, touch=True).page
    page.locator(BOXES, has_text="bn1").tap()
    assert "BatchNormalization" in page.locator("#details").inner_text()


def test_the_next_command_is_copied(open_page):
    page = open_page(small().to_html()).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    page.locator(".copy", has_text="Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == " ".join(python_call(small().next_steps[0]))


def test_names_of_strangers_run_nothing(open_page):
    page = open_page(hostile().to_html()).page
    page.locator(BOXES).nth(1).click()
    assert page.evaluate("typeof hacked") == "undefined" and page.locator("img").count() == 0
    assert page.locator("#details h3").text_content() == HOSTILE.replace("/", "|").replace("\u202e", "?")


def test_even_an_injected_script_would_not_run(open_page):
    """The second wall: the page's policy."""
    injected = "<main><script>hacked=1</script><img src=data:, onerror=hacked=1>"
    opened = open_page(small().to_html().replace("<main>", injected))
    assert opened.page.evaluate("typeof hacked") == "undefined"
    assert all(re.search("Content Security Policy|violates", problem) for problem in opened.problems)
    assert opened.problems
    opened.problems.clear()


def test_where_no_script_may_run_the_page_says_what_is_missing(open_page):
    """As on servers and in mail programs with a policy of their own."""
    policy = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    opened = open_page(small().to_html().replace("<head>", f"<head>{policy}", 1))
    assert "drawn by a script of this page" in opened.page.locator("#graph").inner_text()
    assert opened.page.locator("table.layers").is_visible() and not opened.page.locator("button").first.is_visible()
    opened.problems.clear()
    assert open_page(small().to_html()).page.locator("#graph-missing").count() == 0


def test_two_results_in_a_notebook_do_not_meet(open_page):
    """As Jupyter puts them into its own page."""
    frames = "".join(in_frame(result().to_html()) for result in (small, plan))
    page = open_page(f"<!doctype html><title>notebook</title>{frames}").page
    first, second = page.frame_locator("iframe").nth(0), page.frame_locator("iframe").nth(1)
    first.locator(BOXES, has_text="bn1").hover()
    assert "BatchNormalization" in first.locator("#details").inner_text()
    first.get_by_role("button", name="Light or dark").click()
    second.locator("iframe, h1").first.scroll_into_view_if_needed()
    assert "Plan for small" in second.locator("h1").inner_text()
    assert page.evaluate("typeof d3") == "undefined" and page.locator("#graph-view").count() == 0


def test_it_prints_every_part(open_page):
    page = open_page(small().to_html()).page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("header.top").is_visible()
    assert page.locator("#chains .reasons").first.is_visible() and page.locator("table.layers").is_visible()


@pytest.mark.long
def test_the_report_of_a_model_of_a_thousand_layers_is_usable(open_page):
    import keras

    import octconvert

    model = keras.applications.NASNetLarge(weights=None)
    text = octconvert.convert(model, calibration=False).to_html()
    assert len(text) < 1_500_000
    page = open_page(text).page
    assert 3 < page.locator(BOXES).count() < 30
    page.locator(".node.fold", has_text="5 x 45 layers").first.click()
    page.locator(".node.fold", has_text="45 layers").nth(2).click()
    assert page.locator(".node:not(.fold)").count() > 40
    page.get_by_role("searchbox").fill("normal_left1_13")
    page.locator("table.layers tbody tr:visible td").first.click()
    assert page.locator(".node.seen").is_visible()
    page.get_by_role("button", name="Unfold all").click()
    assert page.locator(BOXES).count() == 1041
