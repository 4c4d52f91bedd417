"""Catalogues: where readers find the tables."""
