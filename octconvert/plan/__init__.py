"""Planning: tied groups, roles, and the frozen `Plan`."""

from octconvert.plan.values import Chain, ChainEnd, Convolution, Group, Options, Plan

__all__ = ["Chain", "ChainEnd", "Convolution", "Group", "Options", "Plan"]
