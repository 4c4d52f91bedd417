"""The tests; they run on real parts: an embedded Postgres, real files, real processes."""
