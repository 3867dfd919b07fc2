"""A file as large as LLaVA 1.5's mix is opened in seconds, again in less, and never held as a whole. In processor time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from llava_files import draw, talk

ROWS, BYTES = 665_000, 1_000_000_000
OPEN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from llava_files import opened
from fila_lab.cost.resident import resident
started = time.process_time()
suite = opened(Path(sys.argv[2]) / "cache", Path(sys.argv[2]) / "mix.json")
seconds = time.process_time() - started
identity = suite.identity("train")
items = [suite.items("train", index)[0] for index in range(0, suite.length("train"), 5000)]
peak = resident(peak=True) / 2**30
print(json.dumps([seconds, peak, suite.length("train"), len(suite.set_aside("train")), identity, items[7].item_id, len(items)]))
"""


def write_mix(folder: Path) -> None:
    """Rows of one to eight turns about a thousand images; every fortieth is text only, every hundred-thousandth has no answer."""
    drawn = random.Random(0)
    words = ["the", "page", "shows", "a", "total", "of", "seven", "red", "cars", "behind", "two", "été", "houses", "near", "41.20"]
    images = [f"coco/train2017/{number:012d}.png" for number in range(1000)]
    draw(folder, *images, size=(8, 6))
    paragraphs = [" ".join(drawn.choices(words, k=drawn.randint(5, 64))) for _ in range(500)]
    bodies = []
    for _ in range(2000):
        texts = [drawn.choice(paragraphs) for _ in range(2 * drawn.choice([1, 1, 3, 5, 8]))]
        bodies.append(json.dumps(talk(f"<image>\n{texts[0]}", *texts[1:]), ensure_ascii=drawn.random() < 0.5))
    alone, unanswered = json.dumps(talk("Name a prime.", "7")), json.dumps(talk("Name a prime."))
    with (folder / "mix.json").open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            file.write("[" if number == 0 else ", ")
            if number % 40 == 7:
                file.write(f'{{"id": "{number}", "conversations": {unanswered if number % 100_000 == 7 else alone}}}')
            else:
                file.write(f'{{"id": "{number}", "image": "{images[number % 1000]}", "conversations": {bodies[number % 2000]}}}')
        file.write("]")


@pytest.mark.slow
def test_a_mix_of_665_000_rows_is_opened_in_seconds(tmp_path: Path) -> None:
    write_mix(tmp_path)
    size = (tmp_path / "mix.json").stat().st_size
    assert size > BYTES
    seen = []
    for _ in range(2):
        command = [sys.executable, "-c", OPEN, str(Path(__file__).parent), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seen.append(json.loads(done.stdout))
        print(f"{size / 1e9:.2f} GB: {seen[-1][0]:.2f} s of processor time, at most {seen[-1][1]:.3f} GiB")
    (first, peak, *said), (second, _, *again) = seen
    assert said == again
    assert (said[0], said[1], said[3]) == (ROWS - 7, 7, "35001")  # one before it has no answer
    assert first < 15
    assert peak < 1.5
    assert second < 2
