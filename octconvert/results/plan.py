"""A plan and its parts: frozen values, to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.rewriting import RewritingOptions, check_alpha
from octconvert.results.frames import data_frame
from octconvert.results.parsing import read_value
from octconvert.results.shown import Shown
from octconvert.system.reading import read_text

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = "octconvert-plan/1"
FIRST, INTERMEDIATE, LAST, PLAIN = "first", "intermediate", "last", "plain"
OCTAVE_ROLES = (FIRST, INTERMEDIATE, LAST)


def _index(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


@dataclass(frozen=True)
class Group:
    """Tied tensors that share one channel split. ``alpha`` and ``selection`` decide; the others list the result.

    Attributes:
        name: ``g1``, ``g2`` ... in execution order.
        producers: names of the layers whose output channels are split here.
        channels: number of channels, for each producer.
        alpha: requested share of low channels.
        low: the resulting number of low channels, for each producer.
        selection: for each producer the indices of its low channels; None for the last ones.
        whole_low: whether all channels are low: the tensors become one low map each, and no pair.
    """

    name: str
    producers: tuple[str, ...]
    channels: tuple[int, ...]
    alpha: float
    low: tuple[int, ...]
    selection: tuple[tuple[int, ...], ...] | None = None
    whole_low: bool = False

    def __post_init__(self) -> None:
        check_alpha(f"{self.name}: alpha", self.alpha)
        for name in ("producers", "channels", "low"):
            if not isinstance(getattr(self, name), tuple):
                raise UsageError(f"{self.name}: {name} must be a list, received {limits.shown(getattr(self, name))}")
        counts = {len(self.producers), len(self.channels), len(self.low), len(self.selection or self.producers)}
        if len(counts) > 1:
            names = "producers, channels, low and selection"
            raise UsageError(f"{self.name}: {names} must have one entry for each producer")
        for channels, low in zip(self.channels, self.selection or (), strict=False):
            if len(set(low)) < len(low) or not all(_index(item, channels) for item in low):
                raise UsageError(f"{self.name}: selection {list(low)} must be different indices below {channels}")


@dataclass(frozen=True)
class Convolution:
    """The decision on one convolution of the source model.

    Attributes:
        name: layer name with its nested models: ``backbone/conv1``.
        class_name: the layer's class.
        role: 'first', 'intermediate', 'last' or 'plain'.
        alpha_in, alpha_out: share of low channels of input and output: 0 for a plain tensor, 1 for a whole-low one.
        input_shape, output_shape: of the source's tensors, batch axis included.
        reason: why the layer, or its output, stays plain; empty otherwise.
        frozen: excluded from the conversion, independent of the layers around it.
    """

    name: str
    class_name: str
    role: str
    alpha_in: float
    alpha_out: float
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    reason: str = ""
    frozen: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.frozen, bool):
            raise UsageError(f"frozen must be true or false, received {limits.shown(self.frozen)}")

    @property
    def writes_whole_low(self) -> bool:
        """Whether its output is one low map, without a high one."""
        return self.alpha_out == 1


@dataclass(frozen=True)
class ChainEnd:
    """A call at which a pair is merged to the plain tensor."""

    name: str
    class_name: str
    reason: str


@dataclass(frozen=True)
class Chain:
    """Layers that pass pairs to one another: convolutions by role, the layers between them, and where they end."""

    first: tuple[str, ...]
    intermediate: tuple[str, ...]
    last: tuple[str, ...]
    dual: tuple[str, ...]
    ends: tuple[ChainEnd, ...]


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """Every decision of a conversion. ``to_json`` and ``from_json`` are inverse; a plan edited by hand can be followed.

    To change a decision in the file: a group's ``alpha`` (0 makes it plain, 1 whole-low) or ``selection`` (the indices
    of the low channels, a list for each producer), or a convolution's ``frozen``. All other entries list the results.
    """

    model: str
    octave: int | tuple[int, ...]
    min_size: int
    stride_mode: str
    weights: str
    portable: bool
    groups: tuple[Group, ...]
    convolutions: tuple[Convolution, ...]
    chains: tuple[Chain, ...]
    elementwise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.options()

    def options(self) -> RewritingOptions:
        """The options that the plan fixes.

        Raises:
            UsageError: one of them makes no sense.
        """
        return RewritingOptions(
            octave=self.octave,
            min_size=self.min_size,
            stride_mode=self.stride_mode,
            weights=self.weights,
            portable=self.portable,
            elementwise=self.elementwise,
        )

    @property
    def converted(self) -> tuple[Convolution, ...]:
        """The convolutions that become octave layers."""
        return tuple(c for c in self.convolutions if c.role != PLAIN)

    def to_dataframe(self) -> DataFrame:
        """The decisions on the convolutions as a pandas table, one a row.

        Raises:
            UsageError: pandas is not installed.
        """
        return data_frame(self.convolutions)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, ready for JSON."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> Plan:
        """Read `to_json`'s text.

        Raises:
            UsageError: it is not a plan; the message names ``where`` and the key.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{where}: not JSON: {error}") from None
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
            raise UsageError(f"{where}: not a plan of octconvert: {limits.shown(str(error))}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UsageError(f'{where}: not a plan of octconvert (its "format" is not "{FORMAT}")')
        data = {key: value for key, value in data.items() if key != "format"}
        return read_value(cls, data, where)

    @classmethod
    def from_file(cls, path: str | Path) -> Plan:
        """Read a file with the text of `to_json`.

        Raises:
            UsageError: the file can not be read, or is not a plan.
        """
        return cls.from_json(read_text(path, "a plan"), str(path))

    def __repr__(self) -> str:
        return f"<Plan for {self.model}: {len(self.converted)} of {len(self.convolutions)} convolutions>"
