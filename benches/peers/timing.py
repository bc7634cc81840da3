"""What the peers' timers share."""

import time

# A sample should last this many seconds, so that the clock and the harness hardly count in it.
SAMPLE = 0.03
# The most repetitions of a sample.
MOST = 16


class PeerError(Exception):
    """In one line, why a peer cannot run a form."""


def seconds(run):
    """The seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def repeats(once):
    """How often to repeat a call of `once` seconds in a sample."""
    return max(1, min(MOST, round(SAMPLE / max(once, 1e-6))))


def one_line(error):
    """The text of an error, shortened to one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
