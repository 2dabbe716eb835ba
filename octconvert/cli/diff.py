"""``octconvert diff``: its arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from octconvert.cli.files import check_input, check_results
from octconvert.cli.parameters import DEFAULT_LISTING, DEFAULT_LOADING, ListingParameters, LoadingParameters
from octconvert.cli.task import Task


def diff(
    a: Annotated[str, Parameter(help="A model.")],
    b: Annotated[str, Parameter(help="The model to compare it with.")],
    /,
    *,
    loading: Annotated[LoadingParameters, Parameter(name="*")] = DEFAULT_LOADING,
    result: Annotated[ListingParameters, Parameter(name="*")] = DEFAULT_LISTING,
) -> Task:
    """Compare the costs of two models, layer by layer."""
    console = result.console()
    check_input(a)
    check_input(b)
    check_results(result, (a, b))
    return Task("diff", (a, b), loading.arguments(), console, result.files)
