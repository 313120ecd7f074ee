"""Makes RESULTS.md and its plots of the figures that the comparison noted."""

import json
import os
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "tallyroll"  # the same figures make the same file

from matplotlib import pyplot  # noqa: E402

TITLES = {
    "append 1 a commit": "Durable append, one event a commit",
    "append 10 a commit": "Durable append, 10 events a commit",
    "append 100 a commit": "Durable append, 100 events a commit",
    "64 writers": "64 writers through one agent",
    "freshness, p50": "From an answer at a device to the cloud's view, half of the events",
    "freshness, p99": "From an answer at a device to the cloud's view, 99 of 100 events",
    "freshness, on disk": "Written to the disk by both ends for live events",
    "apart": "A thousand devices at once",
    "sealing": "Sealing",
    "backlog": "Backlog, sender to receiver",
    "backlog, in the views": "Backlog, until it is counted",
    "wire": "Bytes on the wire",
    "at rest": "At rest in the cloud",
    "replay": "Replay to totals",
    "past": "One user's month, as of a commit",
}
OURS = "tallyroll"


def short(value):
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    if value >= 1e4:
        return f"{value / 1e3:.3g} k"
    return f"{value:.4g}"


def plot(stage, rows, folder):
    """Bars with the least and the most of the runs, ours in another color."""
    rows = rows[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(rows) + 1.1))
    medians = [row["median"] for row in rows]
    spread = [
        [row["median"] - row["min"] for row in rows],
        [row["max"] - row["median"] for row in rows],
    ]
    colors = ["#c2410c" if row["system"] == OURS else "#94a3b8" for row in rows]
    axes.barh([row["system"] for row in rows], medians, xerr=spread, color=colors, capsize=3)
    for at, row in enumerate(rows):
        axes.annotate(f" {short(row['median'])}", (row["max"], at), va="center", fontsize=9)
    axes.margins(x=0.15)
    axes.set_title(f"{TITLES.get(stage, stage)}, {rows[0]['unit']}", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    figure.tight_layout()
    name = "".join(letter if letter.isalnum() else "-" for letter in stage)
    figure.savefig(os.path.join(folder, f"{name}.svg"), metadata={"Date": None})
    pyplot.close(figure)
    return f"{name}.svg"


def main(work, benches):
    with open(os.path.join(work, "figures"), encoding="utf-8") as lines:
        figures = [json.loads(line) for line in lines]
    with open(os.path.join(work, "ours"), encoding="utf-8") as lines:
        said = lines.read().splitlines()
    with open(os.path.join(work, "versions"), encoding="utf-8") as lines:
        versions = [line.strip() for line in lines if line.strip()]
    machine = next(line for line in said if line.startswith("machine:"))
    loads = [line.rsplit("load ", 1)[1] for line in said if line.startswith("machine:")]
    busy = any(float(load) > 1.0 for load in loads)
    plots = os.path.join(benches, "plots")
    os.makedirs(plots, exist_ok=True)
    text = [
        "# Measured against what people would pick instead",
        "",
        f"Written by `benches/compare` of one run: {int(os.environ['TALLYROLL_BENCH_EVENTS']):,} events, medians of "
        f"{os.environ['TALLYROLL_BENCH_RUNS']} runs with the least and the most. What is durable, and how, stands beside each figure.",
        "",
        f"- {machine.rsplit(', load', 1)[0]}; load before the stages of ours: {', '.join(loads)}",
        *(["- **The machine had other work to do: figures are noisy, and ratios with them.**"] if busy else []),
        f"- {next(line for line in said if line.startswith('versions:'))}",
        f"- {next(line for line in said if line.startswith('durable ='))}",
        *[f"- {line}" for line in versions],
    ]
    for stage, title in TITLES.items():
        rows = [figure for figure in figures if figure["stage"] == stage]
        if not rows:
            continue
        ours = next((row for row in rows if row["system"] == OURS), None)
        rows.sort(key=lambda row: row["median"], reverse=rows[0]["unit"] != "bytes/event")
        text += ["", f"## {title}", "", f"| | {rows[0]['unit']} | least to most | ours is | durable |", "| --- | --- | --- | --- | --- |"]
        for row in rows:
            ratio = "" if ours is None or row is ours else f"{ours['median'] / row['median']:.2f} ×"
            text.append(
                f"| {row['system']} | {short(row['median'])} | {short(row['min'])} to {short(row['max'])} | {ratio} | {row['durable']} |"
            )
        if len(rows) > 1:
            text += ["", f"![{title}](plots/{plot(stage, rows, plots)})"]
    others = [line for line in said if not line.startswith(("machine:", "versions:", "durable ="))]
    text += ["", "## What ours said", "", "```", *others, "```", ""]
    with open(os.path.join(benches, "RESULTS.md"), "w", encoding="utf-8") as out:
        out.write("\n".join(text))


main(sys.argv[1], sys.argv[2])
