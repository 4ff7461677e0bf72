# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# score_storm of 1,000,000 properties with a LightGBM model of 100 trees, against onnxruntime in Python on one thread: the
# rows fetched, scored and written back. run.sh sources it and calls measure_models after `start`.

models_ready() {
  local venv=$work/../venv-bench
  python_ready || return
  "$venv/bin/python" -c 'import onnxruntime, onnxmltools, lightgbm' 2>/dev/null ||
    "$venv/bin/pip" install --quiet numpy lightgbm==4.7.0 onnxmltools==1.16.0 onnxruntime==1.32.0 scikit-learn
}

# Without the scores of the run before, since both sides write into their index.
forget_scores() {
  super -c "SET session_replication_role = replica" -c "DELETE FROM stormops.lead_uplift WHERE model_version <> 'uplift-forest-3'" \
    -c 'VACUUM stormops.lead_uplift' -c CHECKPOINT
}

measure_models() {
  local round ours against evaluated python=$work/../venv-bench/bin/python model=$work/model.onnx
  local features='["roof_age", "building_age", "building_value", "longitude", "latitude", "touches"]'
  say 'models …' >&2
  if ! models_ready >&2; then
    say 'no model: python3 cannot import or install onnxruntime, onnxmltools and lightgbm' >&2
    return
  fi
  "$python" "$here/models.py" --train "$model"
  app -c "SET app.current_tenant = '$large'" -f <(
    say "SELECT kind FROM stormops.register_model('bench', decode('$(base64 -w0 "$model")', 'base64'), '$features');"
  ) >/dev/null
  for ((round = 1; round <= rounds; round++)); do
    forget_scores
    ours=$(app -c "SET app.current_tenant = '$large'" -c '\timing on' -c "SELECT * FROM stormops.score_storm('$storm', 'bench')" | milliseconds)
    forget_scores
    read -r against evaluated < <("$python" "$here/models.py" "$socket" "$large" "$storm" "$model")
    note 'score_storm, 1,000,000, 100 trees / fetch, onnxruntime on one thread, write back' 1.0 "$ours" "$against"
    # What model_score() adds to reading the same features.
    ours=$(timed "SELECT count(s.uplift) FROM stormops.model_scores('$storm', 'bench') AS s")
    against=$(timed "SELECT count(*) FROM (SELECT f FROM stormops.storm_features('$storm') AS f OFFSET 0) AS s")
    note 'reading and evaluating, 1,000,000 / reading the features + onnxruntime' 1.2 "$ours" "$(sum "$against" "$evaluated" 1)"
  done
}
