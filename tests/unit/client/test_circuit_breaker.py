"""When a region is left alone, probed and given up."""

from __future__ import annotations

from crawler.client.circuit_breaker import CircuitBreaker


def fail(circuit: CircuitBreaker, names: str, now: float = 0.0, targets: int = 10) -> list[bool]:
    return [circuit.failed(name, now, targets=targets) for name in names]


def test_opens() -> None:
    """The fifth failure in a row opens it, over at least three targets."""
    circuit = CircuitBreaker()

    assert fail(circuit, "abcab") == [False, False, False, False, True]
    assert not circuit.admits(0.0)


def test_one_bad_target() -> None:
    """One or two bad targets among many open nothing, unless the region has no others."""
    many, few = CircuitBreaker(), CircuitBreaker()

    assert not any(fail(many, "ababababab"))
    assert any(fail(few, "ababa", targets=2))


def test_answers_reset() -> None:
    """An answer in between starts the count anew."""
    circuit = CircuitBreaker()
    for _ in range(5):
        fail(circuit, "abcd")
        circuit.answered()

    assert circuit.admits(0.0)


def test_half_open() -> None:
    """After the cool-down one probe goes out; its answer closes the circuit."""
    circuit = CircuitBreaker()
    fail(circuit, "abcde", now=10.0)

    assert not circuit.admits(10.0 + circuit.COOLDOWN_SECONDS - 0.1)
    assert circuit.admits(10.0 + circuit.COOLDOWN_SECONDS)
    assert circuit.begin()
    assert not circuit.admits(60.0)
    circuit.answered()
    assert circuit.admits(60.0)
    assert not circuit.begin()


def test_given_up() -> None:
    """The second failed probe, after twice the cool-down, gives the region up for this run."""
    circuit = CircuitBreaker()
    fail(circuit, "abcde")
    for now in (3.0, 9.0):
        assert not circuit.is_dead
        assert circuit.admits(now)
        assert not circuit.admits(now - 0.1)
        assert circuit.begin()
        circuit.failed("a", now, targets=10, is_probe=True)

    assert circuit.is_dead


def test_stragglers() -> None:
    """Calls that were in flight when it opened count neither as probes nor as new openings."""
    circuit = CircuitBreaker()
    fail(circuit, "abcde")

    assert fail(circuit, "fgh", now=1.0) == [False, False, False]
    assert circuit.admits(3.0)


def test_cut_probe() -> None:
    """A probe that was cut leaves room for another."""
    circuit = CircuitBreaker()
    fail(circuit, "abcde")
    circuit.begin()
    circuit.released()

    assert circuit.admits(3.0)
