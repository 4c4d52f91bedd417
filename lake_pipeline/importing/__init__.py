"""Taking over from an old system: files that it has converted are done here too."""
