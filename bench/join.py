"""Labels in a large prediction log: the memory of the process that joins them, and how many it joins a second.

``python bench/join.py [--predictions 1000000] [--large]``. A log grows to a tenth of so many predictions and then to all of them
(10 000 000 with ``--large``, some 5 GB of disk), written as the recorder writes them. At each size a process of its own gives 100 000 labels in
random order through Feedback, 500 at a time, as callers do, and then reads the outcomes as the controller does. One request
in ten brought an id of its own, one in ten is a pair with two slices. Its peak memory must not grow with the log; nothing
is demanded of the time.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lastgood.domain.feedback import Fate, GivenLabel
from lastgood.domain.kpi import Cursor
from lastgood.domain.prediction import Copy, Prediction
from lastgood.predictions.feedback import Feedback
from lastgood.predictions.labels import on_added
from lastgood.predictions.log import PredictionLog
from lastgood.predictions.outcomes import LoggedOutcomes

LARGE = 10_000_000
LABELS = 100_000
TOGETHER = 500
BATCH = 2_000
OUTCOMES = 5_000
RELEASE = 7
LIMIT = 1.1
BEGUN = 1_790_000_000.0  # any time: ids and predictions follow it
A_SECOND = 1_000
KEEP = 1e9
BYTES = 1 << 50
ANSWER = b'{"model_name":"m","model_version":"2","outputs":[%b,%b]}'
LABEL = b'{"name":"label","datatype":"INT64","shape":[1],"data":[%d]}'
SCORE = b'{"name":"probabilities","datatype":"FP64","shape":[1,2],"data":[0.1234567891,0.8765432109]}'


def made_id(number):
    """Return the id that a gateway could have made for a prediction: sorted by time, else without any order."""
    text = hashlib.blake2b(b"%d" % number, digest_size=9).hexdigest()
    at = f"{int((BEGUN + number / A_SECOND) * 1000):012x}"
    return f"{at[:8]}-{at[8:]}-7{text[:3]}-8{text[3:6]}-{text[6:18]}"


def own_id(number):
    """Return the id that its caller gave one request in ten: in no order. None for the others."""
    return f"order-{number * 2_654_435_761 % 2**32:010}" if number % 10 == 3 else None


def is_pair(number):
    return number % 10 == 7


def prediction(number):
    """Return one of a release's predictions; every tenth is the candidate's."""
    own, arm = own_id(number), "candidate" if number % 10 == 0 else "stable"
    answer = ANSWER % (LABEL % (number % 2), SCORE)
    copy, slices = None, {}
    if is_pair(number):
        copy = Copy(version=2, status=200, seconds=0.003, answer=answer)
        slices = {"land": [("de", "at", "ch")[number % 3]], "age": [str(20 + number % 60)]}
    return Prediction(
        id=own or made_id(number),
        also=made_id(number) if own else None,
        at=BEGUN + number / A_SECOND,
        deployment="churn",
        model="churn",
        version=2 if arm == "candidate" else 1,
        role=arm,
        status=200,
        seconds=0.002,
        release=RELEASE,
        stage=0,
        arm=arm,
        answer_bytes=len(answer),
        answer=answer,
        copy=copy,
        slices=slices,
    )


def write(log, first, end):
    """Add the predictions from ``first`` up to ``end``; return how many a second."""
    begun = time.perf_counter()
    for start in range(first, end, BATCH):
        log.add([prediction(number) for number in range(start, min(start + BATCH, end))])
    return (end - first) / (time.perf_counter() - begun)


def join(path, first, end):
    """Give labels of as many predictions between ``first`` and ``end``, read their outcomes, and print what that took."""
    chance = random.Random(first)
    log = PredictionLog(path)
    feedback = Feedback(log, keep_seconds=KEEP, bytes_max=BYTES)
    outcomes = LoggedOutcomes(log)
    since = last_read(outcomes)
    numbers = [first + place * (end - first) // LABELS for place in range(LABELS)]
    chance.shuffle(numbers)
    base, taken = peak_kb(), 0.0
    for start in range(0, LABELS, TOGETHER):
        some = numbers[start : start + TOGETHER]
        labels = [
            GivenLabel(id=own_id(number) or made_id(number), value=int(chance.random() < 0.5))
            for number in some
        ]
        begun = time.perf_counter()
        fates = feedback.take(labels)
        taken += time.perf_counter() - begun
        if any(one.fate is not Fate.JOINED for one in fates):
            raise RuntimeError(f"not joined: {[one for one in fates if one.fate is not Fate.JOINED][:3]}")
    begun = time.perf_counter()
    read, pairs = 0, 0
    while found := outcomes.outcomes(RELEASE, since, made_until=1e12, limit=OUTCOMES):
        rows, since = found
        if not rows:
            break
        read += len(rows)
        pairs += sum(one.copied and one.other is not None and len(one.slices) == 2 for one in rows)
    reading = time.perf_counter() - begun
    wanted = sum(is_pair(number) for number in numbers)
    if (read, pairs) != (LABELS, wanted):
        raise RuntimeError(f"{read} outcomes with {pairs} pairs instead of {LABELS} with {wanted}")
    print(json.dumps({"base": base, "peak": peak_kb(), "joined": LABELS / taken, "read": read / reading}))


def last_read(outcomes):
    """Return how far outcomes go that an earlier process has left."""
    since = Cursor()
    while True:
        rows, since = outcomes.outcomes(RELEASE, since, made_until=1e12, limit=OUTCOMES)
        if not rows:
            return since


def peak_kb():
    """Return the most memory that this process has had, in kB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


def main():
    """Print what each size took; return 1 if memory grew with the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} predictions")
    parser.add_argument("--join", nargs=3, metavar=("LOG", "FIRST", "END"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.join:
        join(Path(given.join[0]), int(given.join[1]), int(given.join[2]))
        return 0
    size = LARGE if given.large else given.predictions
    if size < 10 * LABELS:
        parser.error(f"at least {10 * LABELS:,} predictions, so that a tenth has a label for each")
    peaks = []
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
        path = Path(folder) / "log.db"
        log = PredictionLog(path, on_added=(on_added,))
        for first, end in ((0, size // 10), (size // 10, size)):
            written = write(log, first, end)
            counts = log.counts()
            command = [sys.executable, __file__, "--join", str(path), str(first), str(end)]
            run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            took = json.loads(run.stdout)
            peaks.append(took["peak"])
            print(
                f"{end:>11,} predictions ({counts.bytes / 1e9:.2f} GB, {counts.bytes // end} bytes each; "
                f"{written:,.0f}/s written)   {LABELS:,} labels: {took['joined']:,.0f}/s joined, "
                f"{took['read']:,.0f}/s read as outcomes   "
                f"peak memory {took['peak'] / 1024:.1f} MB ({took['base'] / 1024:.1f} before the first)",
                flush=True,
            )
        log.close()
    ratio = peaks[1] / peaks[0]
    verdict = "flat" if ratio <= LIMIT else "NOT FLAT"
    print(f"peak memory, {size:,} over {size // 10:,} predictions: {ratio:.2f}x (limit {LIMIT}x): {verdict}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    raise SystemExit(main())
