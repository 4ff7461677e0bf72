# shellcheck shell=bash disable=SC2154 # run.sh sets what is missing here
# apply_policy with every guardrail on and five earlier touches of each property, against the same without guardrails.
# run.sh sources it and calls measure_guardrails after `start`.

guardrails() { super -c "UPDATE stormops.guardrails SET enabled = $1 WHERE tenant_id = '$large'"; }

measure_guardrails() {
  local round ours against
  say 'guardrails …' >&2
  super -v large="$large" -f "$here/guardrails.sql" >/dev/null
  apply_as "$large" "$small_storm" >/dev/null # what another storm's run has decided
  for ((round = 0; round <= rounds; round++)); do
    guardrails true
    settle
    ours=$(apply_as "$large" "$storm" | milliseconds)
    guardrails false
    settle
    against=$(apply_as "$large" "$storm" | milliseconds)
    ((round == 0)) || note 'apply_policy, 1,000,000, every guardrail, 5,000,000 touches / without guardrails' 1.5 "$ours" "$against"
  done
}
