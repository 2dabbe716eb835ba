"""All options of one conversion as a frozen value, parsed and checked once for Python and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from octconvert.errors import UsageError
from octconvert.options.calibration import CalibrationOptions
from octconvert.options.delivery import DeliveryOptions
from octconvert.options.deployment import DeploymentOptions
from octconvert.options.fields import defaults, is_unset, parse
from octconvert.options.limits import shown
from octconvert.options.loading import LoadingOptions
from octconvert.options.rewriting import RewritingOptions
from octconvert.text.words import plural

_ALPHAS = "which chooses every alpha itself"
_UNCALIBRATED = (
    *("input_range", "calibration_samples", "calibration_budget", "calibration_steps"),
    *("target_macs", "target_time", "max_drop"),
)
_CONTRADICTIONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("plan", tuple(defaults(RewritingOptions)), "which fixes it; edit the plan instead"),
    ("target_macs", ("alpha", "alpha_map", "interior", "plan"), _ALPHAS),
    ("target_time", ("alpha", "alpha_map", "interior", "plan", "target_macs"), _ALPHAS),
    ("max_drop", ("alpha", "alpha_map", "interior", "plan", "target_macs", "target_time"), _ALPHAS),
    ("calibration=False", _UNCALIBRATED, "which only moves the weights"),
    ("calibration", ("input_range",), "whose values are taken as they are"),
    (
        "weights='fresh'",
        ("calibration", "target_macs", "target_time", "max_drop"),
        "which leaves no trained weights to calibrate",
    ),
    (
        "objective='latency'",
        ("plan", "target_macs", "target_time", "max_drop"),
        "which itself chooses what is converted",
    ),
)
"""An option (with or without its value), the others that can not be combined with it, and why not."""


@dataclass(frozen=True, eq=False)
class ConversionRequest:
    """The options of one conversion.

    Attributes:
        rewriting: None where a plan stands in their place.
        plan: a `Plan` or the path of one.
        calibration: None where it is switched off.
        preprocess, seed: for the calibration and the evaluation.
    """

    loading: LoadingOptions
    rewriting: RewritingOptions | None
    plan: Any
    calibration: CalibrationOptions | None
    deployment: DeploymentOptions
    delivery: DeliveryOptions
    preprocess: Any
    seed: int

    @property
    def is_timed(self) -> bool:
        """Whether any time is measured."""
        chosen = self.calibration is not None and self.calibration.target_time is not None
        return chosen or self.deployment.is_timed

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> ConversionRequest:
        """The options of these arguments, checked.

        Args:
            arguments: those that were set, by the names that `octconvert.convert` has for them.

        Raises:
            UsageError: a value makes no sense, or two options contradict each other.
        """
        _check_combination({name: value for name, value in arguments.items() if not is_unset(value)})
        plan, data = arguments.get("plan"), arguments.get("calibration")
        calibrating = dict(arguments)
        if data is None and arguments.get("evaluate") is not None:
            calibrating["preprocess"] = None  # it is for the labelled data
        return cls(
            loading=parse(LoadingOptions, arguments),
            rewriting=parse(RewritingOptions, arguments) if plan is None else None,
            plan=plan,
            calibration=None if data is False else parse(CalibrationOptions, calibrating),
            deployment=parse(DeploymentOptions, arguments),
            delivery=parse(DeliveryOptions, arguments),
            preprocess=arguments.get("preprocess"),
            seed=arguments.get("seed", DEFAULTS["seed"]),
        )

    def described(self, options: RewritingOptions) -> tuple[tuple[str, object], ...]:
        """(name, value) of the options that a report names; a plan decides alpha and which layers itself."""
        values = tuple((field.name, getattr(options, field.name)) for field in fields(RewritingOptions))
        if self.plan is None:
            return values
        own = ("alpha", "alpha_map", "interior", "include", "exclude", "preset")
        is_file = isinstance(self.plan, (str, Path))
        source = str(self.plan) if is_file else f"a Plan of {plural(len(self.plan.convolutions), 'convolution')}"
        return (("plan", source), *((name, value) for name, value in values if name not in own))


DEFAULTS: dict[str, Any] = {
    "plan": None,
    **defaults(LoadingOptions),
    **defaults(RewritingOptions),
    **defaults(CalibrationOptions),
    **defaults(DeploymentOptions),
    **defaults(DeliveryOptions),
}
"""Argument of `octconvert.convert` -> its default."""


def _check_combination(arguments: Mapping[str, Any]) -> None:
    for condition, refused, why in _CONTRADICTIONS:
        name, _, value = condition.partition("=")
        present = name in arguments and (shown(arguments[name]) == value if value else arguments[name] is not False)
        other = next((o for o in refused if present and arguments.get(o, False) is not False), None)
        if other is not None:
            raise UsageError(f"`{other}` can not be combined with `{condition}`, {why}")
