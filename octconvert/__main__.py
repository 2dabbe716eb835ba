"""``python -m octconvert`` is the command line."""

from octconvert.cli import main

main()
