"""The main path of the model that the README names can be read in one sitting."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 2200


def test_the_main_path_of_the_model_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`", text.split("The model: ", 1)[1].split("##", 1)[0])
    folder, files = ROOT / "ncpl", []
    for name in named:
        path = ROOT / "ncpl" / name.removeprefix("ncpl/")
        path = path if path.is_file() else folder / name
        folder = path.parent
        files.append(path)
    assert len(files) == 11
    assert sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files) <= MOST_LINES
