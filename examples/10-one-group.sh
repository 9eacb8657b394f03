# A candidate that is better for most people and much worse for one group: found by the group, not by the average.
# Real data: the US census of Massachusetts, of which a model says who has a job.
source "$(dirname "$0")/lib.sh"
python "$EXAMPLES/census_models.py" "$WORK"
run lastgood init
run lastgood register jobs v1.0.onnx --label v1.0
run lastgood register jobs v1.1.onnx --label v1.1
start_server
run lastgood release jobs --version v1.0 --wait

say "People are asked for, in the order of the census; who had a job is known later, out of order, some of it twice."
python "$EXAMPLES/label_client.py" "http://127.0.0.1:$LASTGOOD_PORT/v2/models/jobs/infer" calm.json &
CLIENT=$!

cat >plan.yaml <<'PLAN'
strategy: canary
steps:
  - weight: 30%
    for: 2s
    samples: 100
  - weight: 50%
    for: 1h
guardrails:
  - metric: errors
  - metric: recall
    positive: 1          # has a job
    slices: [CIT, SEX]   # citizenship and sex, as the census writes them
    margin: 3pp
    min_samples: 300
    share: 50%
false_rollback_rate: 1%
deadline: 2h
watch: 1h
PLAN
run lastgood plan check plan.yaml
fails_with 4 lastgood release jobs --version v1.1 --plan plan.yaml --wait

kill -TERM "$CLIENT" && wait "$CLIENT"
CLIENT=
run lastgood show release 2
lastgood show release 2 --json >release.json
python - <<'PY'
import json
evidence = json.load(open("release.json"))["evidence"]
own, other = evidence["candidate"], evidence["stable"]
worst = evidence["slices"][0]
print(f"\nRolled back on {evidence['guardrail']} after {own['labelled']} labels of v1.1 and {other['labelled']} of v1.0.")
print(f"On average {own['value']:.3f} against {other['value']:.3f}; for {worst['column']}={worst['value']} much worse.")
assert worst["reached"] and (worst["column"], worst["value"]) == ("CIT", "4"), worst
PY
run lastgood verify release 2 --evidence
