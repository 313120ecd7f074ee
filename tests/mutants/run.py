#!/usr/bin/env python3
"""Would the tests notice? Every mutant that cargo-mutants makes of schema and engine, from one build.

cargo-mutants says what the mutants are (`cargo mutants --list --json`); run by it, each is a build of its
own, some ten hours of them. Here a copy of the tree gets all of them at once: a function with mutants asks
which one is switched on (the environment's MUTANT), and goes the mutated way or its own. What does not
compile is left out and counted as unviable, as cargo-mutants does. Each mutant then meets, until one of
them fails: the unit tests of schema and engine, the hostile inputs, and the simulator. Mutants of constants,
of `const fn`, and of functions that return `impl Trait`, cannot be switched: they are built one at a time.

    cargo install cargo-mutants --locked
    tests/mutants/run.py WORK [--quick] [--only TEXT] [--from FILE] [--again]

WORK is a directory for the copy, its build (some GiB) and `results.jsonl`, which a later run goes on from;
--quick leaves out the slow suites, --only takes mutants whose name contains TEXT, --from those of FILE
(engine/src/hub/acts.rs) and of the files after it, --again asks the survivors anew, after new tests or a
quick run.
Nothing but the standard library.
"""
import argparse
import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTATED = ["tallyroll-schema", "tallyroll-engine"]
# The switch stands in schema, which engine builds upon.
SWITCHED = "schema/src/lib.rs"
SWITCH = """
#[doc(hidden)]
pub mod mutant {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
    static ACTIVE: AtomicU32 = AtomicU32::new(u32::MAX);
    static REACHED: [AtomicBool; MANY] = [const { AtomicBool::new(false) }; MANY];
    #[inline]
    pub fn on(id: u32) -> bool {
        let active = ACTIVE.load(Relaxed);
        if active == id { return true; }
        active >= u32::MAX - 1 && ask(id)
    }
    #[cold]
    fn ask(id: u32) -> bool {
        if let Some(path) = std::env::var_os("MUTANTS_REACHED") {
            if !REACHED[id as usize].swap(true, Relaxed) {
                use std::io::Write;
                let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
                file.write_all(format!("{id}\\n").as_bytes()).unwrap();
            }
            ACTIVE.store(u32::MAX - 1, Relaxed);
            return false;
        }
        let active = std::env::var("MUTANT").map_or(u32::MAX - 2, |id| id.parse().unwrap());
        ACTIVE.store(active, Relaxed);
        active == id
    }
}
extern crate self as tallyroll_schema;
"""
MEMORY_BYTES_MAX = 6 << 30
SIMULATED = ["--histories", "80", "--seed", "3"]


def mutants():
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--colors", "never", *(a for p in MUTATED for a in ("-p", p))],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(listed.stdout)
    alike = collections.Counter()
    for number, mutant in enumerate(found):
        mutant["id"] = number
        # Without the line, which other changes move: the how-many-eth of its kind in its file.
        said = mutant["name"].replace(re.search(r":\d+:\d+:", mutant["name"])[0], ":", 1)
        alike[said] += 1
        mutant["key"] = f"{said} #{alike[said]}"
    return found


@functools.cache
class Source:
    """A source file, with places by line and column."""

    def __init__(self, path):
        self.text = path.read_text()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, span):
        return tuple(self.starts[span[end]["line"] - 1] + span[end]["column"] - 1 for end in ("start", "end"))

    def body(self, start, end):
        """Where the body of the function between these begins, after its brace."""
        depth = 0
        for place in re.compile(r"//[^\n]*|/\*.*?\*/|[(\[{)\]}]", re.S).finditer(self.text, start, end):
            match place[0]:
                case "(" | "[":
                    depth += 1
                case ")" | "]":
                    depth -= 1
                case "{" if depth == 0:
                    return place.end()
        raise ValueError(self.text[start:end])


def switchable(mutant):
    """Whether it stands in a function that can ask: not a constant's, and with one return type either way."""
    function = mutant["function"]
    if function is None or "impl " in function["return_type"]:
        return False
    source = Source(ROOT / mutant["file"])
    start, end = source.span(function["span"])
    return re.search(r"\bconst fn\b", source.text[start:source.body(start, end)]) is None


