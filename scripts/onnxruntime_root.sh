#!/usr/bin/env bash
# Lay out ONNX Runtime for compiled programs where no release of it can be downloaded: the library of
# the Python wheel, and the headers, which the wheel lacks, of Debian's libonnxruntime-dev (nothing is
# installed; a library newer than its headers serves them).
#   scripts/onnxruntime_root.sh FOLDER [PYTHON]
# Needed: apt-get and dpkg. Afterwards FOLDER holds include/ and lib/.
set -euo pipefail
root=${1:?which folder to make, for example build/onnxruntime-root}
python=${2:-.venv/bin/python}
suite=trixie # the first with these headers
mkdir -p "$root/lib"
root=$(cd "$root" && pwd)
library=$("$python" -c 'import pathlib, onnxruntime as o; print(*pathlib.Path(o.__file__).parent.glob("capi/libonnxruntime.so.*"))')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=-
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
cd "$work"
"${apt[@]}" update
"${apt[@]}" download libonnxruntime-dev
dpkg-deb --extract libonnxruntime-dev_*.deb headers
rm -rf "$root/include"
mv headers/usr/include/onnxruntime "$root/include"
for name in libonnxruntime.so libonnxruntime.so.1; do ln -sfn "$library" "$root/lib/$name"; done
