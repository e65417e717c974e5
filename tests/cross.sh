#!/usr/bin/env bash
# Runs tests on processors that this machine does not have: aarch64 with NEON alone, with dot products and with the int8
# matrix extension, and the x86-64 release binary without and with AVX2, all of them emulated.
#
# Needs an x86-64 Linux with Debian's package servers in reach, but no root: what is not installed is unpacked into
# target/cross and found there by the next run. What cannot be had is named, and counted as skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

target=aarch64-unknown-linux-gnu
# Seconds for all of it, those of them that are left to the tests however long the build takes, and those after which one
# run of tests hangs.
budget=600 for_tests=200 run_limit=180

root=${CARGO_TARGET_DIR:-$PWD/target}/cross
tools=$root/tools
log=$root/log
rm -rf "$root/bin"
mkdir -p "$root/bin"
: >"$log"

# ---- The summary.

rows=() reasons=() failed=0 skipped=0
row() { rows+=("$(printf '%-15s %-38s %6s %6s %7s %9s %7s' "$@")"); }
skip() {
    echo "skipped: $1: $2"
    row "$1" "skipped: $2" - - - - -
    skipped=$((skipped + 1))
}
fail() {
    echo "FAILED: $1: $2" >&2
    failed=$((failed + 1))
}
finish() {
    printf '\n%-15s %-38s %6s %6s %7s %9s %7s\n' \
        CPU "instruction sets run" passed failed ignored elsewhere seconds
    printf '%s\n' "${rows[@]}"
    if [ ${#reasons[@]} -gt 0 ]; then
        printf 'Ignored, and why:\n'
        printf '%s\n' "${reasons[@]}"
    fi
    echo "$failed failed, $skipped skipped, $SECONDS seconds in all"
    [ "$failed" = 0 ] || exit 1
    exit 0
}

# ---- The tools: a compiler and a linker for aarch64, and the emulators.

# Package lists of our own, so that neither root nor a change of the system's is needed.
apt_lists() {
    command -v apt-get dpkg >/dev/null || return 1
    mkdir -p "$root/apt/state/lists/partial" "$root/apt/cache/archives/partial"
    cat >"$root/apt/conf" <<END
Dir::State "$root/apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$root/apt/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
END
    export APT_CONFIG=$root/apt/conf
    timeout 120 apt-get update >>"$log" 2>&1
}

# Packages and all that they depend on, except what is installed.
closure() {
    local level=("$@") seen=" " package next
    while [ ${#level[@]} -gt 0 ]; do
        next=()
        for package in "${level[@]}"; do
            case $seen in *" $package "*) continue ;; esac
            seen+="$package "
            [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || next+=("$package")
        done
        [ ${#next[@]} -gt 0 ] || break
        printf '%s\n' "${next[@]}"
        mapfile -t level < <(apt-cache depends "${next[@]}" 2>>"$log" | sed -n 's/^ *|\{0,1\}Depends: \([^<]*\)$/\1/p')
    done
}

# Unpacks packages into $tools, once.
unpack() {
    local folder=$root/apt/debs deb packages
    [ "$(cat "$tools/packages" 2>/dev/null)" = "$*" ] && return
    apt_lists || return 1
    mapfile -t packages < <(closure "$@")
    rm -rf "$folder" "$tools" && mkdir -p "$folder" "$tools"
    # The standard library for aarch64 is a package of that architecture; what it depends on, nothing here executes.
    (cd "$folder" && timeout 240 apt-get download -q "${packages[@]}" $std >>"$log" 2>&1) || return 1
    for deb in "$folder"/*.deb; do dpkg -x "$deb" "$tools" || return 1; done
    rm -rf "$folder"
    echo "$*" >"$tools/packages"
}

# A script in $root/bin that runs a program of $tools.
wrapper() {
    local name=$1 program=$2
    shift 2
    cat >"$root/bin/$name" <<END
#!/bin/sh
LD_LIBRARY_PATH=$tools/usr/lib/x86_64-linux-gnu exec $tools/usr/bin/$program $* "\$@"
END
    chmod +x "$root/bin/$name"
}

# What is installed is used; the rest comes from packages.
want=() std=
has_std() { ls "$("$1" --print target-libdir --target $target 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1; }
has_std "${RUSTC:-rustc}" || want+=(rustc-web)
command -v aarch64-linux-gnu-gcc >/dev/null || want+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
command -v qemu-aarch64 qemu-x86_64 >/dev/null || want+=(qemu-user)
case " ${want[*]} " in *" rustc-web "*) std=libstd-rust-web-dev:arm64 ;; esac

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    skip "all" "not an x86-64 Linux"
    finish
fi
if [ ${#want[@]} -gt 0 ] && ! unpack "${want[@]}"; then
    skip "all" "no packages ($log)"
    finish
fi
libraries=/usr/aarch64-linux-gnu
for package in "${want[@]}"; do
    case $package in
    rustc-web)
        wrapper rustc rustc
        wrapper rustdoc rustdoc
        export RUSTC=$root/bin/rustc RUSTDOC=$root/bin/rustdoc
        ;;
    gcc-aarch64-linux-gnu)
        libraries=$tools/usr/aarch64-linux-gnu
        wrapper aarch64-linux-gnu-gcc aarch64-linux-gnu-gcc --sysroot="$tools" \
            -B"$(echo "$tools"/usr/lib/gcc-cross/aarch64-linux-gnu/[0-9]*)" -B"$libraries/lib" -L"$libraries/lib"
        ;;
    qemu-user)
        # The emulated program must not see the library path of the emulator.
        wrapper qemu-aarch64 qemu-aarch64 -E LD_LIBRARY_PATH=
        wrapper qemu-x86_64 qemu-x86_64 -E LD_LIBRARY_PATH=
        ;;
    esac
done
export PATH=$root/bin:$PATH
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(command -v aarch64-linux-gnu-gcc)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER
echo "tools: $(${RUSTC:-rustc} -V); $(qemu-aarch64 --version | head -1); $SECONDS s"

# ---- Arm.

# Runs a test binary of the cross build on a CPU and adds to the counts of that CPU.
emulated() {
    local cpu=$1 binary=$2 output status=0 limit=$((budget - SECONDS))
    shift 2
    [ $limit -lt $run_limit ] || limit=$run_limit
    # For `timeout`, zero is for ever.
    [ $limit -gt 0 ] || limit=1
    output=$(cd tests && timeout $limit qemu-aarch64 -cpu "$cpu" -L "$libraries" "$binary" "$@" 2>&1) || status=$?
    printf '%s\n' "== $cpu $binary $*" "$output" >>"$log"
    if [ $status = 124 ] && [ $limit -lt $run_limit ]; then
        skip "$cpu" "no time left for ${binary##*/}"
    elif [ $status != 0 ]; then
        fail "$cpu" "${binary##*/} ended with $status"
        tail -40 <<<"$output" >&2
    fi
    local counts
    counts=$(sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored; 0 measured; \([0-9]*\) filtered.*/\1 \2 \3 \4/p' <<<"$output")
    read -r p f i e <<<"${counts:-0 0 0 0}"
    passed=$((passed + p)) bad=$((bad + f)) ignored=$((ignored + i)) elsewhere=$((elsewhere + e))
    isas+=" $(sed -n 's/^test  *\(.*__\|[a-z0-9_]*::\)\([a-z0-9]*\)::[a-z0-9_]* *\.\.\. ok$/\2/p' <<<"$output" | tr '\n' ' ')"
    why+=$(sed -n 's/^test \[\(.*\)\] .*ignored$/\1/p' <<<"$output")$'\n'
}

# The tests on one CPU. What a lower level computes was compared there; `same_bits` leaves it out here.
arm() {
    local cpu=$1 start=$SECONDS known
    shift
    passed=0 bad=0 ignored=0 elsewhere=0 isas="" why=""
    emulated "$cpu" "$kernels"
    # That interpreters return the naive product depends on no CPU.
    emulated "$cpu" "$interpreters" --skip _equals_naive
    # Thousands of tokens, minutes under emulation.
    emulated "$cpu" "$models" --skip perplexity
    emulated "$cpu" "$same_bits" --skip 1_threads --skip 3_threads "$@"
    known=$(tr ' ' '\n' <<<"$isas" | grep -E '^(portable|neon.*)$' | sort -u | tr '\n' ' ')
    row "$cpu" "$known" $passed $bad $ignored $elsewhere $((SECONDS - start))
    mapfile -t -O ${#reasons[@]} reasons < <(grep . <<<"$why" | sort | uniq -c | sed "s/^ *\([0-9]*\) /  $cpu: \1 tests, /")
}

# The executable of a test target, from cargo's messages.
executable() { sed -n "s/.*\"name\":\"$1\",.*\"executable\":\"\([^\"]*\)\".*/\1/p" "$root/messages" | tail -1; }

# In the dev profile, but with dependencies as they compile fastest: the kernels and the forward pass do not stand in them.
if CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 timeout $((budget - for_tests - SECONDS)) cargo build --locked --target $target \
    --target-dir "$root/build" -p tritforge-tests --test kernels --test interpreters --test models --test same_bits \
    --config 'profile.dev.package."*".opt-level=0' --message-format json-render-diagnostics 2>>"$log" >"$root/messages"; then
    echo "built for aarch64; $SECONDS s"
    kernels=$(executable kernels) interpreters=$(executable interpreters)
    models=$(executable models) same_bits=$(executable same_bits)
    arm cortex-a53
    arm cortex-a76 --skip ::portable:: --skip ::neon::
    arm max --skip ::portable:: --skip ::neon:: --skip ::neondotprod::
elif [ $? = 124 ]; then
    for cpu in cortex-a53 cortex-a76 max; do skip $cpu "the build took too long"; done
else
    fail "$target" "does not build"
    grep -E '^(error|warning)' -A 12 "$log" | tail -60 >&2
fi

# ---- x86-64: the release binary without and with AVX2.

x86() {
    local cpu=$1 isa=$2 start=$SECONDS ok=0 text
    text=$(timeout $run_limit qemu-x86_64 -cpu "$cpu" "$binary" run --seed 1 -n 120 \
        -p "Once upon a time there was a king" 2>"$root/stderr") || fail "$cpu" "$(tail -1 "$root/stderr")"
    cat "$root/stderr" >>"$log"
    if [ "$text" != "$(cat tests/golden/demo-seed-1.txt)" ]; then
        fail "$cpu" "the text is not that of tests/golden/demo-seed-1.txt"
    elif ! grep -q "; $isa\$" "$root/stderr"; then
        fail "$cpu" "does not select $isa: $(tail -1 "$root/stderr")"
    else
        ok=1
    fi
    row "$cpu" "$isa" $ok $((1 - ok)) 0 0 $((SECONDS - start))
}

# With the host's own compiler, as it is released.
if (unset RUSTC RUSTDOC; cargo build --release --locked -p tritforge 2>>"$log"); then
    binary=${CARGO_TARGET_DIR:-$PWD/target}/release/tritforge
    x86 Nehalem portable
    x86 Haswell avx2
else
    fail "x86-64" "the release binary does not build"
fi
finish