def write(copy, found, unviable):
    """Writes the mutated sources; gives which lines of them belong to which mutant."""
    files, ranges = collections.defaultdict(list), {}
    for mutant in found:
        if switchable(mutant) and mutant["id"] not in unviable:
            files[mutant["file"]].append(mutant)
    for name in {mutant["file"] for mutant in found} | {SWITCHED}:
        source = Source(ROOT / name)
        text = source.text
        functions = collections.defaultdict(list)
        for mutant in files[name]:
            functions[source.span(mutant["function"]["span"])].append(mutant)
        # One that stands in another is the other's.
        for inner in sorted(functions):
            for outer in sorted(functions):
                if outer in functions and outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1]:
                    functions[outer] += functions.pop(inner)
                    break
        out, at, lines, owners = [], 0, 1, []
        def put(piece, owner=None):
            nonlocal lines
            out.append(piece)
            if owner is not None:
                owners.append((lines, lines + piece.count("\n"), owner))
            lines += piece.count("\n")
        for (start, end), here in sorted(functions.items()):
            body = source.body(start, end)
            put(text[at:body])
            for mutant in here:
                first, last = source.span(mutant["span"])
                mutated = text[body:first] + mutant["replacement"] + " " + text[last:end - 1]
                # A span may end in a comment's line, so the brace is on the next.
                put(f"\nif ::tallyroll_schema::mutant::on({mutant['id']}) {{ return {{\n", None)
                put(mutated + "\n}; }\n", mutant["id"])
            at = body
        put(text[at:])
        ranges[name] = owners
        written = "".join(out)
        if name == SWITCHED:
            written += SWITCH.replace("MANY", str(len(found)))
        target = copy / name
        if not target.exists() or target.read_text() != written:
            target.write_text(written)
    return ranges


