#!/usr/bin/env bash
# Runs tests on what this machine is not: aarch64 with NEON alone, with dot products and with the int8 matrix extension,
# and the x86-64 release binary without and with AVX2, all of them emulated; WebAssembly in node; the Windows release
# binary in wine. For macOS the code is type-checked.
#
# Needs an x86-64 Linux with Debian's package servers and Rust's in reach, but no root: what is not installed is unpacked
# into target/cross and found there by the next run. What cannot be had is named, and counted as skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

arm=aarch64-unknown-linux-gnu wasm=wasm32-wasip1 windows=x86_64-pc-windows-gnu macos=aarch64-apple-darwin
targets=($arm $wasm $windows $macos)
# Seconds for all of it, those of them that a build leaves to what comes after it, and those after which a program hangs.
budget=${TRITFORGE_CROSS_SECONDS:-600} reserve=60 run_limit=300

root=${CARGO_TARGET_DIR:-$PWD/target}/cross
tools=$root/tools
log=$root/log
rm -rf "$root/bin"
mkdir -p "$root/bin" "$tools"
: >"$log"

# ---- The summary.

rows=() reasons=() failed=0 skipped=0
row() { rows+=("$(printf '%-15s %-54s %6s %6s %7s %9s %7s' "$@")"); }
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
    printf '\n%-15s %-54s %6s %6s %7s %9s %7s\n' \
        where "tests passed that name an instruction set" passed failed ignored elsewhere seconds
    printf '%s\n' "${rows[@]}"
    if [ ${#reasons[@]} -gt 0 ]; then
        printf 'Ignored, and why:\n'
        printf '%s\n' "${reasons[@]}"
    fi
    echo "$failed failed, $skipped skipped, $SECONDS seconds in all"
    [ "$failed" = 0 ] || exit 1
    exit 0
}

# Seconds that are left of the budget, less some; at least one, for `timeout` takes zero for ever.
left() {
    local left=$((budget - SECONDS - $1))
    echo $((left > 0 ? left : 1))
}
# Seconds that a program may take.
limit() {
    local left
    left=$(left 0)
    echo $((left < run_limit ? left : run_limit))
}

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    skip "all" "not an x86-64 Linux"
    finish
fi

# ---- The tools: compilers, linkers and emulators.

# Whether all of these programs are there.
have() {
    local program
    for program; do command -v "$program" >/dev/null || return 1; done
}

lists=
# Package lists of our own, so that neither root nor a change of the system's is needed.
apt_lists() {
    case $lists in
    here) return 0 ;;
    missing) return 1 ;;
    esac
    lists=missing
    have apt-get dpkg || return 1
    mkdir -p "$root/apt/state/lists/partial" "$root/apt/cache/archives/partial"
    cat >"$root/apt/conf" <<END
Dir::State "$root/apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$root/apt/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
END
    export APT_CONFIG=$root/apt/conf
    timeout 60 apt-get update >>"$log" 2>&1 || return 1
    lists=here
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

