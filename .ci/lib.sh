# shellcheck shell=bash
# What the scripts in this folder share: source it first.
set -euo pipefail
root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)

say() { printf '%s\n' "$*"; }

# fail SENTENCE: the last line says what to do.
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# logged NAME SENTENCE COMMAND...: long output goes to target/log/NAME; when the command fails, its last lines and
# the sentence are what one sees.
logged() {
  local log=$root/target/log/$1 sentence=$2
  shift 2
  mkdir -p "${log%/*}"
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 20 "$log" >&2
  fail "$sentence (all of its output: ${log#"$root/"})"
}

# The major version of the PostgreSQL that a pg_config belongs to.
pg_version() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

# The pg_config of the PostgreSQL in use: PG_CONFIG where it is given, else Debian's lowest supported one, else
# whatever is in PATH. Returns 1 if there is none, 2 if the given one is no PostgreSQL that we support.
find_pg_config() {
  local candidate
  for candidate in "${PG_CONFIG:-}" /usr/lib/postgresql/1[5-8]/bin/pg_config pg_config; do
    if candidate=$(command -v "$candidate") && [[ $(pg_version "$candidate") == 1[5-8] ]]; then
      say "$candidate"
      return
    fi
    [[ -z ${PG_CONFIG:-} ]] || return 2
  done
  return 1
}
