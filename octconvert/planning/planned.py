"""`Planned`: a model's call graph with every decision about it, ready to be rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from octconvert.errors import UsageError
from octconvert.model.graph import CallGraph
from octconvert.octave.geometry import Octave, normal_octave
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Layout
from octconvert.planning.layouts import layout_from_options, layout_from_plan
from octconvert.planning.plans import plan_of
from octconvert.results.plan import Plan
from octconvert.text.words import plural

_AXES = {1: "steps", 2: "rows and columns", 3: "depth, rows and columns"}


@dataclass(frozen=True, eq=False)
class Planned:
    """What a conversion will do, before any layer is built.

    Attributes:
        layout: the solved graph: which tensors become pairs, and how each is split.
        plan: the same as a value that can be printed and edited.
        options: how layers are built: ``weights``, ``portable``, ``stride_mode`` and ``octave`` are read from here.
        plain_calls: call key -> why the call stays plain, whatever the plan says: its rule failed.
    """

    layout: Layout
    plan: Plan
    options: RewritingOptions
    plain_calls: Mapping[object, str] = field(default_factory=dict)

    @classmethod
    def from_options(cls, graph: CallGraph, options: RewritingOptions) -> Planned:
        """Plan a model by the user's options.

        Raises:
            UsageError: they do not fit the model.
        """
        options = _fitted(options, graph)
        return cls.of(layout_from_options(graph, options), options)

    @classmethod
    def from_plan(cls, graph: CallGraph, plan: Plan, where: str = "plan") -> Planned:
        """Plan a model as a plan says.

        Args:
            where: the name of the plan in error messages.

        Raises:
            UsageError: the plan does not fit the model.
        """
        options = _fitted(plan.options(), graph, f"{where}: ")
        return cls.of(layout_from_plan(graph, replace(plan, octave=options.octave), where=where), options)

    @classmethod
    def of(cls, layout: Layout, options: RewritingOptions) -> Planned:
        """The plan that belongs to a solved layout."""
        return cls(layout, plan_of(layout, options), options)

    @property
    def graph(self) -> CallGraph:
        """The calls of the model that is rewritten."""
        return self.layout.graph

    @property
    def octave(self) -> Octave:
        """Factor between the resolutions."""
        return self.options.octave

    @property
    def converts(self) -> bool:
        """Whether any convolution becomes an octave layer."""
        return bool(self.plan.converted)

    def with_options(self, **changes: Any) -> Planned:
        """The same layout, built in another way (``weights``, ``portable``)."""
        return replace(self, options=replace(self.options, **changes))

    def following(self, plan: Plan, graph: CallGraph | None = None) -> Planned:
        """The same options with another plan, and with another graph of the same model where there is one."""
        plain_calls = self.plain_calls if graph is None else {}
        layout = layout_from_plan(self.graph if graph is None else graph, plan, plain_calls)
        return replace(Planned.of(layout, self.options), plain_calls=plain_calls)

    def leaving_plain(
        self, calls: Mapping[object, str] | None = None, outputs: Mapping[object, str] | None = None
    ) -> Planned:
        """The same plan with some calls, or their outputs, left plain.

        Args:
            calls: call key -> why the call stays plain as a whole.
            outputs: call key -> why its output stays plain; it may read a pair.
        """
        plain_calls = {**self.plain_calls, **(calls or {})}
        layout = layout_from_plan(self.graph, self.plan, plain_calls, plain_outputs=outputs)
        return replace(Planned.of(layout, self.options), plain_calls=plain_calls)


def _fitted(options: RewritingOptions, graph: CallGraph, where: str = "") -> RewritingOptions:
    """The options with one octave where all axes have the same.

    Raises:
        UsageError: there are not as many octaves as the model's maps have axes; the message begins with ``where``.
    """
    octave = options.octave
    if isinstance(octave, tuple) and len(octave) not in graph.ranks:
        raise UsageError(
            f"{where}`octave` {','.join(map(str, octave))} has {plural(len(octave), 'number')}, "
            f"but the maps of '{graph.model.name}' have {' or '.join(_AXES[rank] for rank in graph.ranks)}"
        )
    return replace(options, octave=normal_octave(octave))