# Unpacks packages into $tools, once. What a package of another architecture depends on, nothing here executes.
unpack() {
    local folder=$root/apt/debs deb package native=() foreign=()
    local done="$tools/${*//[^a-z0-9 ]/_}"
    done=${done// /+}
    [ ! -e "$done" ] || return 0
    apt_lists || return 1
    for package; do
        case $package in *:*) foreign+=("$package") ;; *) native+=("$package") ;; esac
    done
    mapfile -t native < <(closure "${native[@]}")
    rm -rf "$folder" && mkdir -p "$folder"
    (cd "$folder" && timeout 120 apt-get download -q "${native[@]}" "${foreign[@]}" >>"$log" 2>&1) || return 1
    for deb in "$folder"/*.deb; do dpkg -x "$deb" "$tools" || return 1; done
    rm -rf "$folder"
    touch "$done"
}

# A script in $root/bin that runs a program with libraries that are unpacked.
wrapper() {
    local name=$1 libraries=$2 program=$3
    shift 3
    cat >"$root/bin/$name" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $program $* "\$@"
END
    chmod +x "$root/bin/$name"
}
unpacked() {
    local name=$1 program=$2
    shift 2
    wrapper "$name" "$tools/usr/lib/x86_64-linux-gnu" "$tools/usr/$program" "$@"
}

has_std() {
    local target
    for target in "${@:2}"; do
        ls "$("$1" --print target-libdir --target "$target" 2>/dev/null)"/libstd-*.rlib >/dev/null 2>&1 || return 1
    done
}
use_rustc() {
    wrapper rustc "$1" "$2/rustc"
    wrapper rustdoc "$1" "$2/rustdoc"
    export RUSTC=$root/bin/rustc RUSTDOC=$root/bin/rustdoc
}
# The compiler that is installed, where it has the standard libraries; else the same version with them, in a folder of
# our own; else, for Arm alone, Debian's.
compiler() {
    local version rustup=$root/rustup/toolchains
    has_std "${RUSTC:-rustc}" "${targets[@]}" && return
    version=$("${RUSTC:-rustc}" --version | cut -d ' ' -f 2)
    rustup+=/$version-x86_64-unknown-linux-gnu
    wrapper probe "$rustup/lib" "$rustup/bin/rustc"
    if ! has_std "$root/bin/probe" "${targets[@]}" && have rustup; then
        RUSTUP_HOME=$root/rustup timeout 120 rustup toolchain install "$version" --no-self-update --profile minimal \
            --target "$(IFS=, && echo "${targets[*]}")" >>"$log" 2>&1 || true
    fi
    if has_std "$root/bin/probe" "${targets[@]}"; then
        use_rustc "$rustup/lib" "$rustup/bin"
    elif ! has_std "${RUSTC:-rustc}" $arm && unpack rustc-web libstd-rust-web-dev:arm64; then
        use_rustc "$tools/usr/lib/x86_64-linux-gnu" "$tools/usr/bin"
    fi
}
compiler
std=" "
for target in "${targets[@]}"; do
    if has_std "${RUSTC:-rustc}" $target; then std+="$target "; fi
done
export PATH=$root/bin:$PATH

# The emulators. An emulated program must not see the library path of its emulator.
if ! have qemu-aarch64 qemu-x86_64 && unpack qemu-user; then
    unpacked qemu-aarch64 bin/qemu-aarch64 -E LD_LIBRARY_PATH=
    unpacked qemu-x86_64 bin/qemu-x86_64 -E LD_LIBRARY_PATH=
fi

arm_libraries=/usr/aarch64-linux-gnu
if ! have aarch64-linux-gnu-gcc && unpack gcc-aarch64-linux-gnu libc6-dev-arm64-cross; then
    arm_libraries=$tools/usr/aarch64-linux-gnu
    unpacked aarch64-linux-gnu-gcc bin/aarch64-linux-gnu-gcc --sysroot="$tools" \
        -B"$(echo "$tools"/usr/lib/gcc-cross/aarch64-linux-gnu/[0-9]*)" -B"$arm_libraries/lib" -L"$arm_libraries/lib"
fi

if ! have x86_64-w64-mingw32-gcc x86_64-w64-mingw32-dlltool && unpack gcc-mingw-w64-x86-64-win32; then
    unpacked x86_64-w64-mingw32-gcc bin/x86_64-w64-mingw32-gcc-win32
    unpacked x86_64-w64-mingw32-dlltool bin/x86_64-w64-mingw32-dlltool
    unpacked x86_64-w64-mingw32-as bin/x86_64-w64-mingw32-as
fi

if ! have wine64 wineserver && unpack wine64; then
    # Two paths in the packages are absolute.
    unpacked wineserver lib/wine/wineserver64 -p0
    cp "$root/bin/wineserver" "$tools/usr/lib/wine/wineserver"
    ln -sf "$tools/usr/x86_64-w64-mingw32/lib/zlib1.dll" "$tools/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/"
    unpacked wine64 lib/wine/wine64
fi
export WINEPREFIX=$root/wine WINEDEBUG=-all
echo "tools: $(${RUSTC:-rustc} -V); standard libraries:$std; $SECONDS s"

# ---- Building.

verb=build
# Builds for a target, or tells in these rows of the summary why not.
build() {
    local target=$1 names=$2 status=0 name
    shift 2
    case $std in
    *" $target "*)
        timeout "$(left $reserve)" cargo $verb --locked --target "$target" --target-dir "$root/build" "$@" \
            --message-format json-render-diagnostics 2>"$root/build.log" >"$root/messages" || status=$?
        cat "$root/build.log" >>"$log"
        ;;
    *) status=none ;;
    esac
    case $status in
    0) echo "$verb for $target; $SECONDS s" && return ;;
    none) for name in $names; do skip "$name" "no standard library for $target"; done ;;
    124) for name in $names; do skip "$name" "the build took too long"; done ;;
    *)
        fail "$target" "does not build"
        grep -E '^(error|warning)' -A 12 "$root/build.log" | tail -60 >&2
        ;;
    esac
    return 1
}
# In the dev profile, but with dependencies as they compile fastest: what is tested does not stand in them. What the host
# needs for building is the same for every target, and built once.
build_dev() {
    CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 build "$@" --config 'profile.dev.package."*".opt-level=0'
}

# The executable of a target, from cargo's messages.
executable() { sed -n "s/.*\"name\":\"$1\",.*\"executable\":\"\([^\"]*\)\".*/\1/p" "$root/messages" | tail -1; }

