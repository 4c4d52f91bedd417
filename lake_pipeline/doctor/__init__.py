"""Whether a machine and an account are as the lake needs them, thing by thing, and what mends what is not."""
