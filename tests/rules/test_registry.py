"""Rules of users are registered as the built-in ones are; subclasses count as their base where they keep its call."""

import importlib
import sys
from pathlib import Path

import keras
import pytest
from doubled import Doubled, DoubledRule, doubled_net, registered
from keras import Model, layers
from oracle import assert_oracle

import octconvert
from octconvert import cli
from octconvert.rules import Pair, Rule, carry, find_rule, register, registry


@pytest.fixture
def doubled_rule():
    with registered(DoubledRule):
        yield


def test_rule_of_a_user(doubled_rule):
    result = assert_oracle(doubled_net(), converted=4)
    assert {"doubled-H", "doubled-L"} <= {layer.name for layer in result.model.layers}


def test_rule_of_a_user_with_dual_takes_whole_low_tensors(doubled_rule):
    result = assert_oracle(doubled_net(), converted=4, alpha=1.0)
    assert {"doubled-H", "doubled-L"} & {layer.name for layer in result.model.layers} == {"doubled-L"}


@keras.saving.register_keras_serializable(package="tests")
class Reversed(layers.Layer):
    """The channels in reverse order."""

    def call(self, x):
        return x[..., ::-1]


class ReversedRule(Rule):
    layers = (Reversed,)

    def trace(self, call, flow):
        return carry(flow.channels()[::-1])

    def rewrite(self, call, values, build):
        split = build.pair_split(call)
        maps = [build.clone(call, part.suffix)(values[0].part(part.suffix)) for part in split.parts]
        return [Pair.of(maps, split)]


@pytest.mark.parametrize("alpha, suffixes", [(0.25, {"-H", "-L"}), (1.0, {"-L"})])
def test_rule_of_a_user_that_builds_the_parts_takes_whole_low_tensors(alpha, suffixes):
    inputs = keras.Input((8, 8, 3))
    x = Reversed(name="reversed")(layers.Conv2D(8, 3, padding="same")(inputs))
    with registered(ReversedRule):
        result = assert_oracle(keras.Model(inputs, layers.Conv2D(4, 3)(x)), converted=2, alpha=alpha)
    names = {layer.name for layer in result.model.layers if layer.name.startswith("reversed")}
    assert names == {f"reversed{suffix}" for suffix in suffixes}


def test_without_the_rule():
    """The layer is opened: it is a model of what it calls."""
    result = assert_oracle(doubled_net(), converted=4)
    assert isinstance(result.model.get_layer("doubled"), Model)


def test_subclasses():
    class Renamed(layers.ReLU):
        pass

    class Changed(layers.ReLU):
        def call(self, x):
            return x

    assert find_rule(Renamed()) is find_rule(layers.ReLU())
    assert find_rule(Changed()) is None
    assert find_rule(layers.Softmax()) is None


def test_what_is_no_rule_is_refused():
    with pytest.raises(TypeError, match=r"subclass of octconvert\.rules\.Rule"):
        register(Doubled)
    with pytest.raises(TypeError, match="neither layers nor operations"):
        register(type("Nothing", (Rule,), {}))


PACKAGE = """
import keras
from octconvert.rules import Rule, carry, register

@keras.saving.register_keras_serializable(package="plugin")
class Plugged(keras.layers.Layer):
    def call(self, x):
        return x * 2

class PluggedRule(Rule):
    layers = (Plugged,)

    def trace(self, call, flow):
        return carry(flow.channels())

    def rewrite(self, call, values, build):
        return [build.dual(call, values)]
"""


def install(folder: Path, source: str, entry: str) -> None:
    """A package with this source and entry point."""
    name = entry.partition(":")[0]
    (folder / f"{name}.py").write_text(source)
    meta = folder / f"{name}-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(f"[octconvert.rules]\nplugged = {entry}\n")


@pytest.fixture
def not_loaded_yet():
    """As in a process that has looked up no rule so far."""
    registry.load_entry_points.cache_clear()
    yield
    registry.load_entry_points.cache_clear()
    for name in ("plugin", "one", "other"):
        module = sys.modules.pop(name, None)
        if hasattr(module, "PluggedRule"):
            registry.unregister(module.PluggedRule)
        keras.saving.get_custom_objects().pop(f"{name}>Plugged", None)


def test_rules_of_installed_packages(tmp_path, monkeypatch, not_loaded_yet):
    """One names its rule class, the other a module whose decorators register."""
    install(tmp_path, PACKAGE.replace('package="plugin"', 'package="one"'), "one:PluggedRule")
    source = PACKAGE.replace("class PluggedRule", "@register\nclass PluggedRule")
    install(tmp_path, source.replace('package="plugin"', 'package="other"'), "other")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("one", "other"):
        inputs = keras.Input((8, 8, 3))
        x = importlib.import_module(name).Plugged()(layers.Conv2D(8, 3)(inputs))
        model = keras.Model(inputs, layers.Conv2D(4, 3)(x))
        assert [c.role for c in octconvert.plan(model, min_size=1).convolutions] == ["first", "last"], name


BROKEN = {
    "no such class": (PACKAGE.replace("class PluggedRule", "class OtherRule"), "plugin:PluggedRule", "PluggedRule"),
    "no rule": (PACKAGE, "plugin:carry", "subclass of octconvert.rules.Rule"),
    "fails": ("raise RuntimeError('needs something')", "plugin", "needs something"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_rules_that_can_not_be_loaded_are_named(case, tmp_path, monkeypatch, capsys, not_loaded_yet):
    """One line on the command line; the model is untouched."""
    source, entry, reason = BROKEN[case]
    doubled_net().save(tmp_path / "net.keras")
    install(tmp_path, source, entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.main([str(tmp_path / "net.keras")])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("octconvert: the rules 'plugged' of package plugin can not be loaded: ")
    assert err.count("\n") == 1 and reason in err
    assert not (tmp_path / "net-octave.keras").exists()
