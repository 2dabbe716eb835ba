"""A report as plain dictionaries: raw numbers, stable keys, ready for `json.dumps`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from octconvert.results.report import Report

FORMAT = "octconvert-report/1"


def to_dict(report: Report) -> dict[str, Any]:
    """Every field of the report, and the few numbers that a reader would work out first."""
    fields = _plain(dataclasses.asdict(report))
    return {
        "format": FORMAT,
        **fields,
        "convolutions": [
            {**row, "writes_whole_low": result.writes_whole_low}
            for row, result in zip(fields["convolutions"], report.convolutions, strict=True)
        ],
        "bench": None if report.bench is None else _plain(report.bench.to_dict()),
        "options": {name: _plain(value) for name, value in report.options},
        "passed": all(check.passed for check in report.checks),
        "convolutions_total": len(report.convolutions),
        "convolutions_converted": len(report.converted),
        "octave_mac_share": float(report.octave_mac_share),
        "mac_ratio": report.before.macs / report.after.macs if report.after.macs else None,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no infinity: the PSNR of equal outputs
    if value is None or isinstance(value, str | bool | int | float):
        return value
    # MACs may be scalars of NumPy; other values of options become text.
    return _plain(value.item()) if hasattr(value, "item") else str(value)
