"""Planning: tied groups, roles, and the frozen `Plan`."""

from octconvert.planning.values import Chain, ChainEnd, Convolution, Group, Options, Plan

__all__ = ["Chain", "ChainEnd", "Convolution", "Group", "Options", "Plan"]
