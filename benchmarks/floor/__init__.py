"""The C++ gRPC server that transports are measured against."""
