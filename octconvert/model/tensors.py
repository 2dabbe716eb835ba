"""The type of tensors that hold values."""

from __future__ import annotations

from typing import Any, TypeAlias

BackendTensor: TypeAlias = Any
"""A tensor of the Keras backend, with values. Keras has no type for it."""
