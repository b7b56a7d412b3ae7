"""A circuit breaker: after failures in a row a region is left alone for a while, then probed, then given up."""

from __future__ import annotations

from collections.abc import Hashable


class CircuitBreaker:
    """
    Closed → open → half-open for one region; given up (`is_dead`) after two failed probes.

    It opens after `FAILURES` network-class failures in a row over at least `SPREAD` targets (all of them where the
    region has fewer): one bad target alone cuts off no region. Any answer, whatever it says, closes it again.
    """

    FAILURES = 5
    SPREAD = 3
    PROBES = 2
    COOLDOWN_SECONDS = 3.0

    def __init__(self) -> None:
        self.is_dead = False
        #: When the next probe may go out; None while the circuit is closed.
        self.probe_at: float | None = None
        self._failures = 0
        self._failed: set[Hashable] = set()
        self._failed_probes = 0
        self._is_probing = False

    def admits(self, now: float) -> bool:
        """Return whether a call may start."""
        if self.probe_at is None:
            return True
        return not self._is_probing and now >= self.probe_at

    def begin(self) -> bool:
        """Note that a call starts; tell whether it is a probe."""
        self._is_probing = self.probe_at is not None
        return self._is_probing

    def answered(self) -> None:
        """Note an answer."""
        if self._failures and not self.is_dead:
            self.probe_at = None
            self._is_probing = False
            self._failures = self._failed_probes = 0
            self._failed.clear()

    def failed(self, target: Hashable, now: float, *, targets: int, is_probe: bool = False) -> bool:
        """Note that *target*, one of *targets* in the region, got no answer; tell whether that opened the circuit."""
        self._failures += 1
        self._failed.add(target)
        if is_probe:
            self._is_probing = False
            self._failed_probes += 1
            self.is_dead = self._failed_probes >= self.PROBES
        elif (
            self.probe_at is not None or self._failures < self.FAILURES or len(self._failed) < min(self.SPREAD, targets)
        ):
            return False
        self.probe_at = now + self.COOLDOWN_SECONDS * 2**self._failed_probes
        return not is_probe

    def released(self) -> None:
        """Note that a probe was cut before anything could be learned."""
        self._is_probing = False
