#!/usr/bin/env bash
# What a container holds: the wheel with its dependencies, and FTorch with the program that tries an
# exported file from Fortran. The Dockerfile and the Apptainer definition call nothing else, so the
# same steps can be tried on any Debian machine:
#
#     PREFIX=$HOME/climsim STEPS="wheel environment" distribution/container/install.sh
#
# STEPS: system (needs root), wheel, environment, ftorch, check. PREFIX: where to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
PREFIX=${PREFIX:-/opt}
STEPS=${STEPS:-system wheel environment ftorch check}
PYTHON=${PYTHON:-python3}
FTORCH_VERSION=v1.0.0
BIN=$PREFIX/climsim/bin

system() {
    apt-get update
    apt-get install --yes --no-install-recommends \
        ca-certificates cmake g++ gfortran git make python3 python3-dev python3-venv
    rm -rf /var/lib/apt/lists/*
}

wheel() {
    "$PYTHON" -m venv "$PREFIX/build"
    "$PREFIX/build/bin/python" -m pip install --quiet build
    "$PREFIX/build/bin/python" -m build --wheel --outdir "$PREFIX/dist" .
    rm -rf "$PREFIX/build"
}

environment() {
    "$PYTHON" -m venv "$PREFIX/climsim"
    # As in the Makefile: torch with what it requires here, then the lists, which name everything.
    "$BIN/python" -m pip install --quiet -c constraints.txt torch
    "$BIN/python" -m pip install --quiet --no-deps -c constraints.txt -r requirements/demo.txt
    "$BIN/python" -m pip install --quiet --no-deps "$PREFIX"/dist/*.whl
}

ftorch() {
    local torch source=$PREFIX/ftorch-source
    torch=$("$BIN/python" -c "import torch; print(torch.utils.cmake_prefix_path)")
    git clone --quiet --depth 1 --branch "$FTORCH_VERSION" \
        https://github.com/Cambridge-ICCS/FTorch "$source"
    cmake -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_PREFIX_PATH="$torch" -DGPU_DEVICE=NONE -DCMAKE_INSTALL_PREFIX="$PREFIX/ftorch"
    cmake --build "$source/build" --parallel --target install
    cmake -S fortran -B "$PREFIX/fortran" -DCMAKE_PREFIX_PATH="$PREFIX/ftorch;$torch"
    cmake --build "$PREFIX/fortran"
    rm -rf "$source"
}

check() {
    cd /
    "$BIN/climsim" --version
    "$BIN/climsim" data variables set=interface_v2 >/dev/null
    "$BIN/climsim" doctor
}

for step in $STEPS; do
    "$step"
done
