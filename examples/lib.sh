# Shared by the examples: a fresh folder, a server that is stopped at the end, and a client in the background.
# Each example is read top to bottom and run as:  bash examples/01-first-version.sh
set -euo pipefail
EXAMPLES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=$(mktemp -d)
cd "$WORK"
export LASTGOOD_PORT=${LASTGOOD_PORT:-8000} LASTGOOD_API_PORT=${LASTGOOD_API_PORT:-8001}
URL="http://127.0.0.1:$LASTGOOD_PORT/v2/models/churn/infer"

say() { printf '\n# %s\n' "$*"; }

run() { printf '\n$ %s\n' "$*"; "$@"; }

fails_with() { # fails_with CODE COMMAND...: the command must exit with that code
  local expected=$1 code=0
  shift
  printf '\n$ %s\n' "$*"
  "$@" || code=$?
  [ "$code" -eq "$expected" ] || { echo "exit code $code, not $expected" >&2; exit 1; }
}

start_server() {
  printf '\n$ lastgood serve &\n'
  lastgood serve >serve.log 2>&1 &
  SERVER=$!
  trap stop_everything EXIT
  for _ in $(seq 300); do grep -q Listening serve.log && return; sleep 0.1; done
  cat serve.log >&2
  exit 1
}

start_client() { # real rows over four connections, until the example ends
  python "$EXAMPLES/demo_client.py" "$URL" rows.json summary.json &
  CLIENT=$!
}

stop_client() { # prints what the client saw; no failure is allowed
  kill -TERM "$CLIENT" && wait "$CLIENT"
  CLIENT=
  python - <<'PY'
import json
seen = json.load(open("summary.json"))
print(f"\nclient: {seen['requests']} requests, {seen['failures']} failures, answered by {seen['versions']}")
raise SystemExit(1 if seen["failures"] else 0)
PY
}

stop_everything() {
  [ -z "${CLIENT:-}" ] || kill "$CLIENT" 2>/dev/null || true
  kill -INT "$SERVER" 2>/dev/null && wait "$SERVER" || true
  rm -rf "$WORK"
}

make_models() { (cd "$EXAMPLES" && python -c "import sys, pathlib, demo_models; demo_models.build(pathlib.Path(sys.argv[1]))" "$WORK"); }
