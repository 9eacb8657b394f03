# A version that migrates live data fails on live traffic: model and data go back together, and no row is lost.
source "$(dirname "$0")/lib.sh"
lastgood init
(cd "$EXAMPLES" && python -c "import sys, pathlib, demo_data; demo_data.build(pathlib.Path(sys.argv[1]))" "$WORK")
URL="http://127.0.0.1:$LASTGOOD_PORT/v2/models/risk/infer"
cp customers.json rows.json

say "The live data is a table of lastgood.toml; what each version reads of it lies beside the version."
run tail -n 4 lastgood.toml
run cat risk-v1.2/lastgood.yaml risk-v1.3/lastgood.yaml
for version in v1.2 v1.3; do
  name=risk_${version/./_}
  run lastgood register risk "risk-$version/$name.py" --label "$version" --factory "$name:load" --signature risk-signature.json
done
start_server
lastgood release risk --version v1.2 --wait

say "v1.3 reads another column: without the migration it is refused. Exit code 3."
fails_with 3 lastgood release risk --version v1.3 --strategy all_at_once

say "With it: captured, staged, migrated while requests wait, all traffic at once. Exit code 4: it failed and went back."
start_client
run cat data-plan.yaml
fails_with 4 lastgood release risk --version v1.3 --plan data-plan.yaml --wait --timeout 120s
stop_client

say "What the way back replaced is kept whole."
run lastgood quarantine list
run lastgood history risk
run lastgood audit verify
