"""Values and rules. Everything here is a pure function of its arguments and `now`."""
