# Sourced by the scripts here: finds or installs what they need.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for the scripts that source this
target=${CARGO_TARGET_DIR:-$root/target}
# rustup puts cargo here, and a login shell's profile may not have been read.
[[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
# iptables and ip are in these, which an ordinary user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin
export PATH

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# need_tools COMMAND:PACKAGE...: installs the Debian packages of missing commands
# when root, else says which to install.
need_tools() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    die "missing: ${missing[*]}. Install them, on Debian and Ubuntu with: sudo apt-get install ${missing[*]}"
  fi
  echo "installing ${missing[*]} ..."
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"; } \
    >/dev/null 2>&1 || die "apt-get install ${missing[*]} failed; run it by hand to see why"
}

# need_rust: makes sure of cargo and of the target that extensions are built for.
need_rust() {
  local rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  command -v cargo >/dev/null || die "Rust is missing; install it with: $rustup"
  need_tools cc:gcc
  cd "$root" || exit 1
  if ! command -v rustup >/dev/null; then
    [[ -d $(rustc --print target-libdir --target wasm32-wasip1 2>/dev/null) ]] ||
      die "this Rust (without rustup) has no target wasm32-wasip1; install rustup: $rustup"
    return 0
  fi
  # The first use of a toolchain installs it; older rustups want to be told.
  cargo --version >/dev/null || rustup toolchain install
  # rust-toolchain.toml names them too, but rustup adds them by itself only when
  # it installs the toolchain.
  rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
  rustup component list --installed | grep -q '^clippy' || rustup component add clippy rustfmt
}

# need_programs: finds ipqext-host and ipqext: in $IPQEXT_BIN, on the PATH, or where
# cargo built them, the faster ones first.
need_programs() {
  local place
  for place in "${IPQEXT_BIN-}" '' "$target/release" "$target/debug"; do
    if [[ -n $place && -x $place/ipqext-host ]]; then
      PATH=$place:$PATH
    fi
    command -v ipqext-host >/dev/null && return 0
  done
  die "ipqext-host is not built; build it: cargo build --release --bins"
}
