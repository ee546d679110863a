"""Envoy external authorization for LLM and AI endpoints."""

__version__ = "0.1.0"
