"""The audit: store, ledger and outputs compared three ways, and what of it can be mended safely."""
