# Release a better version step by step, by a plan file, while a client keeps asking.
source "$(dirname "$0")/lib.sh"
make_models
lastgood init && lastgood register churn v1.0.onnx --label v1.0 && lastgood register churn v1.2.onnx --label v1.2
start_server
lastgood release churn --version v1.0 --wait
start_client

cat >plan.yaml <<'PLAN'
strategy: canary
steps:
  - weight: 10%
    for: 1s
    samples: 50
  - weight: 50%
    for: 1s
    samples: 100
guardrails:
  - metric: errors
  - metric: invalid_output
  - metric: latency
    quantile: p99
    max: 500ms
false_rollback_rate: 1%
watch: 1s
PLAN
run lastgood plan check plan.yaml
run lastgood release churn --version v1.2 --plan plan.yaml --wait
stop_client
