# A person rolls back: verified on every gateway before the command returns.
source "$(dirname "$0")/lib.sh"
make_models
lastgood init && lastgood register churn v1.0.onnx --label v1.0 && lastgood register churn v1.2.onnx --label v1.2
start_server
lastgood release churn --version v1.0 --wait
lastgood release churn --version v1.2 --strategy all_at_once
start_client
sleep 1

run lastgood rollback churn --reason "the fraud team asked for it"
say "Asking for what serves already changes nothing."
run lastgood rollback churn --version v1.0
say "v1.2 was tagged failed by that rollback, so v1.0 is the only good version: there is nowhere else to go."
fails_with 3 lastgood rollback churn
stop_client