# ---- Tests, their counts added up for a row of the summary.

begin() { start=$SECONDS passed=0 bad=0 ignored=0 elsewhere=0 isas="" why=""; }
# Runs a test binary with its arguments by `runner`.
tests() {
    local name=$1 binary=$2 output status=0 limit
    shift 2
    limit=$(limit)
    output=$(cd tests && timeout "$limit" "${runner[@]}" "$binary" "$@" 2>&1) || status=$?
    printf '%s\n' "== $name $binary $*" "$output" >>"$log"
    if [ $status = 124 ] && [ "$limit" -lt $run_limit ]; then
        skip "$name" "no time left for ${binary##*/}"
    elif [ $status != 0 ]; then
        fail "$name" "${binary##*/} ended with $status"
        tail -40 <<<"$output" >&2
    fi
    local counts
    counts=$(sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored; 0 measured; \([0-9]*\) filtered.*/\1 \2 \3 \4/p' <<<"$output")
    read -r p f i e <<<"${counts:-0 0 0 0}"
    passed=$((passed + p)) bad=$((bad + f)) ignored=$((ignored + i)) elsewhere=$((elsewhere + e))
    isas+=" $(sed -n 's/^test  *\(.*__\|[a-z0-9_]*::\)\([a-z0-9]*\)::[a-z0-9_]* *\.\.\. ok$/\2/p' <<<"$output" | tr '\n' ' ')"
    why+=$(sed -n 's/^test \[\(.*\)\] .*ignored$/\1/p' <<<"$output")$'\n'
}
end() {
    local name=$1 counts
    counts=$(tr ' ' '\n' <<<"$isas" | sed -nE '/^(portable|neon.*|simd128)$/p' | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/\2 \1/')
    row "$name" "${counts//$'\n'/, }" $passed $bad $ignored $elsewhere $((SECONDS - start))
    mapfile -t -O ${#reasons[@]} reasons < <(grep . <<<"$why" | sort | uniq -c | sed "s/^ *\([0-9]*\) /  $name: \1 tests, /")
}

# ---- The release binary, with the model that is embedded.

model=()
# Runs it, with `model` where that is set, and adds a row to the summary. An instruction set that is named is expected.
demo() {
    local name=$1 isa=$2 start=$SECONDS ok=0 status=0 found
    shift 2
    # Into files: what a program leaves behind must not keep us waiting at a pipe.
    timeout "$(limit)" "$@" run "${model[@]}" --seed 1 -n 120 -p "Once upon a time there was a king" \
        >"$root/stdout" 2>"$root/stderr" </dev/null || status=$?
    cat "$root/stderr" >>"$log"
    found=$(sed -n 's/\r$//; s/.*tokens\/s; .*; \([a-z0-9]*\)$/\1/p' "$root/stderr")
    if [ $status = 124 ] && [ "$(limit)" -lt $run_limit ]; then
        skip "$name" "no time left"
        return
    elif [ $status != 0 ]; then
        fail "$name" "ended with $status: $(tail -1 "$root/stderr")"
    elif ! cmp -s "$root/stdout" tests/golden/demo-seed-1-fast.txt; then
        fail "$name" "the text is not that of tests/golden/demo-seed-1-fast.txt"
    elif [ "${isa:-$found}" != "$found" ]; then
        fail "$name" "selects $found, not $isa"
    else
        ok=1
    fi
    row "$name" "$found $ok" $ok $((1 - ok)) 0 0 $((SECONDS - start))
}

if ! have qemu-x86_64; then
    for cpu in Nehalem Haswell; do skip $cpu "no emulator ($log)"; done
else
    status=0
    # With the host's own compiler, as it is released.
    (unset RUSTC RUSTDOC; timeout "$(left $reserve)" cargo build --release --locked -p tritforge 2>>"$log") ||
        status=$?
    binary=${CARGO_TARGET_DIR:-$PWD/target}/release/tritforge
    case $status in
    0)
        demo Nehalem portable qemu-x86_64 -cpu Nehalem "$binary"
        demo Haswell avx2 qemu-x86_64 -cpu Haswell "$binary"
        ;;
    124) for cpu in Nehalem Haswell; do skip $cpu "the build took too long"; done ;;
    *) fail x86-64 "the release binary does not build" ;;
    esac
fi

# What is short comes first: the emulated Arm tests would take all the time there is.

# ---- WebAssembly, which has no threads: kernels and interpreters, one test at a time.

if ! have node; then
    skip wasm32 "no node, which is not taken from a package: Debian's knows its folders by absolute paths"
