# The world changes under a version that was promoted: nothing goes back that would not be better, and somebody is told.
# Real data: the US census of Massachusetts, which came to people in group quarters late in 2017.
source "$(dirname "$0")/lib.sh"
python "$EXAMPLES/census_models.py" "$WORK"
run lastgood init
run lastgood register jobs v1.0.onnx --label v1.0
run lastgood register jobs v1.2.onnx --label v1.2 --reference train.csv --without employed
start_server
run lastgood release jobs --version v1.0 --wait

start_census() { # start_census PART: people are asked for in their order; who had a job is known later, out of order
  python "$EXAMPLES/label_client.py" "http://127.0.0.1:$LASTGOOD_PORT/v2/models/jobs/infer" "$1.json" &
  CLIENT=$!
}
wait_for() { # wait_for SECONDS PYTHON-EXPRESSION over the release and what its guardrails found
  for _ in $(seq "$1"); do
    lastgood show release 2 --json >release.json
    python - "$2" <<'PY' && return
import json, sys
release = json.load(open("release.json"))
found = {one["guardrail"]: one["verdict"] for one in release["findings"]}
sys.exit(not eval(sys.argv[1]))
PY
    sleep 1
  done
  cat release.json >&2
  exit 1
}

say "2016: the world is as it was. v1.2 finds more people who have a job, and is promoted."
start_census calm
cat >plan.yaml <<'PLAN'
strategy: canary
steps:
  - weight: 50%
    for: 5s
    samples: 500
guardrails:
  - metric: errors
  - metric: recall
    positive: 1          # has a job
    margin: 3pp
    min_samples: 200
  - metric: drift        # inputs against train.csv
    distance: 15%
false_rollback_rate: 1%
watch: 1h
watch_shadow: 50%        # v1.0 goes on answering copies of every other request
PLAN
run lastgood plan check plan.yaml
run lastgood release jobs --version v1.2 --plan plan.yaml
wait_for 60 "release['phase'] == 'watching'"
sleep 20

say "The winter of 2017: people whom no model of 2015 knows. Every version finds fewer of those who have a job."
kill -TERM "$CLIENT" && wait "$CLIENT"
start_census changing
wait_for 300 "release['hold'] == 'world' and found['recall'] == found['drift'] == 'failed'"

kill -TERM "$CLIENT" && wait "$CLIENT"
CLIENT=
run lastgood status jobs --evidence
run lastgood show release 2 --report report.html
python - <<'PY'
import json
release = json.load(open("release.json"))
drift = next(one for one in release["findings"] if one["metric"] == "drift")
recall = next(one for one in release["findings"] if one["metric"] == "recall")
print(f"\nStill {release['phase']}: {release['waiting']}")
assert release["phase"] == "watching" and recall["numbers"]["helps"]["verdict"] == "no", recall
assert drift["verdict"] == "failed" and drift["numbers"]["features"][0]["name"] in ("RELP", "MAR"), drift
PY
say "A person decides: it stays."
run lastgood resume jobs
run lastgood verify release 2 --evidence
