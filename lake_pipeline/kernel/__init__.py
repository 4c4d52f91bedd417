"""The conversion code: files in, Parquet files and per-file counts out. No Dagster, no AWS control plane."""
