"""The notebooks of examples/: what is committed of them, and octconvert in the kernel of a notebook."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

import octconvert
from octconvert.system import environment

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("examples/*.ipynb"))
OF_A_MACHINE = re.compile(r"/(?:home|root|tmp|Users|work|opt|usr|mnt|var)/|[A-Z]:\\\\|site-packages|\x1b")
MOST_BYTES = 400_000


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks_of_a_bearable_size():
    assert len(NOTEBOOKS) >= 3
    assert [path.name for path in NOTEBOOKS if path.stat().st_size > MOST_BYTES] == []


def test_all_cells_were_run_in_order_and_none_failed(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert any(output["output_type"] == "execute_result" for output in outputs)


def test_the_output_names_nothing_of_the_machine(notebook):
    texts = []
    for output in (output for cell in code_cells(notebook) for output in cell["outputs"]):
        data = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
        texts += ["".join(text) for text in (output.get("text", ""), *data.values())]
    assert [text for text in texts if OF_A_MACHINE.search(text)] == []


def test_sources_can_be_compared(notebook):
    """Cells have names, and nothing of a run beside their output."""
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z_0-9]+", name) for name in ids)
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}


def test_links_lead_somewhere(notebook):
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert [target for target in targets if "://" not in target and not (ROOT / "examples" / target).exists()] == []


KERNEL_CELLS = (
    "import octconvert, os\nimport keras, numpy as np",
    f"result = octconvert.convert(r'{ROOT / 'fixtures' / 'fashion_cnn.h5'}', calibration=False)",
    "print(result.plan)\nresult.show(np.ones((28, 28, 1)), layers='relu1')",
    "print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'))",
    "octconvert.convert(result.source, calibration=False, progress=False).after.macs",
)


@pytest.mark.long
def test_in_a_kernel_there_is_one_bar_and_no_log(monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in environment.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    cells = [nbformat.v4.new_code_cell(source) for source in KERNEL_CELLS]
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=300, kernel_name="python3")
    messages, process = [], client.process_message

    def noted(message, cell, index):
        messages.append((index, message["msg_type"], message["content"]))
        return process(message, cell, index)

    client.process_message = noted
    client.execute(env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"})

    imported, converted, shown, level, silent = (cell.outputs for cell in cells)
    assert imported == []
    (bar,) = converted
    states = [content["data"]["text/plain"] for index, kind, content in messages if index == 1 and "data" in content]
    assert any("build" in state and "/" in state for state in states)
    assert not any(bar.data.values()) and states[-1] == ""
    printed, picture = shown
    assert "\x1b" not in printed.text and "conv1" in printed.text and "image/png" in picture.data
    assert level[0].text == "None\n"
    assert [output.output_type for output in silent] == ["execute_result"]


def test_tables_of_pandas():
    pandas = pytest.importorskip("pandas")
    plan = octconvert.plan(ROOT / "fixtures" / "fashion_cnn.h5")
    table = plan.to_dataframe()
    assert isinstance(table, pandas.DataFrame) and list(table.name) == [row.name for row in plan.convolutions]
    assert set(table[table.role != "plain"].alpha_out) == {0.5}


def test_without_pandas_there_is_a_hint(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(octconvert.UsageError, match=r"tables need pandas.*pip install .*\[notebook\]"):
        octconvert.plan(ROOT / "fixtures" / "fashion_cnn.h5").to_dataframe()


def test_names_of_the_package_are_listed():
    assert {"convert", "show", "plan", "__version__"} <= set(dir(octconvert)) and octconvert.__version__
