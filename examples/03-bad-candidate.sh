# A version that answers NaN for some rows: found out and rolled back by itself; no client sees it.
source "$(dirname "$0")/lib.sh"
make_models
lastgood init && lastgood register churn v1.0.onnx --label v1.0 && lastgood register churn v1.1.onnx --label v1.1
start_server
lastgood release churn --version v1.0 --wait
start_client

say "The built-in plan takes 5 %, 25 %, 50 %; this one is caught in its first step. Exit code 4: rolled back."
fails_with 4 lastgood release churn --version v1.1 --wait --timeout 120s
stop_client

say "Those bytes stay tagged failed. Exit code 3: refused."
fails_with 3 lastgood release churn --version v1.1
run lastgood history churn
run lastgood audit verify
