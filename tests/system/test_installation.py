"""The command that installs an extra: for a checkout, a directory, a file, a repository and an index."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from octconvert.runtimes import RUNTIMES
from octconvert.system.installation import install_command, requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "direct_url, expected",
    [
        (None, "'octconvert[export]'"),
        ({"url": "file:///src/oct%20convert", "dir_info": {"editable": True}}, "-e '/src/oct convert[export]'"),
        ({"url": "file:///src/octconvert", "dir_info": {}}, "'/src/octconvert[export]'"),
        ({"url": "file:///w/octconvert-0.1.0-py3-none-any.whl", "archive_info": {}}, "'/w/octconvert-0.1.0-py3-none"),
        (
            {"url": "https://host/o.git", "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}},
            "'octconvert[export] @ git+https://host/o.git@main'",
        ),
        ({"url": "https://host/o.whl", "archive_info": {}}, "'octconvert[export] @ https://host/o.whl'"),
    ],
)
def test_what_is_installed(direct_url, expected):
    assert requirement("export", None, direct_url).startswith(expected)


def test_a_checkout_is_named_by_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert install_command("export").endswith("pip install -e '.[export]'")
    monkeypatch.chdir(ROOT.parent)
    assert install_command("bench").endswith(f"pip install -e '{ROOT.name}[bench]'")
    monkeypatch.chdir(tmp_path)
    assert install_command("jax").endswith(f"pip install -e '{ROOT}[jax]'")


def test_the_pip_is_that_of_the_python_that_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # below the working directory, the interpreter's path is shown relative to it
    assert install_command("export").startswith(f"{sys.executable} -m pip install ")
    folder = Path(sys.executable).parent
    if (folder / "pip").exists():
        monkeypatch.setenv("PATH", str(folder))
        assert install_command("export").startswith("pip install ")


def test_the_extras_exist_and_bench_has_all_of_export():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"export", "bench", "jax"} <= set(extras) and "octconvert[export]" in extras["bench"]
    text = " ".join(extras["export"]).replace("-", "_")
    modules = {module for each in RUNTIMES.values() for module in (*each.runs_with, *each.exports_with)}
    modules |= {module for each in RUNTIMES.values() for some in each.quantizes_with.values() for module in some}
    assert [module for module in modules - {"tensorflow", "keras"} if module.split(".")[0] not in text] == []


@pytest.mark.long
def test_an_installed_package_names_what_it_was_installed_from(tmp_path):
    """pip itself notes where it has installed from."""
    copy = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", "--local", str(ROOT), str(copy)], check=True)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", "site", "./source"]
    subprocess.run(install, check=True, cwd=tmp_path)
    code = "from octconvert.system.installation import install_command; print(install_command('export'))"
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PATH": str(Path(sys.executable).parent)}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout.strip().endswith("pip install 'source[export]'")
