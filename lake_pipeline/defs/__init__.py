"""Dagster's side, a module a concept. Only this folder and definitions.py import Dagster."""
