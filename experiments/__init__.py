"""Binaries that reproduce figures and tables; each is `python -m experiments.NAME`."""
