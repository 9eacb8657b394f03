# A gate in the plan: the release waits until a person says go on; guardrails stay on meanwhile.
source "$(dirname "$0")/lib.sh"
make_models
lastgood init && lastgood register churn v1.0.onnx --label v1.0 && lastgood register churn v1.2.onnx --label v1.2
start_server
lastgood release churn --version v1.0 --wait
start_client

cat >plan.yaml <<'PLAN'
steps:
  - weight: 20%
    for: 1s
    samples: 100
  - approve: "Did the fraud team look at the scores?"
watch: 1s
PLAN
run lastgood release churn --version v1.2 --plan plan.yaml
until lastgood status churn --json | grep -q '"phase": *"paused"'; do sleep 0.2; done
run lastgood status churn
run lastgood approve churn
until lastgood status churn --json | grep -q '"phase": *"succeeded"'; do sleep 0.2; done
run lastgood history churn
stop_client
