"""Results -> `Page`: which parts each kind of result has."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import singledispatch

from octconvert.display import bench as timing
from octconvert.display import calibration, chains, evaluation, export, facts, maps
from octconvert.display import plan as planning
from octconvert.display import report as reporting
from octconvert.display.html import blocks
from octconvert.display.html.drawing import drawing
from octconvert.display.html.page import Bar, Bars, Block, Cell, Page, Pairs, Paragraph, Picture, Section, States, Tile
from octconvert.results.bench import Bench
from octconvert.results.export import Exported
from octconvert.results.graph import PAIR, WHOLE_LOW
from octconvert.results.maps import FeatureMaps
from octconvert.results.plan import PLAIN, Plan
from octconvert.results.report import CalibrationReport, ConvolutionReport, Report
from octconvert.results.shown import View, as_png
from octconvert.text import words

MOST_BARS = 16


@singledispatch
def page_of(result: object, view: View) -> Page:
    """The page of a result.

    Raises:
        TypeError: it has none.
    """
    raise TypeError(f"no page for {type(result).__name__}")


# --- feature maps ---------------------------------------------------------------------------------------------------


@page_of.register
def _(result: FeatureMaps, view: View) -> Page:
    picture = Picture(base64.b64encode(as_png(result)).decode(), f"Feature maps of {result.image}")
    return Page(
        kicker="Feature maps",
        title=[result.title],
        lead=[f"Feature maps of {result.image}."],
        sections=[
            Section("maps", "Maps", [picture]),
            Section("layers", "Layers", [blocks.figures(*maps.rows(result))]),
            *blocks.items("notes", "Notes", result.notes),
        ],
    )


# --- a conversion, or two models side by side -------------------------------------------------------------------------


@page_of.register
def _(report: Report, view: View) -> Page:
    columns = reporting.columns(report)[0]
    shares = chains.MacShares(report.convolutions)
    measured = [] if report.evaluation is None else evaluation.sentences(report.evaluation)
    model = drawing(report, columns)
    sections = [
        *([] if model is None else [Section("graph", "Graph", [model])]),
        *_by_layer(report),
        *_layers(report),
        *_calibration(report.calibration, view),
        *blocks.timings(report.bench),
        *blocks.chain_sections(report.chains, shares),
        *blocks.reasons("plain", *facts.left_out(report)),
        *_checks(report),
        *blocks.items("repairs", "Repaired while loading", report.repairs),
        *blocks.items("notes", "Notes", report.notes),
        *blocks.next_steps(report.next_steps, view),
    ]
    return Page(
        kicker="Two models" if facts.is_diff(report) else "Conversion",
        title=facts.models(report),
        subtitle=", ".join(filter(None, (facts.chosen(report), facts.took(report)))),
        failure=facts.failure(report),
        lead=list(
            filter(
                None,
                (
                    facts.summary(report),
                    *measured,
                    *calibration.sentences(report, view),
                    facts.assumed_sizes(report),
                ),
            )
        ),
        tiles=list(_tiles(report)),
        sections=sections,
    )


def _tiles(report: Report) -> Iterator[Tile]:
    for line in facts.costs(report):
        yield Tile(line.label, line.after, line.before, f"ratio {line.ratio}")
    yield from blocks.evaluated(report.evaluation)
    if report.calibration is not None:
        for measure in report.calibration.measures[:2]:
            name, before, after = calibration.measure_texts(measure)
            yield Tile(name, after, before, "the same" if before == after else "after calibration")
    for runtime, rows in timing.by_runtime(report.bench).items() if report.bench is not None else ():
        times = [row.median for row in rows if row.median is not None]
        if len(times) > 1:
            before, after = (f"{timing.milliseconds(time)} ms" for time in (times[0], times[-1]))
            yield Tile(f"time, {runtime}", after, before, f"ratio {words.ratio(times[0], times[-1])}")


def _tone(row: ConvolutionReport) -> str:
    if row.role == PLAIN:
        return PLAIN
    return WHOLE_LOW if row.writes_whole_low else PAIR


def _by_layer(report: Report) -> list[Section]:
    """MACs before and after, and errors, as bars."""
    rows = report.convolutions
    badness = calibration.badness(rows)
    largest = max((max(row.macs_before, row.macs_after) for row in rows), default=0)
    sections = []
    if largest:
        ranks = _ranks([max(row.macs_before, row.macs_after) for row in rows])
        bars = [
            Bar(
                row.name,
                f"{words.human(row.macs_before)} -> {words.human(row.macs_after)}",
                row.macs_after / largest,
                row.macs_before / largest,
                _tone(row),
                rank,
            )
            for row, rank in zip(rows, ranks, strict=True)
        ]
        caption = "Outline: before. Filled: after; grey where the layer stayed plain."
        sections.append(Section("macs", "MACs by layer", [Bars(caption, bars, MOST_BARS)], wide=not badness))
    if badness:
        bars = [
            Bar(row.name, blocks.error_text(row.error), calibration.filled(row.error), None, _tone(row), rank)
            for row, rank in zip(rows, _ranks(badness), strict=True)
            if row.error is not None
        ]
        bars_block = Bars(" ".join(calibration.ERROR.split()), bars, MOST_BARS)
        sections.append(Section("errors", "Error by layer", [bars_block], wide=False))
    return sections


def _ranks(values: Sequence[float]) -> list[int]:
    """Of each value, 0 for the largest."""
    order = sorted(range(len(values)), key=lambda place: -values[place])
    ranks = [0] * len(values)
    for rank, place in enumerate(order):
        ranks[place] = rank
    return ranks


def _layers(report: Report) -> list[Section]:
    if not report.convolutions:
        return []
    columns = reporting.columns(report)[0]
    sums = reporting.total(report.convolutions)
    total = [Cell(sums["layer"]), Cell(""), *(Cell(sums.get(column.header, "")) for column in columns)]
    return [Section("layers", "Convolutions", [blocks.layer_table(report.convolutions, columns, total)])]


def _calibration(result: CalibrationReport | None, view: View) -> list[Section]:
    if result is None:
        return []
    parts: list[Block] = [Paragraph(calibration.verdict(result), strong=True)]
    parts.append(Pairs(calibration.data_lines(result, view)))
    if result.measures:
        parts.append(blocks.figures(*calibration.measures_table(result)))
    if result.steps:
        steps = [(s.kept, calibration.state(s), s.name, f"{s.seconds:.1f} s", s.detail) for s in result.steps]
        parts.append(States(steps))
    return [Section("calibration", calibration.title(result), parts)]


def _checks(report: Report) -> list[Section]:
    if report.checks:
        return [blocks.checks("Checks", report.checks)]
    return [] if report.seconds is None else [Section("checks", "Checks", [Paragraph("none were run")])]


# --- the other results ------------------------------------------------------------------------------------------------


@page_of.register
def _(plan: Plan, view: View) -> Page:
    layers = [Section("layers", "Convolutions", [blocks.layer_table(plan.convolutions, planning.columns(plan)[0])])]
    return Page(
        kicker="Plan",
        title=[planning.title(plan)],
        lead=[planning.summary(plan)],
        sections=[
            *(layers if plan.convolutions else []),
            *blocks.chain_sections(plan.chains, chains.MacShares()),
            *blocks.reasons("plain", *planning.left_out(plan)),
        ],
    )


@page_of.register
def _(result: Bench, view: View) -> Page:
    names = list(dict.fromkeys(row.model for row in result.rows))
    sections = [*blocks.timings(result), *blocks.items("notes", "Notes", result.notes)]
    sections += blocks.next_steps(result.next_steps, view)
    return Page(kicker="Times", title=[", ".join(names)], sections=sections)


@page_of.register
def _(exported: Exported, view: View) -> Page:
    rounded = exported.quantization
    rounding = [] if rounded is None else [Section("rounding", "Rounding", [Pairs(list(export.rounding(rounded)))])]
    measured = None if rounded is None else rounded.evaluation
    return Page(
        kicker="Export",
        title=[exported.source, exported.target],
        lead=[export.summary(exported), *([] if measured is None else evaluation.sentences(measured))],
        tiles=list(blocks.evaluated(measured)),
        sections=[
            Section("inputs", "Inputs", [Pairs(export.inputs(exported))]),
            *rounding,
            blocks.checks("Check", [exported.check]),
            *blocks.items("notes", "Notes", exported.notes),
            *blocks.next_steps(exported.next_steps, view),
        ],
    )
