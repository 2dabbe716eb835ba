"""What is promised about files of unknown origin; a test for each promise."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from edited_files import KINDS, edit_config, edit_weights, kernel, layer, members, refused, valid_model, zipped

import octconvert
from octconvert import loading
from octconvert.loading import inspection
from octconvert.system import memory

FIXTURES = Path(__file__).parents[2] / "fixtures"
MIB = 1 << 20

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def same_weights(path: Path, reference: Path) -> None:
    for value, expected in zip(loading.load(path).get_weights(), loading.load(reference).get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


# -- no other file of the user is read ---------------------------------------------------------------------------------


def external_link(file, place, secret):
    file[place] = h5py.ExternalLink(secret, "/s")


def soft_link(file, place, secret):
    file["elsewhere"] = np.zeros((8, 16), "f4")
    file[place] = h5py.SoftLink("/elsewhere")


def soft_link_to_itself(file, place, secret):
    file[place] = h5py.SoftLink(f"/{place}")


def raw_storage(file, place, secret):
    file.create_dataset(place, (8, 16), "f4", external=[(secret, 0, 512)])


def virtual(file, place, secret):
    layout = h5py.VirtualLayout((8, 16), "f4")
    layout[:] = h5py.VirtualSource(secret, "s", (8, 16))
    file.create_virtual_dataset(place, layout)


OUTSIDE = {
    external_link: "external link",
    soft_link: "soft link",
    soft_link_to_itself: "soft link",
    raw_storage: "keeps the data of",
    virtual: "virtual dataset",
}


@pytest.mark.quick(
    "a weight-external_link-h5",
    "a weight-soft_link-keras",
    "something else-external_link-keras",
    "a weight-virtual-h5",
    "something else-raw_storage-h5",
    "a weight-soft_link_to_itself-h5",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", OUTSIDE, ids=lambda way: way.__name__)
@pytest.mark.parametrize("where", ["a weight", "something else"])
def test_links_out_of_the_file_are_refused(way, kind, where, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["s"] = np.full((8, 16), 42, "f4")
    path = valid_model(tmp_path, kind)
    place = kernel(path) if where == "a weight" else "notes/more"

    def change(file):
        if place in file:
            del file[place]
        way(file, place, str(secret))

    line = refused(edit_weights(path, change))
    assert path.name in line and OUTSIDE[way] in line and place in line


def test_the_group_of_weights_must_not_be_a_link(tmp_path):
    path, other = valid_model(tmp_path, "h5"), tmp_path / "other.h5"
    shutil.copy(path, other)

    def change(file):
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(other), "model_weights")

    assert "external link" in refused(edit_weights(path, change))


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_inside_itself_is_refused(kind, tmp_path):
    path = valid_model(tmp_path, kind)
    group = kernel(path).rpartition("/")[0]
    line = refused(edit_weights(path, lambda file: file[group].__setitem__("again", file["/"])))
    assert "from two places" in line


NAMES = ("../config.json", "/etc/passwd", "assets/../../x", "assets\\..\\x", "C:x")


@pytest.mark.quick("../config.json", "/etc/passwd")
@pytest.mark.parametrize("name", NAMES)
def test_archive_members_outside_of_the_archive_are_refused(name, tmp_path):
    path = valid_model(tmp_path, "keras")
    line = refused(zipped(path, members(path) | {name: b"x"}))
    assert "outside of the archive" in line


def test_links_in_an_archive_are_refused(tmp_path):
    path = valid_model(tmp_path, "keras")
    entry = zipfile.ZipInfo("assets/vocabulary.txt")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "symbolic link" in refused(path)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_duplicate_names_in_an_archive_are_refused(name, tmp_path):
    path = valid_model(tmp_path, "keras")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, b"{}")
    assert "two files of one name" in refused(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = valid_model(tmp_path, "keras")
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


def test_an_unusual_compression_is_refused(tmp_path):
    path = valid_model(tmp_path, "keras")
    assert "with deflate" in refused(zipped(path, members(path), zipfile.ZIP_BZIP2))


@pytest.mark.parametrize("name", ["model.weights.json", "model.weights.npz"])
def test_other_forms_of_weights_are_named(name, tmp_path):
    path = valid_model(tmp_path, "keras")
    content = members(path)
    content[name] = content.pop("model.weights.h5")
    assert name in refused(zipped(path, content))


# -- memory ------------------------------------------------------------------------------------------------------------


def never_written(file, place):
    file.create_dataset(place, (10**7, 10**5), "f4", chunks=(1000, 1000), fillvalue=1.0)


def one_large_piece(file, place):
    file.create_dataset(place, (8, 16), "f4", chunks=(20_000, 20_000), maxshape=(None, None))


def packed_zeros(file, place):
    """400 MiB in a file of about as many KB."""
    data = file.create_dataset(place, (100, MIB), "f4", chunks=(1, MIB), compression="gzip")
    chunk = zlib.compress(bytes(4 * MIB), 9)
    for row in range(100):
        data.id.write_direct_chunk((row, 0), chunk)


@pytest.mark.quick("never_written-h5", "one_large_piece-keras", "packed_zeros-h5")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bomb", [never_written, one_large_piece, packed_zeros], ids=lambda bomb: bomb.__name__)
def test_declared_weights_are_compared_with_the_size_of_the_file(bomb, kind, tmp_path):
    path = valid_model(tmp_path, kind)

    def change(file):
        del file[kernel(path)]
        bomb(file, kernel(path))

    line = refused(edit_weights(path, change, zipfile.ZIP_DEFLATED))
    assert "MiB" in line and path.stat().st_size < 2 * MIB


@pytest.mark.quick("model.weights.h5")
@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "assets/words.txt"])
def test_the_unpacked_size_of_an_archive_is_bounded(name, tmp_path):
    path = valid_model(tmp_path, "keras")
    zipped(path, members(path) | {name: bytes(120 * MIB)}, zipfile.ZIP_DEFLATED)
    assert "MiB" in refused(path) and path.stat().st_size < 2 * MIB


@pytest.mark.long
def test_members_that_keras_does_not_need_are_not_unpacked(tmp_path):
    path = valid_model(tmp_path, "keras")
    more = {"README.md": bytes(120 * MIB), "other/x.h5": b"\x89HDF\r\n\x1a\n broken"}
    same_weights(zipped(tmp_path / "more.keras", members(path) | more, zipfile.ZIP_DEFLATED), path)


LARGE = {
    "dense": ("d", {"units": 10**9}),
    "convolution": ("b", {"filters": 10**8}),
    "kernel": ("b", {"kernel_size": [10**5, 10**5]}),
    "no number of this world": ("b", {"filters": 10**400}),
}


@pytest.mark.quick("dense-h5", "convolution-keras", "no number of this world-keras")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", LARGE)
def test_declared_layers_are_compared_with_the_stored_weights(case, kind, tmp_path):
    name, values = LARGE[case]
    line = refused(edit_config(valid_model(tmp_path, kind), lambda record: layer(record, name).update(values)))
    assert f"layer '{name}' declares 'kernel'" in line


def test_layers_inside_layers_are_counted(tmp_path):
    import keras

    inner = keras.Sequential([keras.layers.Dense(4, name="deep")], name="inner")
    image = keras.Input((6, 3))
    x = keras.layers.TimeDistributed(inner, name="each")(image)
    keras.Model(image, keras.layers.Bidirectional(keras.layers.GRU(2, name="gru"), name="both")(x)).save(
        tmp_path / "m.keras"
    )

    def grow(record):
        layer(record, "both")["layer"]["config"]["units"] = 10**5

    line = refused(edit_config(tmp_path / "m.keras", grow))
    assert "gru" in line and "declares" in line


SIZES = {
    "input": {"class_name": "Rescaling", "config": {"name": "x", "scale": 2.0, "offset": 0.0}},
    "normalization": {"class_name": "Normalization", "config": {"name": "x", "mean": [0.5], "variance": [1.0]}},
    "lookup": {"class_name": "IntegerLookup", "config": {"name": "x", "vocabulary": [1], "num_oov_indices": 10**9}},
}


@pytest.mark.parametrize("case", SIZES)
def test_layers_without_weights_are_bounded(case, tmp_path):
    path = tmp_path / "model.h5"
    shape = {"input": [None, 10**5, 10**5], "normalization": [None, 10**9], "lookup": [None, 4]}[case]
    image = {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": shape}}
    record = {"class_name": "Sequential", "config": {"name": "s", "layers": [image, SIZES[case]]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(record), "3.15.1"
        file.create_group("model_weights").attrs["layer_names"] = []
    line = refused(path)
    assert "num_oov_indices=10" in line if case == "lookup" else "declares an input" in line


RUNS = {
    "upsampling": ("up", {"size": [10**5, 10**5]}),
    "input": ("image", {"batch_shape": [None, 25_000, 25_000, 3]}),
    "open input": ("up", {"size": [10**6, 10**6]}),
    "batch": ("image", {"batch_shape": [10**9, 12, 12, 3]}),
    "no number of this world": ("up", {"size": [10**30, 10**30]}),
}


@pytest.mark.quick(
    "convert-upsampling", "bench-input", "export-batch", "convert-open input", "convert-no number of this world"
)
@pytest.mark.parametrize("case", RUNS)
@pytest.mark.parametrize("use", ["convert", "bench", "export"])
def test_a_run_that_does_not_fit_into_memory_is_refused(case, use, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "total_bytes", lambda: 8 * 10**9)  # as on any laptop
    name, values = RUNS[case]

    def change(record):
        if case == "open input":
            layer(record, "image")["batch_shape"] = [None, None, None, 3]
        layer(record, name).update(values)

    path = edit_config(valid_model(tmp_path, "h5"), change)
    use = {
        "convert": lambda path: octconvert.convert(path, calibration=False),
        "bench": octconvert.bench,
        "export": lambda path: octconvert.export(path, tmp_path / "model.tflite"),
    }[use]
    line = refused(path, use)
    assert "one run on an input of" in line and "too much for this machine's" in line and "'up'" in line


def test_the_memory_limit_is_that_of_machine_and_process():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert memory.total_bytes() > 10**8
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (10**12, before[1]))
        assert memory.total_bytes() < 10**12 + 1
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_architecture_has_a_bounded_depth(kind, tmp_path):
    nested: list = []
    for _ in range(400):
        nested = [nested]
    assert "levels deep" in refused(edit_config(valid_model(tmp_path, kind), lambda record: record.update(more=nested)))


def test_an_architecture_has_a_bounded_number_of_values(tmp_path):
    def change(file):
        file.attrs["model_config"] = f"[{'0,' * 4_100_000}0]"

    assert "values in its architecture" in refused(edit_weights(valid_model(tmp_path, "h5"), change))


def test_an_unclosed_string_is_refused(tmp_path):
    def change(file):
        file.attrs["model_config"] = '{"a": "' + '\\"' * 500_000

    assert "unreadable architecture" in refused(edit_weights(valid_model(tmp_path, "h5"), change))


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    path = valid_model(tmp_path, "h5")

    def change(file):
        del file[kernel(path)]
        file[kernel(path)] = [["a"] * 16] * 8

    assert "holds no numbers" in refused(edit_weights(path, change))


def test_an_unknown_filter_is_refused(tmp_path):
    path = valid_model(tmp_path, "h5")

    def change(file):
        del file[kernel(path)]
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((8, 16))
        settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd, which is in no HDF5 by itself
        group, _, name = kernel(path).rpartition("/")
        kind, space = h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((8, 16))
        h5py.h5d.create(file[group].id, name.encode(), kind, space, dcpl=settings)

    assert "filter 32015" in refused(edit_weights(path, change))


# -- an end, whatever the file -----------------------------------------------------------------------------------------


def test_a_file_in_which_hdf5_loops_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "SECONDS", 3)
    data = bytearray((FIXTURES / "legacy" / "keras1_theano_sequential.h5").read_bytes())
    data[2772:6641] = bytes(6641 - 2772)
    path = tmp_path / "bad.h5"
    path.write_bytes(data)
    assert "damaged" in refused(path)


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_inspector_imports_neither_octconvert_nor_keras(tmp_path):
    code = f"""if True:
        import runpy, sys
        runpy.run_path({str(inspection.SCRIPT)!r}, run_name="__main__")
        print(sorted({{"octconvert", "keras", "tensorflow"}} & sys.modules.keys()), file=sys.stderr)
        """
    task = json.dumps({"path": str(valid_model(tmp_path, "keras")), "kind": "keras", "seconds": 60})
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-S", "-P", "-c", code]
    done = subprocess.run(command, input=task, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert json.loads(done.stdout)["contents"]["complete"]
    assert done.stderr == "[]\n"


def test_time_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "SECONDS", 1)
    monkeypatch.setattr(inspection, "SCRIPT", script(tmp_path / "s.py", "while True: pass"))
    assert "its inspection took over 1 seconds" in refused(valid_model(tmp_path, "h5"))


def test_a_crash_of_hdf5_is_reported_in_one_line(tmp_path, monkeypatch):
    dies = script(tmp_path / "s.py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(inspection, "SCRIPT", dies)
    assert "is a damaged or incomplete HDF5 file" in refused(valid_model(tmp_path, "h5"))


def test_ctrl_c_ends_the_inspecting_process(tmp_path, monkeypatch):
    started = tmp_path / "pid"
    text = f"import os, time; open({str(started)!r} + '~', 'w').write(str(os.getpid()))\n"
    text += f"os.rename({str(started)!r} + '~', {str(started)!r}); time.sleep(600)"
    monkeypatch.setattr(inspection, "SCRIPT", script(tmp_path / "s.py", text))
    path = valid_model(tmp_path, "h5")

    def interrupt():
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loading.read(path)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def pipe(path):
    os.mkfifo(path)


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


def link_to_itself(path):
    path.symlink_to(path)


def system_file(path):
    path.symlink_to("/proc/self/environ")


@pytest.mark.skipif(os.name != "posix", reason="has no such files")
@pytest.mark.parametrize("make", [pipe, link_to_a_device, link_to_itself, system_file], ids=lambda make: make.__name__)
def test_pipes_and_devices_are_refused_without_waiting(make, tmp_path):
    path = tmp_path / "model.h5"
    make(path)
    refused(path)


# -- what was looked at is what is read --------------------------------------------------------------------------------


@pytest.mark.quick("replaced-keras", "written-h5")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["replaced", "written"])
def test_a_file_that_changes_after_its_inspection_is_refused(kind, how, tmp_path, monkeypatch):
    path = valid_model(tmp_path, kind)
    inspect = inspection.inspect

    def changed(path):
        contents = inspect(path)
        if how == "replaced":
            shutil.copy(path, path.with_suffix(".new"))
            os.replace(path.with_suffix(".new"), path)
        else:
            path.write_bytes(path.read_bytes())
        return contents

    monkeypatch.setattr(inspection, "inspect", changed)
    assert "was changed while it was read" in refused(path)


# -- valid files ------------------------------------------------------------------------------------------------------


def repacked(**options):
    def change(file):
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in found:
            value = file[name][()]
            del file[name]
            file.create_dataset(name, data=value, **(options if value.ndim else {}))

    return change


def other_byte_order(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim else None)
    for name in found:
        value = file[name][()]
        del file[name]
        file[name] = value.astype(value.dtype.newbyteorder(">"))


def notes_of_a_user(file):
    file.attrs["labels"] = ["cat", "dog"]
    if "model_weights" in file:
        file["notes/text"] = "trained in May"
        file["notes/history"] = np.arange(6.0)
        file["notes/again"] = file["notes/history"]


HONEST = {
    "gzip": repacked(compression="gzip", shuffle=True, fletcher32=True, chunks=True),
    "lzf": repacked(compression="lzf"),
    "other byte order": other_byte_order,
    "more in it": notes_of_a_user,
}


@pytest.mark.quick("gzip-h5", "other byte order-keras")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", HONEST)
def test_a_valid_file_is_read(case, kind, tmp_path):
    path = valid_model(tmp_path, kind)
    other = edit_weights(Path(shutil.copy(path, tmp_path / f"other.{kind}")), HONEST[case], zipfile.ZIP_DEFLATED)
    same_weights(other, path)


def test_an_archive_zipped_again(tmp_path):
    path = valid_model(tmp_path, "keras")
    same_weights(zipped(tmp_path / "again.keras", members(path) | {"assets/": b""}, zipfile.ZIP_DEFLATED), path)


@pytest.mark.quick("keras")
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_model_that_was_never_trained(kind, tmp_path):
    model = loading.load(valid_model(tmp_path, kind))
    model.compile("adam", "mse")  # Keras makes two more weights for each one when it reads this
    model.save(tmp_path / f"compiled.{kind}")
    loaded = loading.load(tmp_path / f"compiled.{kind}")
    assert type(loaded.optimizer).__name__ == "Adam"
    same_weights(tmp_path / f"compiled.{kind}", tmp_path / f"model.{kind}")
