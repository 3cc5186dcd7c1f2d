"""For all tests: machines are shared and noisy, so no example of Hypothesis fails for the time that it took."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from hpctune.common.log import show_messages

settings.register_profile("hpctune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpctune")
show_messages()  # as every program of hpctune does
