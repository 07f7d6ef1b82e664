# shellcheck shell=bash
# Generated from the commands' own flags; see internal/cli/completion_test.go.

_lastgood_boots() { printf 'last-good\ncurrent\n'; timeout 2 lastgood list -o json 2>/dev/null | sed -n 's/.*"boot_id": *"\([^"]*\)".*/\1/p'; }
_lastgood_kernels() { ls /lib/modules 2>/dev/null; }

# _lastgood_words WORD...: those that begin like what is typed, and what @-words stand for.
_lastgood_words() {
  local w
  COMPREPLY=()
  for w in "$@"; do
    case $w in
    @boot) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$(_lastgood_boots)" -- "$cur") ;;
    @kernel) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$(_lastgood_kernels)" -- "$cur") ;;
    @file) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur") ;;
    @dir) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$cur") ;;
    *) [[ $w == "$cur"* ]] && COMPREPLY+=("$w") ;;
    esac
  done
}

_lastgood() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    _lastgood_words help check snapshot diff accept list show report probe inventory record watch contract preflight bisect gate release rollback try bless decide notify serve doctor version
    return 0
  fi
  # What is before an = is the flag that is completed.
  if [ "$cur" = = ]; then cur=; elif [ "$prev" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
  case $command:$prev in
  check:--baseline) _lastgood_words @boot; return 0 ;;
  check:--fail-on) _lastgood_words critical warning; return 0 ;;
  check:--textfile) COMPREPLY=(); return 0 ;;
  check:--settle) COMPREPLY=(); return 0 ;;
  check:--phase) _lastgood_words early settled; return 0 ;;
  check:--state-dir) _lastgood_words @dir; return 0 ;;
  check:--config) _lastgood_words @file; return 0 ;;
  check:--root) _lastgood_words @file; return 0 ;;
  check:--output | check:-o) _lastgood_words table json markdown junit nagios npd prometheus; return 0 ;;
  check:--budget) COMPREPLY=(); return 0 ;;
  check:--jobs) COMPREPLY=(); return 0 ;;
  snapshot:--state-dir) _lastgood_words @dir; return 0 ;;
  snapshot:--config) _lastgood_words @file; return 0 ;;
  snapshot:--root) _lastgood_words @file; return 0 ;;
  snapshot:--output | snapshot:-o) _lastgood_words json table; return 0 ;;
  snapshot:--budget) COMPREPLY=(); return 0 ;;
  snapshot:--jobs) COMPREPLY=(); return 0 ;;
  diff:--fail-on) _lastgood_words critical warning; return 0 ;;
  diff:--state-dir) _lastgood_words @dir; return 0 ;;
  diff:--config) _lastgood_words @file; return 0 ;;
  diff:--root) _lastgood_words @file; return 0 ;;
  diff:--output | diff:-o) _lastgood_words table json markdown junit nagios npd prometheus; return 0 ;;
  diff:--budget) COMPREPLY=(); return 0 ;;
  diff:--jobs) COMPREPLY=(); return 0 ;;
  accept:--state-dir) _lastgood_words @dir; return 0 ;;
  accept:--config) _lastgood_words @file; return 0 ;;
  accept:--root) _lastgood_words @file; return 0 ;;
  accept:--budget) COMPREPLY=(); return 0 ;;
  accept:--jobs) COMPREPLY=(); return 0 ;;
  list:--state-dir) _lastgood_words @dir; return 0 ;;
  list:--config) _lastgood_words @file; return 0 ;;
  list:--root) _lastgood_words @file; return 0 ;;
  list:--output | list:-o) _lastgood_words table json; return 0 ;;
  list:--budget) COMPREPLY=(); return 0 ;;
  list:--jobs) COMPREPLY=(); return 0 ;;
  show:--state-dir) _lastgood_words @dir; return 0 ;;
  show:--config) _lastgood_words @file; return 0 ;;
  show:--root) _lastgood_words @file; return 0 ;;
  show:--output | show:-o) _lastgood_words table json; return 0 ;;
  show:--budget) COMPREPLY=(); return 0 ;;
  show:--jobs) COMPREPLY=(); return 0 ;;
  report:--html) COMPREPLY=(); return 0 ;;
  report:--state-dir) _lastgood_words @dir; return 0 ;;
  report:--config) _lastgood_words @file; return 0 ;;
  report:--root) _lastgood_words @file; return 0 ;;
  report:--budget) COMPREPLY=(); return 0 ;;
  report:--jobs) COMPREPLY=(); return 0 ;;
  probe:--values) _lastgood_words @file; return 0 ;;
  probe:--type) COMPREPLY=(); return 0 ;;
  probe:--program) COMPREPLY=(); return 0 ;;
  probe:--export) _lastgood_words @dir; return 0 ;;
  probe:--against) _lastgood_words @boot @kernel; return 0 ;;
  probe:--state-dir) _lastgood_words @dir; return 0 ;;
  probe:--config) _lastgood_words @file; return 0 ;;
  probe:--root) _lastgood_words @file; return 0 ;;
  probe:--output | probe:-o) _lastgood_words table json csv; return 0 ;;
  probe:--budget) COMPREPLY=(); return 0 ;;
  probe:--jobs) COMPREPLY=(); return 0 ;;
  inventory:--against) _lastgood_words @boot @kernel; return 0 ;;
  inventory:--state-dir) _lastgood_words @dir; return 0 ;;
  inventory:--config) _lastgood_words @file; return 0 ;;
  inventory:--root) _lastgood_words @file; return 0 ;;
  inventory:--output | inventory:-o) _lastgood_words table json; return 0 ;;
  inventory:--budget) COMPREPLY=(); return 0 ;;
  inventory:--jobs) COMPREPLY=(); return 0 ;;
  record:--state-dir) _lastgood_words @dir; return 0 ;;
  record:--config) _lastgood_words @file; return 0 ;;
  record:--root) _lastgood_words @file; return 0 ;;
  record:--budget) COMPREPLY=(); return 0 ;;
  record:--jobs) COMPREPLY=(); return 0 ;;
  watch:--interval) COMPREPLY=(); return 0 ;;
  watch:--shutdown-above) COMPREPLY=(); return 0 ;;
  watch:--state-dir) _lastgood_words @dir; return 0 ;;
  watch:--config) _lastgood_words @file; return 0 ;;
  watch:--root) _lastgood_words @file; return 0 ;;
  watch:--output | watch:-o) _lastgood_words table json; return 0 ;;
  watch:--budget) COMPREPLY=(); return 0 ;;
  watch:--jobs) COMPREPLY=(); return 0 ;;
  contract:--name) COMPREPLY=(); return 0 ;;
  contract:--state-dir) _lastgood_words @dir; return 0 ;;
  contract:--config) _lastgood_words @file; return 0 ;;
  contract:--root) _lastgood_words @file; return 0 ;;
  contract:--output | contract:-o) _lastgood_words table json; return 0 ;;
  contract:--budget) COMPREPLY=(); return 0 ;;
  contract:--jobs) COMPREPLY=(); return 0 ;;
  preflight:--against) _lastgood_words @boot @kernel; return 0 ;;
  preflight:--object) _lastgood_words @file; return 0 ;;
  preflight:--family) COMPREPLY=(); return 0 ;;
  preflight:--suite) COMPREPLY=(); return 0 ;;
  preflight:--accel) _lastgood_words auto kvm tcg; return 0 ;;
  preflight:--vm-memory) COMPREPLY=(); return 0 ;;
  preflight:--fail-on) _lastgood_words critical warning; return 0 ;;
  preflight:--flavour) COMPREPLY=(); return 0 ;;
  preflight:--state-dir) _lastgood_words @dir; return 0 ;;
  preflight:--config) _lastgood_words @file; return 0 ;;
  preflight:--root) _lastgood_words @file; return 0 ;;
  preflight:--output | preflight:-o) _lastgood_words table json markdown; return 0 ;;
  preflight:--budget) COMPREPLY=(); return 0 ;;
  preflight:--jobs) COMPREPLY=(); return 0 ;;
  bisect:--object) _lastgood_words @file; return 0 ;;
  bisect:--suite) COMPREPLY=(); return 0 ;;
  bisect:--accel) _lastgood_words auto kvm tcg; return 0 ;;
  bisect:--vm-memory) COMPREPLY=(); return 0 ;;
  bisect:--good) _lastgood_words @kernel; return 0 ;;
  bisect:--bad) _lastgood_words @kernel; return 0 ;;
  bisect:--probe) COMPREPLY=(); return 0 ;;
  bisect:--program) COMPREPLY=(); return 0 ;;
  bisect:--metric) COMPREPLY=(); return 0 ;;
  bisect:--above) COMPREPLY=(); return 0 ;;
  bisect:--state-dir) _lastgood_words @dir; return 0 ;;
  bisect:--config) _lastgood_words @file; return 0 ;;
  bisect:--root) _lastgood_words @file; return 0 ;;
  bisect:--output | bisect:-o) _lastgood_words table; return 0 ;;
  bisect:--budget) COMPREPLY=(); return 0 ;;
  bisect:--jobs) COMPREPLY=(); return 0 ;;
  gate:--run-dir) _lastgood_words @dir; return 0 ;;
  gate:--baseline) _lastgood_words @boot; return 0 ;;
  gate:--settle) COMPREPLY=(); return 0 ;;
  gate:--state-dir) _lastgood_words @dir; return 0 ;;
  gate:--config) _lastgood_words @file; return 0 ;;
  gate:--root) _lastgood_words @file; return 0 ;;
  gate:--output | gate:-o) _lastgood_words table json markdown junit nagios npd prometheus; return 0 ;;
  gate:--budget) COMPREPLY=(); return 0 ;;
  gate:--jobs) COMPREPLY=(); return 0 ;;
  release:--run-dir) _lastgood_words @dir; return 0 ;;
  release:--state-dir) _lastgood_words @dir; return 0 ;;
  release:--config) _lastgood_words @file; return 0 ;;
  release:--root) _lastgood_words @file; return 0 ;;
  release:--budget) COMPREPLY=(); return 0 ;;
  release:--jobs) COMPREPLY=(); return 0 ;;
  rollback:--run-dir) _lastgood_words @dir; return 0 ;;
  rollback:--to) _lastgood_words @kernel; return 0 ;;
  rollback:--state-dir) _lastgood_words @dir; return 0 ;;
  rollback:--config) _lastgood_words @file; return 0 ;;
  rollback:--root) _lastgood_words @file; return 0 ;;
  rollback:--budget) COMPREPLY=(); return 0 ;;
  rollback:--jobs) COMPREPLY=(); return 0 ;;
  try:--run-dir) _lastgood_words @dir; return 0 ;;
  try:--state-dir) _lastgood_words @dir; return 0 ;;
  try:--config) _lastgood_words @file; return 0 ;;
  try:--root) _lastgood_words @file; return 0 ;;
  try:--budget) COMPREPLY=(); return 0 ;;
  try:--jobs) COMPREPLY=(); return 0 ;;
  bless:--run-dir) _lastgood_words @dir; return 0 ;;
  bless:--state-dir) _lastgood_words @dir; return 0 ;;
  bless:--config) _lastgood_words @file; return 0 ;;
  bless:--root) _lastgood_words @file; return 0 ;;
  bless:--budget) COMPREPLY=(); return 0 ;;
  bless:--jobs) COMPREPLY=(); return 0 ;;
  decide:--run-dir) _lastgood_words @dir; return 0 ;;
  decide:--state-dir) _lastgood_words @dir; return 0 ;;
  decide:--config) _lastgood_words @file; return 0 ;;
  decide:--root) _lastgood_words @file; return 0 ;;
  decide:--budget) COMPREPLY=(); return 0 ;;
  decide:--jobs) COMPREPLY=(); return 0 ;;
  notify:--run-dir) _lastgood_words @dir; return 0 ;;
  notify:--failed) COMPREPLY=(); return 0 ;;
  notify:--within) COMPREPLY=(); return 0 ;;
  notify:--state-dir) _lastgood_words @dir; return 0 ;;
  notify:--config) _lastgood_words @file; return 0 ;;
  notify:--root) _lastgood_words @file; return 0 ;;
  notify:--budget) COMPREPLY=(); return 0 ;;
  notify:--jobs) COMPREPLY=(); return 0 ;;
  serve:--web.listen-address) COMPREPLY=(); return 0 ;;
  serve:--web.config.file) COMPREPLY=(); return 0 ;;
  serve:--web.host) COMPREPLY=(); return 0 ;;
  serve:--state-dir) _lastgood_words @dir; return 0 ;;
  serve:--config) _lastgood_words @file; return 0 ;;
  serve:--root) _lastgood_words @file; return 0 ;;
  serve:--budget) COMPREPLY=(); return 0 ;;
  serve:--jobs) COMPREPLY=(); return 0 ;;
  doctor:--run-dir) _lastgood_words @dir; return 0 ;;
  doctor:--state-dir) _lastgood_words @dir; return 0 ;;
  doctor:--config) _lastgood_words @file; return 0 ;;
  doctor:--root) _lastgood_words @file; return 0 ;;
  doctor:--output | doctor:-o) _lastgood_words table json; return 0 ;;
  doctor:--budget) COMPREPLY=(); return 0 ;;
  doctor:--jobs) COMPREPLY=(); return 0 ;;
  version:--state-dir) _lastgood_words @dir; return 0 ;;
  version:--config) _lastgood_words @file; return 0 ;;
  version:--root) _lastgood_words @file; return 0 ;;
  version:--output | version:-o) _lastgood_words table json; return 0 ;;
  version:--budget) COMPREPLY=(); return 0 ;;
  version:--jobs) COMPREPLY=(); return 0 ;;
  esac
  case $command in
  help) [ "$COMP_CWORD" -eq 2 ] && _lastgood_words check snapshot diff accept list show report probe inventory record watch contract preflight bisect gate release rollback try bless decide notify serve doctor version ;;
  check)
    case $cur in
    -*) _lastgood_words --baseline --fail-on --textfile --settle --phase --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  snapshot)
    case $cur in
    -*) _lastgood_words --keep --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  diff)
    case $cur in
    -*) _lastgood_words --fail-on --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @boot @file ;;
    esac
    ;;
  accept)
    case $cur in
    -*) _lastgood_words --incomplete --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @boot @file ;;
    esac
    ;;
  list)
    case $cur in
    -*) _lastgood_words --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  show)
    case $cur in
    -*) _lastgood_words --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @boot @file ;;
    esac
    ;;
  report)
    case $cur in
    -*) _lastgood_words --html --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  probe)
    case $cur in
    -*) _lastgood_words --thorough --list --values --type --program --explain --export --against --again --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @file ;;
    esac
    ;;
  inventory)
    case $cur in
    -*) _lastgood_words --against --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  record)
    case $cur in
    -*) _lastgood_words --no-scrub --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @file ;;
    esac
    ;;
  watch)
    case $cur in
    -*) _lastgood_words --interval --once --print --shutdown-above --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  contract)
    case $cur in
    -*) _lastgood_words --wait --name --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words learn check schema @file ;;
    esac
    ;;
  preflight)
    case $cur in
    -*) _lastgood_words --against --object --builtin-only --family --suite --accel --vm-memory --all-candidates --fail-on --quick --no-vm --flavour --older --last --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @kernel @file ;;
    esac
    ;;
  bisect)
    case $cur in
    -*) _lastgood_words --object --builtin-only --suite --accel --vm-memory --good --bad --probe --program --metric --above --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @kernel @file ;;
    esac
    ;;
  gate)
    case $cur in
    -*) _lastgood_words --run-dir --baseline --settle --exit-status --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  release)
    case $cur in
    -*) _lastgood_words --run-dir --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  rollback)
    case $cur in
    -*) _lastgood_words --run-dir --to --reboot --yes --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  try)
    case $cur in
    -*) _lastgood_words --run-dir --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words @kernel @file ;;
    esac
    ;;
  bless)
    case $cur in
    -*) _lastgood_words --run-dir --if-good --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  decide)
    case $cur in
    -*) _lastgood_words --run-dir --dry-run --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  notify)
    case $cur in
    -*) _lastgood_words --run-dir --flush --now --test --failed --within --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  serve)
    case $cur in
    -*) _lastgood_words --web.listen-address --web.config.file --web.host --state-dir --config --root --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  doctor)
    case $cur in
    -*) _lastgood_words --run-dir --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  version)
    case $cur in
    -*) _lastgood_words --state-dir --config --root --output --budget --jobs --quiet --verbose --help ;;
    *) _lastgood_words  ;;
    esac
    ;;
  esac
  return 0
}
complete -F _lastgood lastgood
