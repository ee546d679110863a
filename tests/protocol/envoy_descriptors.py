"""The protobuf descriptors that the Envoy binary carries, as one FileDescriptorSet on stdout.

Run as a script, in a process of its own: `python envoy_descriptors.py ENVOY FILE.proto ...`. Generated
C++ code embeds each .proto file as a serialized FileDescriptorProto followed by a NUL, so a file is
found by its first field (its own name) and ends at the first byte that no field of it can start with.
"""

import mmap
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

LENGTH_DELIMITED = 2
FIELD_NUMBERS = frozenset(field.number for field in FileDescriptorProto.DESCRIPTOR.fields)


def read_varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """The base-128 number at `position`, and the position after it."""
    value = shift = 0
    while data[position] & 0x80:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
    return value | data[position] << shift, position + 1


def end_of_file_descriptor(data: mmap.mmap, start: int) -> int:
    """Where the message that begins at `start` stops, walking its top-level fields in order."""
    position, last = start, 0
    while True:
        tag, after_tag = read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number not in FIELD_NUMBERS or number < last:
            return position
        value, position = read_varint(data, after_tag)
        position += value if wire_type == LENGTH_DELIMITED else 0
        last = number


def extract(data: mmap.mmap, name: str) -> FileDescriptorProto:
    """The descriptor of the .proto file `name`.

    Raises:
        LookupError: the binary carries no such file.
    """
    header = b"\n" + bytes([len(name)]) + name.encode()
    start = data.find(header + b"\x12")  # its package follows its name
    if start < 0:
        raise LookupError(name)
    return FileDescriptorProto.FromString(data[start : end_of_file_descriptor(data, start)])


def extract_with_imports(data: mmap.mmap, names: list[str]) -> FileDescriptorSet:
    """The files `names` and all they import, each before the files that need it."""
    found: dict[str, FileDescriptorProto] = {}

    def visit(name: str) -> None:
        if name not in found:
            file = extract(data, name)
            for dependency in file.dependency:
                visit(dependency)
            found[name] = file

    for name in names:
        visit(name)
    return FileDescriptorSet(file=found.values())


def main(binary: str, *names: str) -> None:
    with (
        Path(binary).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        sys.stdout.buffer.write(extract_with_imports(data, list(names)).SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:])
