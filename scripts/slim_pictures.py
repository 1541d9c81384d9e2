"""Make a report, a notebook or a picture small enough to be kept with the documentation.

    python scripts/slim_pictures.py IN.html OUT.html
    python scripts/slim_pictures.py IN.ipynb OUT.ipynb
    python scripts/slim_pictures.py IN.png OUT.png

Pictures get a palette of 128 colours, which diagrams bear well; nothing else changes.
"""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

from PIL import Image

COLOURS = 128
_EMBEDDED = re.compile(r'(data:image/png;base64,|"image/png": ")([A-Za-z0-9+/=]+)')
"""In a page; in a notebook."""


def slim(picture: bytes) -> bytes:
    """Give a PNG a palette; as it was where that is no smaller."""
    stream = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS).save(stream, "PNG", optimize=True)
    return min(picture, stream.getvalue(), key=len)


def slim_report(text: str) -> str:
    """Slim every picture that a page or a notebook holds."""

    def smaller(found: re.Match[str]) -> str:
        picture = slim(base64.b64decode(found[2]))
        return found[1] + base64.b64encode(picture).decode()

    return _EMBEDDED.sub(smaller, text)


def main(source: Path, target: Path) -> None:
    """Write the small form of a file, in its place if it is the same, and say what it saves."""
    before = source.stat().st_size
    if source.suffix == ".png":
        target.write_bytes(slim(source.read_bytes()))
    else:
        target.write_text(slim_report(source.read_text()))
    print(f"{target}: {target.stat().st_size / 2**10:.0f} KiB, was {before / 2**10:.0f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("slim_pictures.py: expected IN and OUT, two .html, two .ipynb or two .png files")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
