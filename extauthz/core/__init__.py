"""Values and rules, free of clocks, threads and I/O: `now` is an argument."""
