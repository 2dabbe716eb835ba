"""Sample reports with the graph of their model."""

from dataclasses import replace

from results_to_show import calibrated, whole_low

from octconvert.results.graph import PAIR, WHOLE_LOW, GraphEdge, GraphNode, Maps, ModelGraph
from octconvert.results.next_step import NextStep
from octconvert.results.plan import PLAIN

HOSTILE = '</script><script>hacked=1</script><img src=x onerror="hacked=1">{{7*7}}<!--\u202e'
"""A layer's name as a file of a stranger may have it; its last character turns the direction of writing."""


def maps(frequency=PLAIN, size=32, channels=16):
    shape, low = (size, size, channels), (size // 2, size // 2, channels // 2)
    return {
        PLAIN: Maps(shape, shape),
        PAIR: Maps(shape, (size, size, channels // 2), low),
        WHOLE_LOW: Maps(shape, None, (size // 2, size // 2, channels)),
    }[frequency]


def graph(nodes, edges=None):
    """``nodes``: (name, class, frequency); one behind the other unless ``edges`` says otherwise."""
    items = tuple(GraphNode(n, n.partition("#")[0], c, tuple(n.split("/")[:-1]), maps(f)) for n, c, f in nodes)
    pairs = edges or [(at, at + 1) for at in range(len(items) - 1)]
    return ModelGraph(items, tuple(GraphEdge(a, b, items[a].output.frequency) for a, b in pairs))


def small():
    """The calibrated report of five convolutions, with all its layers."""
    nodes = [
        ("image", "InputLayer", PLAIN),
        ("conv1", "Conv2D", PAIR),
        ("bn1", "BatchNormalization", PAIR),
        ("relu1", "ReLU", PAIR),
        ("conv2", "Conv2D", PAIR),
        ("bn2", "BatchNormalization", PAIR),
        ("relu2", "ReLU", PAIR),
        ("separable", "SeparableConv2D", PAIR),
        ("conv3", "Conv2D", PLAIN),
        ("pool", "GlobalAveragePooling2D", PLAIN),
        ("head", "Conv2D", PLAIN),
    ]
    return replace(calibrated(), graph=graph(nodes))


def bottleneck():
    """A whole-low one beside a plain main path."""
    nodes = [
        ("stem", "Conv2D", PLAIN),
        ("reduce", "Conv2D", WHOLE_LOW),
        ("conv", "Conv2D", WHOLE_LOW),
        ("expand", "Conv2D", PLAIN),
        ("add", "Add", PLAIN),
    ]
    return replace(whole_low(), graph=graph(nodes, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]))


def blocks(count=40):
    """A large model: ``count`` residual blocks of five layers, behind a stem and before a nested head."""
    nodes, edges = [("image", "InputLayer", PLAIN), ("stem", "Conv2D", PAIR)], [(0, 1)]
    for block in range(count):
        start = len(nodes)
        for name, kind in (("conv", "Conv2D"), ("bn", "BatchNormalization"), ("relu", "ReLU"), ("conv_2", "Conv2D")):
            nodes.append((f"block{block}_{name}", kind, PAIR))
        nodes.append((f"block{block}_add", "Add", PAIR))
        edges += [(start - 1, start), *((at, at + 1) for at in range(start, start + 4)), (start - 1, start + 4)]
    for name, kind in (("pool", "GlobalAveragePooling2D"), ("dense", "Dense")):
        edges.append((len(nodes) - 1, len(nodes)))
        nodes.append((f"head/{name}", kind, PLAIN))
    return replace(small(), graph=graph(nodes, edges), source="large.keras")


def hostile():
    """A name, class, reason and note of a stranger's, wherever a page shows some."""
    report = small()
    row = replace(report.convolutions[0], name=HOSTILE, class_name=HOSTILE, reason=HOSTILE)
    chain = replace(report.chains[0], first=(HOSTILE,))
    nodes = [("image", "InputLayer", PLAIN), (HOSTILE.replace("/", "|"), HOSTILE, PAIR), ("out", "Conv2D", PLAIN)]
    return replace(
        report,
        source=HOSTILE,
        target=HOSTILE,
        convolutions=(row, *report.convolutions[1:]),
        chains=(chain,),
        notes=(HOSTILE,),
        repairs=(HOSTILE,),
        next_steps=(NextStep("time it", "bench", (HOSTILE,)),),
        graph=graph(nodes),
    )
