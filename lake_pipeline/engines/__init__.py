"""Where the kernel runs. A task says what to convert; each engine's script runs it and writes a results document."""