def cargo(copy, *arguments):
    """Cargo's messages."""
    environment = os.environ | {"RUSTFLAGS": "--cap-lints=allow", "CARGO_INCREMENTAL": "1"}
    run = subprocess.run(
        ["cargo", *arguments, "--release", "--locked", "--message-format=json"],
        cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return run, messages


def blamed(messages, ranges):
    """The mutants that the compiler's errors stand in."""
    ids, elsewhere = set(), []
    for message in messages:
        told = message.get("message", {})
        if message["reason"] != "compiler-message" or told["level"] != "error" or not told["spans"]:
            continue
        spans, places = list(told["spans"]), []
        for child in told["children"]:
            spans += child["spans"]
        for span in spans:
            while span:
                places.append((span["file_name"], span["line_start"], span["is_primary"]))
                span = (span.get("expansion") or {}).get("span")
        owners = lambda primary: {
            owner for name, line, is_primary in places if is_primary or not primary
            for first, last, owner in ranges.get(name, []) if first <= line <= last}
        here = owners(True) or owners(False)
        ids |= here
        if not here:
            elsewhere.append(told["rendered"])
    return ids, elsewhere


def build(copy, found, unviable, quick):
    """Leaves out what does not compile until the rest does."""
    targets = ["-p", "tallyroll-schema", "-p", "tallyroll-engine", "--lib"]
    while True:
        ranges = write(copy, found, unviable)
        run, messages = cargo(copy, "check", *targets)
        if run.returncode == 0:
            break
        ids, elsewhere = blamed(messages, ranges)
        if not ids:
            sys.exit("".join(elsewhere) or run.stderr)
        unviable |= ids
        print(f"{len(unviable)} do not compile", flush=True)
    binaries = {}
    for arguments in (
        ["test", "--no-run", *targets],
        ["test", "--no-run", "-p", "tallyroll-tests", "--test", "hostile"],
        ["build", "-p", "tallyroll-tests", "--bin", "simulate"],
    ):
        run, messages = cargo(copy, *arguments)
        if run.returncode != 0:
            sys.exit(run.stderr + "".join(m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message"))
        for message in messages:
            if message.get("executable"):
                binaries[message["target"]["name"]] = message["executable"]
    suites = [
        ("schema", [binaries["tallyroll_schema"], "-q"], "schema"),
        ("engine", [binaries["tallyroll_engine"], "-q"], "engine"),
        ("simulator", [binaries["simulate"], "--histories", "12", "--seed", "2"], "."),
        ("hostile", [binaries["hostile"], "-q", "--skip", "decoders", "--skip", "damage"], "tests"),
    ]
    slow = [
        ("simulator, longer", [binaries["simulate"], *SIMULATED], "."),
        ("damage", [binaries["hostile"], "-q", "damage"], "tests"),
    ]
    return suites if quick else suites + slow


def run(copy, command, directory, seconds, **environment):
    """How it ended: `ok`, `failed` or `timeout`."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    settings = os.environ | {"RUST_TEST_THREADS": "1", "RUST_BACKTRACE": "0", "CARGO_MANIFEST_DIR": str(copy / directory)}
    settings |= {"PROPTEST_MAX_SHRINK_ITERS": "0"} | environment
    try:
        done = subprocess.run(
            command, cwd=copy / directory, env=settings, timeout=seconds, preexec_fn=limit,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return "ok" if done.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        return "timeout"


def reach(copy, suites, work):
    """Of each suite: which mutants it reaches, and how long it may take."""
    reached = []
    for name, command, directory in suites:
        path = work / f"reached-{name.replace(', ', '-')}"
        path.unlink(missing_ok=True)
        if run(copy, command, directory, 3600, MUTANTS_REACHED=str(path)) != "ok":
            sys.exit(f"{name} fails without any mutant: {' '.join(command)}")
        since = time.monotonic()
        run(copy, command, directory, 3600)
        took = time.monotonic() - since
        ids = {int(line) for line in path.read_text().split()} if path.exists() else set()
        print(f"{name}: {took:.1f} s, reaches {len(ids)}", flush=True)
        reached.append((name, command, directory, 10 + 5 * took, ids))
    return reached


def meet(copy, suites, mutant):
    for name, command, directory, seconds, ids in suites:
        if mutant["id"] in ids:
            ended = run(copy, command, directory, seconds, MUTANT=str(mutant["id"]))
            if ended != "ok":
                return f"{name}{' (timeout)' if ended == 'timeout' else ''}"
    return "survived" if any(mutant["id"] in ids for *_, ids in suites) else "survived, never reached"


def one_at_a_time(copy, found, mutant):
    """Those that no switch can reach: each a build of its own."""
    source = Source(ROOT / mutant["file"])
    first, last = source.span(mutant["span"])
    target = copy / mutant["file"]
    written = target.read_text()
    mutated = source.text[:first] + mutant["replacement"] + " " + source.text[last:]
    if mutant["file"] == SWITCHED:
        mutated += SWITCH.replace("MANY", str(len(found)))
    try:
        target.write_text(mutated)
        for name, arguments, directory in (
            ("schema", ["test", "-p", "tallyroll-schema", "--lib"], "."),
            ("engine", ["test", "-p", "tallyroll-engine", "--lib"], "."),
            ("hostile", ["test", "-p", "tallyroll-tests", "--test", "hostile"], "."),
            ("simulator", ["run", "-p", "tallyroll-tests", "--bin", "simulate", "--", *SIMULATED], "."),
        ):
            if name == "schema" and mutant["package"] != "tallyroll-schema":
                continue
            run_, _ = cargo(copy, *(["build", *arguments[1:arguments.index("--")]] if "--" in arguments else [*arguments, "--no-run"]))
            if run_.returncode != 0:
                return "unviable"
            if run(copy, ["cargo", *arguments[:1], "--release", "--locked", *arguments[1:]], directory, 600,
                   RUSTFLAGS="--cap-lints=allow", CARGO_INCREMENTAL="1") != "ok":
                return name
        return "survived"
    finally:
        target.write_text(written)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--from", default="", dest="first")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--switched", action="store_true", help="only those that need no build of their own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    copy, results = work / "copy", work / "results.jsonl"
    found = mutants()
    # Those are written below, and only if they changed: cargo goes by the time of a file.
    mutated = {str(ROOT / mutant["file"]) for mutant in found} | {str(ROOT / SWITCHED)}
    ignored = lambda folder, names: [
        name for name in names if name in ("target", ".git") or f"{folder}/{name}" in mutated]
    shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=ignored)
    known = {}
    if results.exists():
        known = {row["key"]: row["met"] for row in map(json.loads, results.read_text().splitlines())}
    if arguments.again:
        known = {key: met for key, met in known.items() if not met.startswith("survived")}
    unviable = {mutant["id"] for mutant in found if known.get(mutant["key"]) == "unviable"}
    suites = reach(copy, build(copy, found, unviable, arguments.quick), work)
    with results.open("a") as file:
        def note(mutant, met):
            known[mutant["key"]] = met
            file.write(json.dumps({"key": mutant["key"], "name": mutant["name"], "met": met}) + "\n")
            file.flush()
        todo = [m for m in found if m["key"] not in known and arguments.only in m["name"] and m["file"] >= arguments.first]
        for mutant in todo:
            if mutant["id"] in unviable:
                note(mutant, "unviable")
        todo = [m for m in todo if m["id"] not in unviable]
        switched = [m for m in todo if switchable(m)]
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            futures = {pool.submit(meet, copy, suites, mutant): mutant for mutant in switched}
            for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
                note(futures[future], future.result())
                if done % 100 == 0:
                    print(f"{done} of {len(switched)}", flush=True)
        for mutant in todo:
            if not switchable(mutant) and not arguments.switched:
                note(mutant, one_at_a_time(copy, found, mutant))
    met = collections.Counter(known[mutant["key"]] for mutant in found if mutant["key"] in known)
    survivors = [m["name"] for m in found if known.get(m["key"], "").startswith("survived")]
    print("\n".join(survivors))
    for kind, count in met.most_common():
        print(f"{count:6} {kind}")
    viable = sum(met.values()) - met["unviable"]
    print(f"{viable - len(survivors)} of {viable} viable mutants caught: {(viable - len(survivors)) / max(viable, 1):.1%}")


if __name__ == "__main__":
    main()
