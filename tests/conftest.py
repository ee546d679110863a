"""Settings for all tests."""

import grpc.aio
from hypothesis import HealthCheck, settings

# A deadline per example would measure the machine's other work, and so would "too slow".
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# Clients and servers of many event loops come and go in one process here. gRPC's own poller is kept
# from being torn down and started anew with them.
grpc.aio.init_grpc_aio()
