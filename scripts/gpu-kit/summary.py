"""Prints what the results of .gpu/on-device come to, a line or two for each part: summary.py FOLDER."""

from collections import Counter
from html.parser import HTMLParser
import json
import math
from pathlib import Path
import sys

folder = Path(sys.argv[1])
# What on-device notes of a run whose time was over, or that had none.
CUT = ("124", "137", "125")


def text(name):
    path = folder / name
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def rows(name):
    """Lines of JSON. The last one may be cut off."""
    found = []
    for line in text(name).splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return found


def mean(values):
    """The geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def last_line(name):
    lines = text(name).strip().splitlines()
    return lines[-1].strip()[:200] if lines else "nothing"


def info():
    try:
        adapters = json.loads(text("info.json"))["adapters"]
    except (ValueError, KeyError):
        return
    for adapter in adapters:
        yield f"device: {adapter['name']}, {adapter['backend']}, {adapter['driver']}"


def tests():
    results = [line.split("\t") for line in text("tests.tsv").splitlines()]
    if not results:
        return
    cut = [f"{name}, {result}" for name, status, result in results if status in CUT]
    failed = [f"{name}, {result}" for name, status, result in results if status not in ("0", *CUT)]
    yield f"tests: of {len(results)} runs {len(results) - len(cut) - len(failed)} passed, {len(failed)} failed, {len(cut)} had too little time"
    for run in failed + cut:
        yield f"  {run}"
    for path in sorted(folder.glob("test-*.txt")):
        for line in text(path.name).splitlines():
            if line.startswith("test ") and line.endswith(" FAILED"):
                yield f"  {path.stem[5:]}: {line}"
    counts = Counter()
    for line in text("cases.tsv").splitlines():
        event, kind, count = line.split("\t")
        counts[event, kind] += int(count)
    if counts:
        yield "  cases: " + ", ".join(f"{event} {count} {kind}" for (event, kind), count in sorted(counts.items()))


def verify():
    for path in sorted(folder.glob("verify-*.txt")):
        yield f"verify {path.stem[7:]}: {last_line(path.name)}"


class Cards(HTMLParser):
    """The verdict of a report's page."""

    def __init__(self):
        super().__init__()
        self.lines, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "ul" and ("class", "cards") in attributes:
            self.inside = True
        elif tag == "li" and self.inside:
            self.lines.append("")

    def handle_endtag(self, tag):
        if tag == "ul":
            self.inside = False
        elif tag == "strong" and self.inside:
            self.lines[-1] += " "

    def handle_data(self, data):
        if self.inside and self.lines:
            self.lines[-1] += data


def report():
    try:
        data = json.loads(text("report/report.json"))
    except ValueError:
        return
    yield f"report: {len(data['done'])} steps done, {data['left']} left, {len(data['problems'])} failed"
    page = Cards()
    page.feed(text("report/report.html"))
    for line in page.lines:
        yield f"  {line}"
    for problem in data["problems"][:5]:
        yield f"  failed: {problem['step']}: {problem['problem'][:200]}"


def tune():
    for path in sorted(folder.glob("tune-*.txt")):
        yield f"tune {path.stem[5:]}: {last_line(path.name)}"


def bench():
    for path in sorted(folder.glob("layers-*.jsonl")):
        octave = [row for row in rows(path.name) if row["macs_vs_plain"] < 1]
        if not octave:
            continue
        # The ideal is that time is saved as multiply-adds are.
        over = [(1 / row["vs_plain"] / row["macs_vs_plain"], row["layer"]) for row in octave]
        worst, layer = max(over)
        yield (
            f"bench {path.stem[7:]}: {len(octave)} octave layers; speed over plain"
            f" {mean([row['vs_plain'] for row in octave]):.2f}, over unfused {mean([row['vs_unfused'] for row in octave]):.2f};"
            f" time over plain's by the ratio of multiply-adds {mean([o for o, _ in over]):.2f}, worst {worst:.2f} ({layer})"
        )


def networks():
    for path in sorted(folder.glob("network-*.jsonl")):
        if whole := rows(path.name)[-1:]:
            [row] = whole
            yield (
                f"network {path.stem[8:]}: {row['ms']:.3f} ms, plain {row['plain_ms']:.3f} ms; octave / plain"
                f" {row['ratio']:.3f}, multiply-adds {row['macs_ratio']:.3f}"
            )


def octconv_times():
    """(layer or network, batch, type, form): milliseconds."""
    times = {}
    for path in folder.glob("layers-*-tuned.jsonl"):
        for row in rows(path.name):
            for form, key in (("octave", "ms"), ("plain", "plain_ms")):
                times[row["layer"], row["dtype"], form] = row[key]
    for path in folder.glob("network-*.jsonl"):
        network, batch, dtype = path.stem[8:].rsplit("-", 2)
        for row in rows(path.name)[-1:]:
            for form, key in (("octave", "ms"), ("plain", "plain_ms")):
                times[network, int(batch[1:]), dtype, form] = row[key]
    return times


def torch():
    ours = octconv_times()
    for path in sorted(folder.glob("torch-*.jsonl")):
        found = rows(path.name)
        for dtype in dict.fromkeys(row["dtype"] for row in found):
            for batch in sorted({row["batch"] for row in found}):
                line = compared(found, dtype, batch, ours)
                if line:
                    yield f"{path.stem}, {dtype}, batch {batch}: {line}"


def compared(found, dtype, batch, ours):
    """PyTorch's octave form against its plain one, and octconv's octave form against both."""
    theirs = {(row["layer"], row["form"]): row for row in found if (row["dtype"], row["batch"]) == (dtype, batch)}
    # octconv has no tf32: its rival is f32.
    own = "f32" if dtype == "tf32" else dtype
    parts = []
    for key in ("graph_ms", "eager_ms"):
        inside, octave, plain = [], [], []
        for layer in dict.fromkeys(layer for layer, _ in theirs):
            forms = [theirs.get((layer, form), {}).get(key) for form in ("octave", "plain")]
            if None in forms:
                continue
            inside.append(forms[1] / forms[0])
            network = layer.split(" alpha ")[0]
            ms = ours.get((layer, own, "octave")) or ours.get((network, batch, own, "octave"))
            if ms:
                octave.append(forms[0] / ms)
                plain.append(forms[1] / ms)
        if inside:
            parts.append(f"{key[:-3]}: its octave over its plain {mean(inside):.2f} ({len(inside)})")
            if octave:
                parts[-1] += f", octconv over its octave {mean(octave):.2f}, over its plain {mean(plain):.2f}"
    return "; ".join(parts)


def peers():
    for path in sorted(folder.glob("peers-*.jsonl")):
        found = rows(path.name)
        ours = {row["layer"]: row for row in found if row["peer"] == "octconv"}
        others = [row for row in found if row["peer"] != "octconv"]
        for form, key in (("octave", "ms"), ("plain", "plain_ms")):
            for peer in dict.fromkeys(row["peer"] for row in others):
                ratios = [row["ms"] / ours[row["layer"]][key] for row in others if (row["peer"], row["form"]) == (peer, form)]
                if ratios:
                    yield f"{path.stem}, {form}: octconv is {mean(ratios):.2f} times as fast as {peer} ({len(ratios)}, f32)"


for part in (info, tests, verify, report, tune, bench, networks, torch, peers):
    try:
        for line in part():
            print(line)
    # Files of a part may be cut off, or of another version.
    except (KeyError, ValueError, TypeError, OSError) as error:
        print(f"{part.__name__}: its results cannot be read: {error!r}")
