# Register a model, serve it, ask it.
source "$(dirname "$0")/lib.sh"
make_models

say "A folder becomes a project, an ONNX file becomes version 1."
run lastgood init
run lastgood register churn v1.0.onnx --label v1.0 --data train.csv --metric auc=0.989
run lastgood show churn v1.0

say "Nothing is live by itself: the first release validates it and makes it stable."
start_server
run lastgood release churn --version v1.0 --wait

say "The Open Inference Protocol, and MLflow's."
ROW=$(python -c "import json; print(json.load(open('rows.json'))[0])")
run curl -sf "$URL" -d "{\"inputs\": [{\"name\": \"rows\", \"shape\": [1, 30], \"datatype\": \"FP32\", \"data\": $ROW}]}"
run curl -sf "http://127.0.0.1:$LASTGOOD_PORT/invocations" -H 'content-type: application/json' -d "{\"inputs\": [$ROW]}"
run lastgood status churn
