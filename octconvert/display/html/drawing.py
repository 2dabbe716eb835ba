"""The graph of a report -> `Drawing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from octconvert.display.html.blocks import error_text, header
from octconvert.display.html.folds import OPEN_AT_FIRST, folds
from octconvert.display.html.page import Drawing, Node
from octconvert.display.tables import LayerColumn
from octconvert.results.graph import PAIR, WHOLE_LOW, GraphNode, Maps
from octconvert.results.plan import PLAIN
from octconvert.results.report import ConvolutionReport, Report
from octconvert.text import words


def drawing(report: Report, columns: Sequence[LayerColumn]) -> Drawing | None:
    """The graph with what the table (``columns``) has on each convolution; None where it is not known."""
    graph = report.graph
    if graph is None or not graph.nodes:
        return None
    rows = {row.name: row for row in report.convolutions}
    ends = {end.name: end.reason for chain in report.chains for end in chain.ends}
    nodes = [_node(node, rows, columns, ends) for node in graph.nodes]
    edges = [(edge.source, edge.target, edge.frequency) for edge in graph.edges]
    return Drawing(nodes, edges, folds(graph), len(nodes) > OPEN_AT_FIRST)


def _node(
    node: GraphNode, rows: Mapping[str, ConvolutionReport], columns: Sequence[LayerColumn], ends: Mapping[str, str]
) -> Node:
    row = rows.get(node.layer)
    known = _of_layer(node.output) if row is None else _of_convolution(row, columns)
    if node.name in ends:
        known.append(("ends a chain", ends[node.name] or "yes"))
    frequency = node.output.frequency
    shapes, share = _sizes(node.output), _high_share(node.output)
    return Node(node.name, node.layer, node.class_name, frequency, shapes, share, known)


def _of_layer(maps: Maps) -> list[tuple[str, str]]:
    known = [("output", maps.frequency), ("map before", words.shape(maps.shape))]
    if maps.frequency == PLAIN:
        return known
    return [*known, ("high map after", words.shape(maps.high_shape)), ("low map after", words.shape(maps.low_shape))]


def _of_convolution(row: ConvolutionReport, columns: Sequence[LayerColumn]) -> list[tuple[str, str]]:
    """What its row of the table has, and why it stayed plain."""
    error = () if row.error is None else (("error", error_text(row.error)),)
    known = [(header(column), column.cell(row)) for column in columns if column.header != "error"]
    why = (("why", row.reason),) if row.reason else ()
    return [("input map", words.shape(row.input_shape)), *(pair for pair in known if pair[1]), *error, *why]


def _sizes(maps: Maps) -> str:
    """``28x28x16 + 14x14x16`` for a pair."""
    if maps.frequency == PAIR:
        return f"{words.shape(maps.high_shape)} + {words.shape(maps.low_shape)}"
    return words.shape(maps.low_shape if maps.frequency == WHOLE_LOW else maps.shape)


def _high_share(maps: Maps) -> float:
    """Of the channels."""
    if maps.frequency != PAIR:
        return 0.0 if maps.frequency == WHOLE_LOW else 1.0
    high, low = ((sizes or (0,))[-1] or 0 for sizes in (maps.high_shape, maps.low_shape))
    return high / (high + low) if high + low else 1.0
