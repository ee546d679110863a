"""Protobuf on the wire to the values of the core, and back. The only users of generated code."""
