"""Tests of the edge where protobuf is read and written."""
