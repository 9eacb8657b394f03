# A signed webhook for every change of phase, and a command.
source "$(dirname "$0")/lib.sh"
make_models
lastgood init && lastgood register churn v1.0.onnx --label v1.0

export HOOK_SECRET=example-only
HOOK_PORT=${HOOK_PORT:-9099}
python "$EXAMPLES/webhook_receiver.py" "$HOOK_PORT" received.jsonl &
RECEIVER=$!
cat >>lastgood.toml <<TOML

[[notify]]
webhook = "http://127.0.0.1:$HOOK_PORT/lastgood"
secret = "env:HOOK_SECRET"

[[notify]]
command = ["sh", "-c", "cat >>by-command.jsonl; echo >>by-command.jsonl"]
TOML
start_server
run lastgood release churn --version v1.0 --wait

until [ -e received.jsonl ] && grep -q succeeded received.jsonl && grep -q succeeded by-command.jsonl; do sleep 0.2; done
kill "$RECEIVER"
say "What the receiver got (signature checked):"
cat received.jsonl
