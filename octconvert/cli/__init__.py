"""The command line: arguments -> a checked task -> an exit code."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code, see `octconvert.cli.app.main`."""
    from octconvert.cli.app import main as run

    run(argv)
