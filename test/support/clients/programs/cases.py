"""What the programs in Python share: running the cases that were asked for, and telling how each ended."""
import json
import sys
import time

BOOTSTRAP, PREFIX, ASKED = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
ACKS = ("0", "1", "all")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def topic(name):
    return f"{PREFIX}-{name}"


def values(name, count):
    return [f"{name} {i}{' grain' * 50}" for i in range(count)]


def tell(name, error=None):
    told = {"case": name} if error is None else {"case": name, "error": repr(error)}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def eventually(check):
    """Repeats a check for a while: a broker shows what the controller was told only a moment later."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return same(True, check())
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def same(expected, actual):
    if expected != actual:
        raise AssertionError(f"expected {expected}, got {actual}")
