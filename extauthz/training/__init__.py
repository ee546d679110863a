"""Builds and evaluates the shipped classifier. The server never imports this package."""