# The memory is as large from the start as the tests need: node 20 crashes now and then where it grows.
elif CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=+simd128 -C link-arg=--initial-memory=2147483648" \
    build_dev $wasm wasm32 -p tritforge-tests --test kernels --test interpreters; then
    runner=(node --no-warnings "$PWD/tests/wasi.mjs")
    begin
    tests wasm32 "$(executable kernels)" --test-threads 1
    tests wasm32 "$(executable interpreters)" --test-threads 1 --skip _equals_naive
    end wasm32
fi

# ---- macOS, for which nothing here links or runs.

start=$SECONDS verb=check
if build_dev $macos macos -p tritforge -p tritforge-benches --lib --bins; then
    row macos "type-checked, not run" - - - - $((SECONDS - start))
fi
verb=build

# ---- Arm.

# The tests on one CPU, but those whose names hold one of these patterns, which other CPUs have passed before, and those that
# wait for `rest_of_arm`: of the portable kernels, which WebAssembly has had, and of models whose names do not hold
# `models_of`.
arm() {
    local cpu=$1 models_of=$2 before=(--skip portable::) pattern
    shift 2
    for pattern; do before+=(--skip "$pattern"); done
    runner=(qemu-aarch64 -cpu "$cpu" -L "$arm_libraries")
    begin
    tests "$cpu" "$kernels" "${before[@]}"
    # That interpreters return the naive product depends on no CPU.
    tests "$cpu" "$interpreters" --skip _equals_naive
    # Thousands of tokens, minutes under emulation.
    tests "$cpu" "$models" --skip perplexity
    tests "$cpu" "$same_bits" "$models_of" "${before[@]}" --skip 1_threads --skip 3_threads
    end "$cpu"
}

if ! have qemu-aarch64 aarch64-linux-gnu-gcc; then
    for cpu in cortex-a53 cortex-a76 max; do skip $cpu "no emulator or linker ($log)"; done
else
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(command -v aarch64-linux-gnu-gcc)
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER
    if build_dev $arm "cortex-a53 cortex-a76 max" -p tritforge-tests --test kernels --test interpreters --test models \
        --test same_bits; then
        kernels=$(executable kernels) interpreters=$(executable interpreters)
        models=$(executable models) same_bits=$(executable same_bits)
        arm cortex-a53 demo
        # What these have more is products of integers: ternary ones, and those of heads.
        arm cortex-a76 demo_head neon:: attend_
        arm max demo_head neon:: neondotprod:: attend_
    fi
fi

# What emulation takes the most minutes for and would leave nothing of for others: a CPU, its instruction set, and the models
# that it has had.
rest_of_arm() {
    local cpu=$1 isa=$2 had=$3 portable=$4
    runner=(qemu-aarch64 -cpu "$cpu" -L "$arm_libraries")
    begin
    tests "$cpu" "$same_bits" "$isa::" --skip "$had" --skip 1_threads --skip 3_threads
    if [ -n "$portable" ]; then
        tests "$cpu" "$same_bits" digest --skip "$had"
        tests "$cpu" "$kernels" portable::
        tests "$cpu" "$same_bits" portable:: --skip 1_threads --skip 3_threads
    fi
    end "$cpu rest"
}

# ---- Windows.

if ! have x86_64-w64-mingw32-gcc wine64; then
    skip windows "no linker or wine ($log)"
elif build $windows windows --release -p tritforge --bin tritforge; then
    binary=$(executable tritforge)
    # Older versions of wine lack the library whose one function gives Rust's standard library its random numbers.
    printf 'EXPORTS\nProcessPrng = advapi32.SystemFunction036\n' >"$root/prng.def"
    x86_64-w64-mingw32-gcc -shared -nostdlib -o "${binary%/*}/bcryptprimitives.dll" "$root/prng.def" 2>>"$log"
    # Neither wine's services nor its copies of its libraries outlive this.
    trap '(wineserver -k; rm -rf "$WINEPREFIX") >>"$log" 2>&1 || true' EXIT
    demo windows "" wine64 "$binary"
    rm -f "$root/demo.gguf"
    timeout "$(limit)" wine64 "$binary" convert tests/fixtures/demo/packed "$root/demo.gguf" </dev/null >>"$log" 2>&1 ||
        fail windows "cannot write a model"
    model=("$root/demo.gguf")
    demo "windows, a file" "" wine64 "$binary"
fi

# ---- What is long.

if [ -n "${kernels:-}" ]; then
    rest_of_arm cortex-a53 neon demo portable
    rest_of_arm cortex-a76 neondotprod demo_head ""
    rest_of_arm max neoni8mm demo_head ""
fi
finish
