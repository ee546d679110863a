"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# A deadline per example would measure the machine's other work, and so would "too slow".
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
