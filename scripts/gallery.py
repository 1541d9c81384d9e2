"""Write the gallery of figures from the report that is kept with the documentation.

    python scripts/gallery.py

Every figure of the package gets its picture from that report, the first of its variants, and the
command that draws it. One that the report lacks gets the picture of made-up metrics that the tests
compare with.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image

from climsim.figures.registry import FigureSpec, figure_table
from slim_pictures import slim

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REPORT = DOCS / "_static" / "quick" / "report.html"
PICTURES = DOCS / "_static" / "gallery"
BASELINE = ROOT / "tests" / "figures" / "baseline"
PAGE = DOCS / "gallery.md"
WIDTH = 720
"""Widest picture [px]."""
_MADE_UP = "Drawn from made-up metrics: the report of `quick` is older or has no data for it."
_FILES = {"": "offline=offline.nc online=online.nc", "ranking": "hindcasts=hindcasts.nc"}
"""What figures are drawn from, by their names; the rest are drawn from the first."""
_INTRODUCTION = """\
# Gallery of figures

Every figure that `climsim figures` draws, from the report of [the quick study](quick.md) (small
networks on a coarse climate model: how the figures look, not how good emulators can be), with the
command that draws it from saved metrics. [Figures](figures.md) has their definitions,
[the report](_static/quick/report.html) further variants.
"""


def picture_of(name: str, report: str) -> bytes | None:
    """The first picture of a figure in a report, as PNG; None where there is none."""
    # Names begin alike, so that the variant must be what follows.
    pattern = rf'<figure id="figure-{name}(?:-[^"]*)?">.*?data:image/png;base64,([A-Za-z0-9+/=]+)'
    found = re.search(pattern, report, re.DOTALL)
    return base64.b64decode(found[1]) if found else None


def small(picture: bytes) -> bytes:
    """A picture no wider than the page."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((WIDTH, 10 * WIDTH))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return slim(stream.getvalue())


def entry(spec: FigureSpec, real: bool) -> str:
    """One figure on the page."""
    caption = spec.caption if real else f"{spec.caption} {_MADE_UP}"
    return f"""
## {spec.title}

![{spec.title}](_static/gallery/{spec.name}.png)

{caption}

<!-- tested-by: tests/figures/test_figures.py -->
```sh
climsim figures {_FILES.get(spec.name, _FILES[""])} \\
    only={spec.name} out=figures
```
"""


def page(report: str, measured: str) -> str:
    """The text of the page."""
    figures = figure_table().values()
    entries = [entry(spec, picture_of(spec.name, report) is not None) for spec in figures]
    return f"---\nmeasured: {measured}\n---\n\n" + _INTRODUCTION + "".join(entries)


def measured() -> str:
    """When the study of the report was made, as its page says."""
    found = re.search(r"^measured: ([^;\n]+)", (DOCS / "quick.md").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def main() -> None:
    """Write page and pictures."""
    report = REPORT.read_text()
    PICTURES.mkdir(exist_ok=True)
    for name in figure_table():
        picture = picture_of(name, report) or (BASELINE / f"{name}.png").read_bytes()
        (PICTURES / f"{name}.png").write_bytes(small(picture))
    PAGE.write_text(page(report, measured()))


if __name__ == "__main__":
    main()
