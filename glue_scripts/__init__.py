"""Scripts that engines run; each is started as a program of its own."""
