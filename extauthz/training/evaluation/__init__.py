"""Measures model directories on labelled texts, and fits thresholds to honest ones. Needs no torch."""
