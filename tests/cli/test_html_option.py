"""``--html``: a page of every result, whose file is checked before anything is loaded."""

from pathlib import Path

import pytest
from command_line import assert_one_error_line, files

COMMANDS = {
    "convert": ["net.keras", "--no-calibration", "-o", "out.keras"],
    "plan": ["net.keras", "--dry-run"],
    "diff": ["diff", "net.keras", "net.keras"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_page_is_written_beside_what_is_printed(net, run, words):
    code, out, err = run(*words, "--html", "page.html")
    text = Path("page.html").read_text(encoding="utf-8")
    assert (code, err) == (0, "") and "conv2" in out and out.endswith("\nwritten: page.html\n")
    assert text.startswith("<!doctype html>") and "conv2" in text and text.rstrip().endswith("</html>")


def test_the_page_spells_options_as_flags(net, run):
    assert run("net.keras", "--min-size", "24", "--no-calibration", "--html", "page.html")[0] == 0
    assert "`" not in Path("page.html").read_text(encoding="utf-8").split("<script")[0]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.quick("convert")
def test_a_page_that_exists_is_replaced_only_with_force(net, run, words):
    Path("page.html").write_text("older")
    result = run(*words, "--html", "page.html")
    assert_one_error_line(result, 2, "--html=page.html", "--force")
    assert files() == ["net.keras", "page.html"] and Path("page.html").read_text() == "older"
    assert run(*words, "--html", "page.html", "--force")[0] == 0
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--html", "net.keras", "--force"], "is a file that is read"),
        (["--html", "nowhere/page.html"], "there is no directory nowhere"),
        (["--html", "."], "is a directory"),
        (["--html", "out.keras", "-o", "out.keras"], "name another one"),
        (["--html", "same.json", "--json", "same.json"], "name another one"),
        (["--html"], "needs a value"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_loaded(net, run, words, reason):
    before = net.read_bytes()
    assert_one_error_line(run("net.keras", *words), 2, reason)
    assert files() == ["net.keras"] and net.read_bytes() == before
