"""What the peers' timers share."""

import time

# A sample is to last this long, in seconds, so that the clock and the harness weigh little in it.
SAMPLE = 0.03
MOST = 16


class PeerError(Exception):
    """A peer that cannot run a form, or gives something else than it should; in one line."""


def seconds(run):
    """How long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def repeats(once):
    """How often to run what takes `once` seconds."""
    return max(1, min(MOST, round(SAMPLE / max(once, 1e-6))))


def one_line(error):
    """An error's text, short and in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
