"""Tests of the deterministic rules."""
