"""What the reports say, held against golden files: text at 80 columns without colour.

To rewrite them after a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/test_report.py``, and read the difference.
"""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from octconvert.display.serialized import to_dict
from octconvert.options.rewriting import RewritingOptions
from octconvert.results.plan import Chain, ChainEnd, Convolution, Group, Plan
from octconvert.results.report import (
    CalibrationReport,
    Check,
    ConvolutionReport,
    Cost,
    Evaluation,
    Measure,
    Report,
    Step,
)
from octconvert.results.shown import View
from octconvert.results.shown import renderable as render
from octconvert.text import words

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = tuple((name, getattr(RewritingOptions(), name)) for name in RewritingOptions.__dataclass_fields__)
PASSED = (
    Check("shapes", True, "1 output of shape (None, 10), as in the source"),
    Check("finite", True, "8 random samples, no NaN and no infinity"),
    Check("oracle", True, "octave=1: largest difference 2.1e-09 on outputs of size 7.3e-03"),
    Check("reload", True, "the saved file gives the same outputs"),
)


def text(renderable, width=80, encoding="utf-8"):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=stream, width=width, no_color=True, force_terminal=False, legacy_windows=False)
    console.print(renderable)
    stream.flush()
    # rich fills cells up with blanks; golden files without them survive editors.
    return "".join(f"{line.rstrip()}\n" for line in raw.getvalue().decode(encoding).splitlines())


