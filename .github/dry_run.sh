#!/usr/bin/env bash
# Makes an sdist and, from it alone, a wheel; looks at both, and has the wheel judge in a fresh
# environment without torch. Needs maturin, twine and, on Linux, auditwheel if it is there.
set -euo pipefail
dist=$(mkdir -p "${1:?usage: dry_run.sh FOLDER}" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
maturin sdist --manifest-path "$here/rust_ext/Cargo.toml" --out "$dist"
tar -xzf "$dist"/*.tar.gz -C "$work"
(cd "$work"/sampler_parity-* && maturin build --release --out "$work/wheel")
twine check --strict "$dist"/*.tar.gz "$work"/wheel/*.whl
if command -v auditwheel >/dev/null; then auditwheel show "$work"/wheel/*.whl; fi
python3 -m venv "$work/fresh"
"$work/fresh/bin/pip" install --quiet "$work"/wheel/*.whl
cd "$work"
fresh/bin/python "$here/.github/try_wheel.py"
fresh/bin/sampler-parity doctor
fresh/bin/sampler-parity list implementations
