"""The commands of `lake`, one module each. What is slow to import is imported by the command that needs it."""
