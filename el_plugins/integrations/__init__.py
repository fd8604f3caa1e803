"""The losses inside models of other libraries, by one call each; every module imports its own host."""
