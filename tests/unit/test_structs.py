"""Threads that decode the same struct for the first time at once: see ``lastgood.wire.structs``."""

import subprocess
import sys

RACE = """
import sys, threading
sys.setswitchinterval(0.00001)
import msgspec
import lastgood.bootstrap
from lastgood.domain.plan import Plan
from lastgood.domain.release import Release
from lastgood.wire.structs import learn_structs

learn_structs()
text = msgspec.json.encode(
    Release(id=1, deployment="a", model="a", version=1, previous=None, plan=Plan(), created_at=0.0, created_by="b")
)
gate = threading.Barrier(8)

def decode():
    gate.wait()
    assert msgspec.json.Decoder(Release).decode(text).id == 1

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("all decoded")
"""


def test_many_threads_may_decode_a_release_at_once() -> None:
    """Without learning first, the process ends with a segmentation fault nearly every time."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "all decoded"), done.stderr
