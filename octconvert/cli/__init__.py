"""The command line: arguments -> a checked task -> an exit code."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code, see `octconvert.cli.app.main`."""
    try:
        from octconvert.cli.app import main as run
    except KeyboardInterrupt as error:
        from octconvert.cli.outcome import explain

        sys.exit(explain(error, (), (), debug=False))
    run(argv)
