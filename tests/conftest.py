"""Settings for all tests."""

import os

import grpc.aio
from hypothesis import HealthCheck, settings

# A deadline per example would measure the machine's other work, and so would "too slow".
# The same examples in every run: a red run is then the change's doing. HYPOTHESIS_PROFILE=search
# looks for new ones.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("search", settings.get_profile("tests"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))

# Clients and servers of many event loops come and go in one process here. gRPC's own poller is kept
# from being torn down and started anew with them.
grpc.aio.init_grpc_aio()