def row(name, role, alphas, size, channels, macs, after, reason="", class_name="Conv2D"):
    low = int(alphas[1] * channels)
    return ConvolutionReport(
        name=name,
        class_name=class_name,
        role=role,
        alpha_in=alphas[0],
        alpha_out=alphas[1],
        macs_before=macs,
        macs_after=after,
        input_shape=(size, size, channels),
        output_shape=(size, size, channels),
        high_shape=(size, size, channels - low),
        low_shape=(size // 2, size // 2, low) if low else None,
        reason=reason,
    )


def five():
    rows = (
        row("conv1", "first", (0, 0.5), 32, 32, 884_736, 552_960),
        row("conv2", "intermediate", (0.5, 0.5), 32, 32, 9_437_184, 4_128_768),
        row("separable", "intermediate", (0.5, 0.5), 16, 64, 598_016, 270_000, class_name="SeparableConv2D"),
        row("conv3", "last", (0.5, 0), 16, 64, 9_437_184, 5_898_240),
        row("head", "plain", (0, 0), 4, 10, 10_240, 10_240, "its map of 4 x 4 is smaller than min_size 8"),
    )
    chain = Chain(
        first=("conv1",),
        intermediate=("conv2", "separable"),
        last=("conv3",),
        dual=("bn1", "relu1", "bn2", "relu2", "pool"),
        ends=(ChainEnd("conv3", "Conv2D", "the layer after it reads a plain tensor"),),
    )
    return Report(
        source="small.h5",
        target="small-octave.keras",
        before=Cost(20_367_360, 61_706, 1_234_567, 262_144),
        after=Cost(10_860_208, 61_706, 998_000, 300_000),
        convolutions=rows,
        chains=(chain,),
        checks=PASSED,
        repairs=("lambda layers of Keras 1 'border_mode' were renamed to 'padding' in 4 layers",),
        notes=("Accuracy after conversion was not measured; fine-tune or calibrate before use.",),
        options=OPTIONS,
        seconds=3.217,
        next_command="octconvert diff small.h5 small-octave.keras",
    )


def five_hundred():
    rows = []
    for stage in range(1, 11):
        for block in range(1, 51):
            name = f"backbone/encoder/stage{stage}_block{block}_conv"
            size, macs = 2 ** (9 - (stage + 1) // 2), 1_000_000 * (51 - block) + stage
            if (stage, block) == (1, 1):
                rows.append(row(name, "first", (0, 0.125), size, 64, macs, round(0.9 * macs)))
            elif stage > 8:
                reason = "excluded by 'stage9'" if block % 2 else "Concatenate joins it with a tensor that is not tied"
                rows.append(row(name, "plain", (0, 0), size, 64, macs, macs, reason))
            elif (stage, block) == (8, 50):
                rows.append(row(name, "last", (0.125, 0), size, 64, macs, round(0.9 * macs)))
            else:
                rows.append(row(name, "intermediate", (0.125, 0.125), size, 64, macs, round(0.824 * macs)))
    converted = [r.name for r in rows if r.role == "intermediate"]
    ends = tuple(ChainEnd(f"neck/attention_{i}", "MultiHeadAttention", "no rule for this layer") for i in range(40))
    long = Chain((rows[0].name,), tuple(converted[:300]), (), tuple(f"bn{i}" for i in range(900)), ends)
    short = [Chain((), (name,), (), ("bn",), (ChainEnd(f"{name}_out", "Lambda", ""),)) for name in converted[300:]]
    return Report(
        source="a-rather-long-file-name-of-a-segmentation-network.h5",
        target="a-rather-long-file-name-of-a-segmentation-network-octave.keras",
        before=Cost(15_470_314_496, 138_357_544, 123_456_789, 25_690_112, ((512, 512, 3),)),
        after=Cost(13_112_000_000, 138_357_544, 120_000_000, 26_000_000, ((512, 512, 3),)),
        convolutions=tuple(rows),
        chains=(long, *short),
        checks=PASSED,
        repairs=tuple(f"layer {i}: 'batch_input_shape' became 'batch_shape'" for i in range(20)),
        notes=("The model leaves rows and columns open.",),
        options=tuple({**dict(OPTIONS), "alpha": 0.125, "alpha_map": ((".*_1$", 0.25),), "portable": True}.items()),
        seconds=83.4,
        next_command="octconvert diff 'a-rather-long-file-name-of-a-segmentation-network.h5' "
        "a-rather-long-file-name-of-a-segmentation-network-octave.keras",
    )


def nothing():
    reasons = ("excluded by the option exclude", "dilated convolutions stay plain")
    rows = tuple(row(f"conv{i}", "plain", (0, 0), 16, 8, 1000, 1000, reasons[i % 2]) for i in range(3))
    cost = Cost(3000, 216, 8192, 4096)
    return Report("net.keras", "net-octave.keras", cost, cost, rows, options=OPTIONS, seconds=0.4)


def failed():
    bad = Check("oracle", False, "octave=1: largest difference 0.31 on outputs of size 0.9, at output 'probabilities'")
    return replace(five(), checks=(*PASSED[:2], bad), next_command="octconvert small.h5 --exclude separable")


def with_errors(report, errors):
    rows = (replace(row, error=error) for row, error in zip(report.convolutions, errors, strict=True))
    return replace(report, convolutions=tuple(rows), notes=())


def synthetic():
    """A classifier without any data of the user's."""
    done = CalibrationReport(
        data="1,024 synthetic images",
        synthetic=True,
        input_range="-1..1, from the Rescaling 'rescale' that the input goes through first",
        samples=896,
        held_out=128,
        measures=(
            Measure("top-1 agreement", 0.711, 0.969),
            Measure("relative error", 0.3124, 0.02413),
            Measure("PSNR", 18.24, 29.3),
        ),
        steps=(
            Step("rotate", True, "4 groups, the low channels are the smoothest combinations", 3.04),
            Step("solve", True, "5 layers by least squares", 12.31),
            Step("renormalize", True, "moving mean and variance of 2 layers", 1.0),
            Step(
                "refine", True, "60 steps of Adam; the error fell from 3.5% to 2.4%, the best of 3 learning rates", 24.6
            ),
        ),
        seconds=41.2,
    )
    return replace(with_errors(five(), (0.031, 0.124, 0.0004, 0.0, None)), calibration=done)


def calibrated():
    """Data of the user's, labels to measure with, and a step that was not kept."""
    done = CalibrationReport(
        data="photos/ (96 of 5,200 images)",
        synthetic=False,
        input_range="",
        samples=86,
        held_out=10,
        measures=(Measure("top-1 agreement", 0.8, 1.0), Measure("relative error", 0.124, 0.000412)),
        steps=(
            Step("select", True, "other low channels in 2 of 4 groups", 0.4),
            Step("solve", True, "4 layers by least squares", 2.25),
            Step("refine", False, "stopped by the budget of 10 s; the held-out error rose from 0.0% to 1.2%", 7.5),
        ),
        seconds=10.2,
    )
    found = Evaluation("test.npz", 5000, 0.841, 0.83)
    report = with_errors(five(), (0.031, 0.124, 0.0004, 14.0, None))
    return replace(report, calibration=done, evaluation=found)


def not_calibrated():
    """A regression model on which nothing helped: no headline may say that it was calibrated."""
    report = synthetic()
    steps = tuple(
        replace(step, kept=False, detail="the held-out error did not fall") for step in report.calibration.steps
    )
    done = replace(report.calibration, steps=steps, measures=(Measure("PSNR", 31.0, 31.0),))
    return replace(report, calibration=done)


def five_hundred_errors():
    """The worst layers are neither the first nor the heaviest."""
    source = five_hundred()
    report = with_errors(source, [0.5 if 233 <= i < 236 else 0.01 for i in range(500)])
    return replace(report, chains=(), calibration=calibrated().calibration, repairs=())


def diff():
    """As `octconvert.pipeline.reporting` makes it: the role is the layer's class in the second model."""
    source, became = five(), ("OctaveConv2D", "OctaveConv2D", "plain", "OctaveConv2D", "-")
    rows = tuple(
        replace(r, role=role, alpha_in=0, alpha_out=0, high_shape=r.output_shape, low_shape=None, reason="")
        for r, role in zip(source.convolutions, became, strict=True)
    )
    rows = (*rows[:4], replace(rows[4], macs_after=0, reason="not in the second model"))
    return Report("small.h5", "small-octave.keras", source.before, source.after, rows)


def plain_diff():
    source = diff()
    rows = tuple(replace(r, role="plain", macs_after=r.macs_before, reason="") for r in source.convolutions)
    return replace(source, convolutions=rows)


def plan():
    rows = five().convolutions
    kept = ("name", "class_name", "role", "alpha_in", "alpha_out", "reason")
    convolutions = tuple(
        Convolution(
            **{name: getattr(r, name) for name in kept},
            input_shape=(None, *r.input_shape),
            output_shape=(None, *r.output_shape),
        )
        for r in rows
    )
    groups = (
        Group("g1", ("conv1",), (32,), 0.5, (16,)),
        Group("g2", ("conv2", "separable"), (32, 64), 0.5, (16, 32)),
    )
    return Plan("small", 2, 8, "keep", "slice", False, groups, convolutions, five().chains)


def empty_plan():
    return replace(plan(), convolutions=(), groups=(), chains=())


CASES = {
    "five_layers": lambda: render(five()),
    "five_hundred_layers": lambda: render(five_hundred()),
    "nothing_converted": lambda: render(nothing()),
    "failed_check": lambda: render(failed()),
    "calibrated_on_synthetic_images": lambda: render(synthetic()),
    "calibrated_on_data_and_evaluated": lambda: render(calibrated()),
    "no_step_kept": lambda: render(not_calibrated()),
    "five_hundred_errors": lambda: render(five_hundred_errors()),
    "plan": lambda: render(plan()),
    "plan_without_convolutions": lambda: render(empty_plan()),
    "diff": lambda: render(diff()),
    "diff_of_plain_models": lambda: render(plain_diff()),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    path, found = GOLDEN / f"{name}.txt", text(CASES[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_console(name, width):
    wide = [line for line in text(CASES[name](), width).splitlines() if len(line) > width]
    assert wide == []


def test_report_is_ascii_and_survives_a_console_that_is_not_utf8():
    for make in CASES.values():
        assert text(make()).isascii()
        assert text(make(), encoding="ascii") == text(make())


def test_verbose_names_every_layer_chain_end_and_repair():
    report = five_hundred()
    found = re.sub(r"\s+", "", text(render(report, View(verbose=True)), width=200))
    names = [item.name for item in (*report.convolutions, *(end for chain in report.chains for end in chain.ends))]
    assert [name for name in (*names, *report.chains[0].dual) if name not in found] == []
    assert [sentence for sentence in report.repairs if sentence.replace(" ", "") not in found] == []
    assert "more" not in found


def test_collapsed_table_accounts_for_every_layer():
    """Shown rows and the counts of those left out add up to all rows, and so do their MACs."""
    lines = text(CASES["five_hundred_layers"]()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("---") and len(line) > 60)
    table = lines[start + 1 : next(i for i, line in enumerate(lines) if line.startswith("all 500"))]
    hidden = [int(line.split()[1]) for line in table if line.startswith("...")]
    assert sum(hidden) + len(table) - len(hidden) == 500
    assert len(table) < 40


def test_the_heaviest_layer_is_never_collapsed():
    report = five_hundred()
    rows = list(report.convolutions)
    rows[237] = replace(rows[237], macs_before=10**9, name="needle")
    assert "needle" in text(render(replace(report, convolutions=tuple(rows))))


def test_names_with_markup_brackets_and_wide_letters_are_printed_as_they_are():
    report = five()
    name = "[bold]:smile:/畳み込み"
    rows = (replace(report.convolutions[0], name=name), *report.convolutions[1:])
    found = text(
        render(replace(report, convolutions=rows, notes=("see [red]this[/red]",)), View(verbose=True)), width=160
    )
    assert name in found and "see [red]this[/red]" in found


def test_next_command_stays_one_shell_command_when_it_takes_two_lines():
    last = text(CASES["five_hundred_layers"]()).split("Next\n")[1]
    assert last.count("\n") == 2
    words_of_shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {last}"], capture_output=True, text=True, check=True)
    assert words_of_shell.stdout.split() == [item.strip("'") for item in five_hundred().next_command.split()]


def test_no_checks_is_told_and_so_is_a_model_without_convolutions():
    bare = replace(nothing(), convolutions=())
    assert "none was run" in text(render(bare))
    assert "Nothing was converted: the model has no convolutions." in text(render(bare))


def test_report_shows_in_a_notebook():
    bundle = five()._repr_mimebundle_((), ())
    assert "4 of 5 convolutions converted" in bundle["text/html"] and "conv2" in bundle["text/plain"]


def test_plan_prints_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert text(plan()) == text(render(plan()))
    assert [line.rstrip() for line in str(plan()).splitlines()] == text(plan()).splitlines()


def test_a_plan_shows_itself_where_nothing_else_was_imported():
    """Values know nothing of the display; the package sees to it that both are there."""
    code = """
import octconvert, sys
plan = octconvert.Plan("net", 2, 8, "keep", "slice", False, (), (), ())
print(plan, repr(plan), "keras" in sys.modules, sep="\\n")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, summary, name, keras = found.stdout.splitlines()
    assert first == "Plan for net: octave 2, weights slice" and summary.startswith("Nothing would be converted")
    assert name.startswith("<Plan for net") and keras == "False"


def test_json_holds_every_number_and_reads_back():
    report = failed()
    found = json.loads(json.dumps(to_dict(report), allow_nan=False))
    assert found["format"] == "octconvert-report/1"
    assert found["before"]["macs"] == 20_367_360 and found["after"]["peak_activation_bytes"] == 300_000
    assert [item["name"] for item in found["convolutions"]] == [item.name for item in report.convolutions]
    assert found["convolutions"][0]["low_shape"] == [16, 16, 16] and found["convolutions"][3]["low_shape"] is None
    assert found["options"]["alpha"] == 0.5 and found["chains"][0]["ends"][0]["name"] == "conv3"
    assert (found["convolutions_converted"], found["convolutions_total"], found["passed"]) == (4, 5, False)


def test_json_takes_numpy_numbers():
    numpy = pytest.importorskip("numpy")
    report = replace(five(), before=Cost(numpy.int64(5), 1, 1, 1), options=(("alpha", numpy.float32(0.5)),))
    found = json.loads(json.dumps(to_dict(report)))
    assert found["before"]["macs"] == 5 and found["options"]["alpha"] == 0.5


def test_renderers_do_not_import_keras():
    code = "import sys; import octconvert.display, octconvert.display.serialized; print('keras' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_json_holds_calibration_and_evaluation():
    found = json.loads(json.dumps(to_dict(calibrated()), allow_nan=False))
    assert found["calibration"]["data"] == "photos/ (96 of 5,200 images)" and not found["calibration"]["synthetic"]
    assert found["calibration"]["measures"][0] == {"name": "top-1 agreement", "before": 0.8, "after": 1.0}
    assert [step["kept"] for step in found["calibration"]["steps"]] == [True, True, False]
    assert found["evaluation"] == {"data": "test.npz", "samples": 5000, "before": 0.841, "after": 0.83}
    assert [row["error"] for row in found["convolutions"]] == [0.031, 0.124, 0.0004, 14.0, None]
    bare = to_dict(five())
    assert bare["calibration"] is None and bare["evaluation"] is None and bare["convolutions"][0]["error"] is None


def test_json_has_no_infinity():
    """The PSNR of equal outputs."""
    numpy = pytest.importorskip("numpy")
    done = replace(calibrated().calibration, measures=(Measure("PSNR", 31.0, numpy.float32("inf")),))
    report = replace(with_errors(five(), [float("nan")] * 5), calibration=done)
    found = json.loads(json.dumps(to_dict(report), allow_nan=False))
    assert found["calibration"]["measures"][0]["after"] is None and found["convolutions"][0]["error"] is None
    assert "inf dB" in text(render(report)) and "nan" in text(render(report))


def test_the_error_of_a_layer_is_a_bar_against_the_worst_layer():
    rows = text(render(synthetic())).splitlines()
    ends = {line.split()[0]: line.split()[-2:] for line in rows if line.endswith("%") and "x " in line}
    assert ends["conv2"] == ["#####", "12.4%"] and ends["conv1"] == ["#....", "3.1%"]
    assert ends["separable"] == [".....", "<0.1%"] and ends["conv3"] == [".....", "0.0%"]
    assert "#" not in text(render(with_errors(five(), [0.0] * 5))).split("error:")[0]


def test_the_error_goes_where_the_names_have_no_room():
    found = text(render(five_hundred_errors()), width=50)
    assert "ratio" in found and "error:" not in found and "###" not in found


def test_the_worst_layers_are_never_collapsed():
    found = text(render(five_hundred_errors()))
    assert found.count(" 50.0%\n") == 3 and "first, last, heaviest and worst" in found


def test_a_headline_says_calibrated_only_where_a_step_was_kept():
    assert "Calibrated on synthetic images." in text(render(synthetic()))
    nothing_kept = text(render(not_calibrated()))
    assert (
        "Not calibrated: no step on synthetic images was kept." in nothing_kept and " calibrated\n" not in nothing_kept
    )
    bare = replace(not_calibrated().calibration, steps=())
    assert "no step on synthetic images was run" in text(render(replace(five(), calibration=bare)))


def test_accuracy_is_said_to_be_unknown_where_it_could_have_been_measured():
    assert "Accuracy not measured" in text(render(synthetic()))  # a classifier
    assert "Accuracy" not in text(render(not_calibrated()))  # a regression model
    assert "not measured" not in text(render(calibrated()))


def test_the_number_of_samples_is_told_once():
    found = replace(calibrated().evaluation, data="test.npz (5,000 images)")
    assert "Accuracy 84.1% -> 83.0% on test.npz (5,000 images)." in text(render(replace(five(), evaluation=found)))


def test_weights_that_were_folded_are_not_called_sliced():
    options = tuple({**dict(OPTIONS), "weights": "fold"}.items())
    found = text(render(replace(calibrated(), options=options)))
    assert "folded   calibrated" in found and "sliced" not in found


def test_many_steps_are_cut_short_and_verbose_shows_all():
    done = calibrated().calibration
    report = replace(five(), calibration=replace(done, steps=done.steps * 6))
    assert "and 6 more steps (verbose shows all)" in text(render(report))
    assert "more steps" not in text(render(report, View(verbose=True)))


@pytest.mark.parametrize(
    "share, short, fine",
    [
        (0, "0.0%", "0%"),
        (0.000412345, "<0.1%", "0.0412%"),
        (0.0312, "3.1%", "3.12%"),
        (0.99949, "99.9%", "99.9%"),
        (0.9996, "100%", "100%"),
        (1.2345, "123%", "123%"),
        (120, ">999%", "12000%"),
    ],
)
def test_errors_in_percent(share, short, fine):
    assert (words.short_percent(share), words.fine_percent(share)) == (short, fine)


@pytest.mark.parametrize(
    "value, digits, expected",
    [
        (0, 3, "0"),
        (999, 3, "999"),
        (1000, 3, "1.00 K"),
        (15_470_314_496, 4, "15.47 G"),
        (25_600_000, 3, "25.6 M"),
        (999_999, 3, "1.00 M"),
        (999_499, 3, "999 K"),
        (9_999_999, 4, "10.00 M"),
        (9_600_000, 3, "9.60 M"),
    ],
)
def test_human_numbers(value, digits, expected):
    assert words.human(value, digits) == expected


@pytest.mark.parametrize(
    "name, width, expected",
    [
        ("conv1", 5, "conv1"),
        ("backbone/conv4_block6_2_conv", 24, "ba../conv4_block6_2_conv"),
        ("backbone/encoder/conv", 15, "backbone../conv"),
        ("conv4_block6_2_conv", 12, "con.._2_conv"),
    ],
)
def test_shortened_names(name, width, expected):
    assert words.shorten(name, width) == expected


def test_shortening_keeps_to_the_width():
    for name in ("a/b", "backbone/conv4_block6_2_conv", "x" * 90, "a/" + "y" * 50):
        assert all(len(words.shorten(name, width)) <= width for width in range(1, 60))


def test_names_that_would_look_alike_are_cut_elsewhere():
    names = [f"separable_conv_{i}_reduction_right1_stem_1" for i in (1, 2)]
    assert len({words.shorten(name, 24) for name in names}) == 1
    found = words.shorten_all([*names, "conv"], 24)
    assert len(set(found.values())) == 3 and all(len(text) <= 24 for text in found.values())
    assert all(str(i) in found[name] for i, name in enumerate(names, 1))


@pytest.mark.parametrize(
    "before, after, expected", [(20, 10, "2.00x"), (10, 20, "0.50x"), (0, 5, "-"), (5, 0, "-"), (7, 7, "1.00x")]
)
def test_ratio(before, after, expected):
    assert words.ratio(before, after) == expected


@pytest.mark.parametrize(
    "share, expected", [(0, "0.0%"), (1, "100.0%"), (0.99999, "over 99.9%"), (1e-6, "under 0.1%"), (0.5, "50.0%")]
)
def test_percent_never_rounds_to_all_or_nothing(share, expected):
    assert words.percent(share) == expected


@pytest.mark.parametrize("room", [20, 40, 60, 100])
def test_listing_tells_how_many_names_it_leaves_out(room):
    names = [f"conv_{i}" for i in range(12)]
    found = words.listing(names, room)
    head, _, more = found.partition(" and ")
    assert len(found) <= room or head == "conv_0"
    assert len(head.split(", ")) + int(more.split()[0] if more else 0) == 12
    assert words.listing(names, room, verbose=True) == ", ".join(names)
