"""A user's own program for a data source, as short as one can be: ``live.json``, locked by ``lock``, and files beside it.

``live.json`` is ``{"swaps": [token], "tables": {name: {"columns": [..], "rows": [[..]]}}}``: that a swap happened is
written with the data itself, in one rename.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

NOT_FOUND, CORRUPT, TIMEOUT = 10, 11, 13
LOCK_SECONDS = 1.0


def load(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        sys.exit(NOT_FOUND)
    except ValueError:
        sys.stderr.write(f"{path.name} is no JSON\n")
        sys.exit(CORRUPT)


def save(path, value):
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


@contextmanager
def locked(folder):
    with (folder / "lock").open("a") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    sys.exit(TIMEOUT)
                time.sleep(0.002)
        yield


def shape(tables):
    return {name: [{"name": c, "type": "json"} for c in table["columns"]] for name, table in tables.items()}


def described(tables):
    text = json.dumps(tables, sort_keys=True)
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "size_bytes": len(text),
        "rows": {name: len(table["rows"]) for name, table in tables.items()},
        "tables": shape(tables),
    }


def swap(folder, token, kept, staged):
    with locked(folder):
        live = load(folder / "live.json")
        if token in live["swaps"]:
            return
        tables = load(staged)
        save(kept, live["tables"])
        save(folder / "live.json", {"swaps": [*live["swaps"], token], "tables": tables})
    staged.unlink()


def quarantine(before, replaced, exports):
    counts = {}
    for name, table in replaced.items():
        old = {json.dumps(row) for row in before.get(name, {"rows": []})["rows"]}
        new = {json.dumps(row) for row in table["rows"]}
        export = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.jsonl" if new - old else None
        if export:
            rows = [dict(zip(table["columns"], json.loads(row), strict=True)) for row in sorted(new - old)]
            Path(exports, export).write_text(
                "".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8"
            )
        counts[name] = {"added": len(new - old), "removed": len(old - new), "export": export}
    return {"kept": described(replaced), "tables": counts}


def release(*held):
    freed = sum(path.stat().st_size for path in held if path.exists())
    for path in held:
        path.unlink(missing_ok=True)
    return {"bytes": freed}


def main(folder, step, told):
    live, token = folder / "live.json", told.get("token")
    kept, staged = folder / f"kept-{token}.json", folder / f"staged-{token}.json"
    snapshot = folder / f"kept-{told.get('snapshot', {}).get('token')}.json"
    if step == "schema":
        return {"tables": shape(load(live)["tables"])}
    if step == "capture":
        if not kept.exists():
            save(kept, load(live)["tables"])
        return described(load(kept))
    if step == "verify":
        return {"digest": described(load(kept))["digest"]}
    if step == "stage":
        save(staged, load(snapshot))
    elif step == "swap":
        swap(folder, token, kept, staged)
    elif step == "swapped":
        return {"swapped": token in load(live)["swaps"]}
    elif step == "quarantine":
        return quarantine(load(snapshot), load(kept), told["exports"])
    elif step == "release":
        return release(kept, staged)
    return {}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), sys.argv[2], json.load(sys.stdin)), sys.stdout)
