"""Which parts of a graph are folded: nested models, and blocks that repeat, cut where a reader would cut them."""

from graphs_to_show import blocks, graph, small

from octconvert.display.html.folds import folds
from octconvert.results.plan import PLAIN


def described(items):
    return [(fold.label, fold.detail, described(fold.children)) for fold in items]


def residual_blocks(count, names="block{}_{}"):
    nodes, edges = [("stem", "Conv2D", PLAIN), ("stem_relu", "ReLU", PLAIN)], [(0, 1)]
    for block in range(count):
        start = len(nodes)
        for name in ("Conv2D", "ReLU", "Conv2D", "Add", "ReLU"):
            nodes.append((names.format(block, len(nodes)), name, PLAIN))
        edges += [(at - 1, at) for at in range(start, start + 5)] + [(start - 1, start + 3)]
    return graph([*nodes, ("head", "Dense", PLAIN)], [*edges, (len(nodes) - 1, len(nodes))])


def test_blocks_are_cut_where_one_tensor_crosses():
    """Not inside the residual connection, although ReLU Conv2D ReLU Conv2D repeats there as well."""
    assert [(fold.first, fold.last) for fold in folds(residual_blocks(4, "{}_{}"))[0].children] == [
        (2 + 5 * block, 7 + 5 * block) for block in range(4)
    ]


def test_a_run_of_blocks_is_a_fold_with_one_for_each():
    (run,) = folds(residual_blocks(3))
    assert (run.detail, [(child.label, child.detail) for child in run.children]) == (
        "3 x 5 layers",
        [("block0", "5 layers"), ("block1", "5 layers"), ("block2", "5 layers")],
    )


def test_nested_models_are_folds_each_in_its_own():
    names = ["in", "a/conv", "a/b/conv", "a/b/relu", "a/relu", "out"]
    assert described(folds(graph([(name, "Conv2D" if "conv" in name else "ReLU", PLAIN) for name in names]))) == [
        ("a", "4 layers", [("a/b", "2 layers", [])])
    ]


def test_a_nested_model_among_blocks_is_cut_by_none():
    nodes = []
    for block in range(3):
        nodes += [(f"conv{block}", "Conv2D", PLAIN), (f"gate{block}/a", "Dense", PLAIN)]
        nodes += [(f"gate{block}/b", "Dense", PLAIN), (f"mul{block}", "Multiply", PLAIN)]
    (run,) = folds(graph(nodes))
    assert run.detail == "3 x 4 layers"
    assert [described(child.children) for child in run.children] == [[(f"gate{i}", "2 layers", [])] for i in range(3)]


def test_another_input_that_waits_meanwhile_joins_no_block():
    chain = [(f"{name}{at}", kind, PLAIN) for at in range(3) for name, kind in (("conv", "Conv2D"), ("relu", "ReLU"))]
    nodes = [("left", "InputLayer", PLAIN), ("right", "InputLayer", PLAIN), *chain, ("join", "Add", PLAIN)]
    edges = [(0, 2), *((at, at + 1) for at in range(2, 8)), (1, 8)]
    assert [fold.detail for fold in folds(graph(nodes, edges))] == ["3 x 2 layers"]


def test_layers_that_are_all_the_same_are_no_blocks():
    assert folds(graph([(f"conv{at}", "Conv2D", PLAIN) for at in range(12)])) == ()


def test_folds_never_overlap():
    def check(items, first, last):
        for fold in items:
            assert first <= fold.first < fold.last <= last
            check(fold.children, fold.first, fold.last)
            first = fold.last

    for report in (small(), blocks()):
        check(folds(report.graph), 0, len(report.graph.nodes))


def test_a_model_without_anything_to_fold_has_no_folds():
    assert folds(graph([("a", "Conv2D", PLAIN), ("b", "ReLU", PLAIN)])) == ()
    assert folds(graph([])) == ()
