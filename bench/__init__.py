"""Measurements of lake_pipeline against what people would write in its place."""
