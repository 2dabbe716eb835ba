"""Planning: tied groups, roles, alphas: a call graph and options -> a layout and its plan."""
