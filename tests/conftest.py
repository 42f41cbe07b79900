"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A crowded machine is no reason to fail: nothing here is measured by the clock.
settings.register_profile("renewctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("renewctl")
