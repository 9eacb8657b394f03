# A scikit-learn pipeline through skops; and why a pickle is refused.
source "$(dirname "$0")/lib.sh"
python - <<'PY'
import pickle
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows, labels = load_iris(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
skops.io.dump(model, "iris.skops")
pickle.dump(model, open("iris.pkl", "wb"))
PY
run lastgood init
run lastgood register iris iris.skops --label v1.0 --metric accuracy=0.97
start_server
run lastgood release iris --version v1.0 --wait
run curl -sf "http://127.0.0.1:$LASTGOOD_PORT/invocations" -H 'content-type: application/json' \
  -d '{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[5.1, 3.5, 1.4, 0.2]]}}'

say "Loading a pickle runs whatever code it carries, so it is refused unless your settings trust it."
fails_with 3 lastgood register iris iris.pkl --label v1.1
