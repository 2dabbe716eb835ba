"""A report as plain dictionaries: raw numbers, stable keys, ready for `json.dumps`."""

from __future__ import annotations

import dataclasses
from typing import Any

from octconvert.results.next_step import dicts
from octconvert.results.plain import plain
from octconvert.results.report import Report

FORMAT = "octconvert-report/1"


def to_dict(report: Report) -> dict[str, Any]:
    """Every field of the report, and the few numbers that a reader would work out first."""
    fields = plain(dataclasses.asdict(dataclasses.replace(report, graph=None)))
    del fields["graph"]
    return {
        "format": FORMAT,
        **fields,
        "convolutions": [
            {**row, "writes_whole_low": result.writes_whole_low}
            for row, result in zip(fields["convolutions"], report.convolutions, strict=True)
        ],
        "bench": None if report.bench is None else plain(report.bench.to_dict()),
        "next_steps": plain(dicts(report.next_steps)),
        "options": {name: plain(value) for name, value in report.options},
        "passed": all(check.passed for check in report.checks),
        "convolutions_total": len(report.convolutions),
        "convolutions_converted": len(report.converted),
        "octave_mac_share": float(report.octave_mac_share),
        "mac_ratio": report.before.macs / report.after.macs if report.after.macs else None,
    }
