"""Settings for all tests."""

from hypothesis import settings

# A deadline per example would measure the machine's other work.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
