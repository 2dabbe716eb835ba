"""``octconvert diff``: its arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from octconvert.cli.files import check_model, check_results
from octconvert.cli.parameters import DEFAULT_LISTING, DEFAULT_LOADING, FileName, ListingParameters, LoadingParameters
from octconvert.cli.task import Task


def diff(
    a: Annotated[FileName, Parameter(help="A model.")],
    b: Annotated[FileName, Parameter(help="The model to compare it with.")],
    /,
    *,
    loading: Annotated[LoadingParameters, Parameter(name="*")] = DEFAULT_LOADING,
    result: Annotated[ListingParameters, Parameter(name="*")] = DEFAULT_LISTING,
) -> Task:
    """Compare the costs of two models, layer by layer."""
    console = result.console()
    check_model(a)
    check_model(b)
    check_results(result, (a, b))
    return Task("diff", (a, b), loading.arguments(), console, result.files)
