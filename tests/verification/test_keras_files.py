"""Saving: all or nothing, and never over something by accident."""

from __future__ import annotations

import os
import stat

import keras
import numpy as np
import pytest
from keras import layers

from octconvert import loading
from octconvert.errors import CheckError, OctconvertError, UsageError
from octconvert.verification import keras_files


@pytest.fixture
def model():
    image = keras.Input((5, 5, 2))
    return keras.Model(image, layers.Conv2D(3, 3)(image))


def names(directory):
    return sorted(one.name for one in directory.iterdir())


def refused(model, path, **options) -> str:
    with pytest.raises(UsageError) as caught:
        keras_files.save(model, path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.hdf5", "M.H5", "with space.keras", "a.b.keras"])
def test_saved_and_read_again(model, tmp_path, name):
    keras_files.save(model, tmp_path / name)
    assert names(tmp_path) == [name]
    x = np.random.default_rng(0).random((2, 5, 5, 2), np.float32)
    np.testing.assert_allclose(np.asarray(loading.load(tmp_path / name)(x)), np.asarray(model(x)), rtol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("m.keras", "keras"), ("m.h5", "h5"), ("m.hdf5", "h5")])
def test_the_suffix_determines_the_format(model, tmp_path, name, kind):
    keras_files.save(model, tmp_path / name)
    assert loading.read(tmp_path / name).kind == kind


@pytest.mark.parametrize("name", ["m.onnx", "m", "m.keras.bak", "keras"])
def test_other_suffixes_are_refused(model, tmp_path, name):
    assert ".keras, .h5 or .hdf5" in refused(model, tmp_path / name)
    assert names(tmp_path) == []


def test_an_existing_file_is_kept_without_overwrite(model, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(b"precious")
    assert "exists already" in refused(model, path)
    assert path.read_bytes() == b"precious"
    keras_files.save(model, path, overwrite=True)
    assert loading.read(path).kind == "keras"
    assert names(tmp_path) == ["m.keras"]


def test_the_check_sees_the_finished_file_beside_the_target(model, tmp_path):
    seen = []

    def check(path):
        assert path.parent == tmp_path and path.suffix == ".h5"
        assert not (tmp_path / "m.h5").exists()
        seen.append(loading.read(path).model.output_shape)

    keras_files.save(model, tmp_path / "m.h5", check=check)
    assert seen == [(None, 3, 3, 3)]
    assert names(tmp_path) == ["m.h5"]


@pytest.mark.parametrize("error", [CheckError("no"), ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_a_failed_check_changes_nothing(model, tmp_path, error):
    path = tmp_path / "m.keras"
    path.write_bytes(b"precious")

    def check(_):
        raise error

    with pytest.raises(type(error)):
        keras_files.save(model, path, overwrite=True, check=check)
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["m.keras"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(model, tmp_path):
    path = tmp_path / "m.keras"
    assert "exists already" in refused(model, path, check=lambda _: path.write_bytes(b"faster"))
    assert path.read_bytes() == b"faster"
    assert names(tmp_path) == ["m.keras"]


def test_targets_that_can_not_be_written_are_refused(model, tmp_path):
    (tmp_path / "m.keras").mkdir()
    assert "is a directory" in refused(model, tmp_path / "m.keras", overwrite=True)
    assert "no directory" in refused(model, tmp_path / "missing" / "m.keras")
    (tmp_path / "file").write_text("x")
    assert "no directory" in refused(model, tmp_path / "file" / "m.keras")
    assert names(tmp_path) == ["file", "m.keras"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission(model, tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "no permission" in refused(model, tmp_path / "m.keras")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_permissions_follow_the_umask_and_the_file_replaced(model, tmp_path, name):
    before = os.umask(0o027)
    try:
        keras_files.save(model, tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    (tmp_path / name).chmod(0o604)
    keras_files.save(model, tmp_path / name, overwrite=True)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o604


def test_a_symbolic_link_stays_one(model, tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "m.keras"
    link.symlink_to(tmp_path / "store" / "real.keras")
    keras_files.save(model, link, overwrite=True)
    assert link.is_symlink()
    assert names(tmp_path / "store") == ["real.keras"]


def test_saving_h5_does_not_change_the_model(model, tmp_path):
    # Keras by itself removes the optimizer from the settings of a model that it writes to .h5.
    model.compile(keras.optimizers.Adam(0.02), "mse")
    keras_files.save(model, tmp_path / "m.h5")
    keras_files.save(model, tmp_path / "m.keras")
    for name in ("m.h5", "m.keras"):
        assert float(loading.load(tmp_path / name).optimizer.learning_rate) == pytest.approx(0.02)


class Unsaveable(layers.Layer):
    def call(self, x):
        return x

    def get_config(self):
        raise NotImplementedError("no configuration\nat all")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_models_that_keras_can_not_save_are_refused_in_one_line(tmp_path, name):
    image = keras.Input((4,))
    with pytest.raises(OctconvertError) as caught:
        keras_files.save(keras.Model(image, Unsaveable()(image)), tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert names(tmp_path) == []
